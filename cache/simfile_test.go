package cache

import (
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
)

// simFile is an open file of a simDisk.
type simFile struct {
	d      *simDisk
	n      *simNode
	path   string
	write  bool
	closed bool
}

func (f *simFile) check(op string) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return pathErr(op, f.path, fs.ErrClosed)
	}
	return nil
}

func (f *simFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.d.begin(f.d.moodNow().read, syscall.EIO); err != nil {
		return 0, pathErr("read", f.path, err)
	}
	if err := f.check("read"); err != nil {
		return 0, err
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return f.n.readAt(p, off)
}

func (n *simNode) readAt(p []byte, off int64) (int, error) {
	if off >= n.size {
		return 0, io.EOF
	}
	want := p[:min(int64(len(p)), n.size-off)]
	for done := 0; done < len(want); {
		at := off + int64(done)
		in := int(at % disk.Block)
		k := min(len(want)-done, disk.Block-in)
		if b := n.blocks[at/disk.Block]; b != nil {
			copy(want[done:done+k], b[in:])
		} else {
			clear(want[done : done+k])
		}
		done += k
	}
	if len(want) < len(p) {
		return len(want), io.EOF
	}
	return len(want), nil
}

func (f *simFile) WriteAt(p []byte, off int64) (int, error) {
	mood := f.d.moodNow()
	if err := f.d.begin(mood.write, syscall.EIO); err != nil {
		return 0, pathErr("write", f.path, err)
	}
	if err := f.check("write"); err != nil {
		return 0, err
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.n.published {
		f.d.broken("a published inode is written to: %s", f.path)
	}
	if f.d.rnd.IntN(100) < f.d.mood.full { // a short write
		p = p[:f.d.rnd.IntN(len(p)+1)]
		f.put(p, off)
		return len(p), pathErr("write", f.path, syscall.ENOSPC)
	}
	f.put(p, off)
	return len(p), nil
}

// put writes, allocating. Callers hold mu.
func (f *simFile) put(p []byte, off int64) {
	for done := 0; done < len(p); {
		at := off + int64(done)
		in := int(at % disk.Block)
		k := min(len(p)-done, disk.Block-in)
		copy(f.block(at / disk.Block)[in:], p[done:done+k])
		delete(f.n.lost, at/disk.Block)
		done += k
	}
	f.n.size = max(f.n.size, off+int64(len(p)))
	f.n.touch()
	f.watch()
}

func (f *simFile) block(i int64) *[disk.Block]byte {
	b := f.n.blocks[i]
	if b == nil {
		b = new([disk.Block]byte)
		f.n.blocks[i] = b
		if f.n.links > 0 {
			f.d.linked += disk.Block
		}
	}
	return b
}

// watch tells when more is allocated than may be. Callers hold mu.
func (f *simFile) watch() {
	if limit := f.d.limit(); limit >= 0 && f.d.linked > limit {
		f.d.broken("%d bytes on the disk, %d may be", f.d.linked, limit)
	}
}

func (f *simFile) Stat() (disk.Info, error) {
	if err := f.check("stat"); err != nil {
		return disk.Info{}, err
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return f.n.info(), nil
}

func (f *simFile) Chmod(mode fs.FileMode) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.n.mode, f.n.ctime = mode, time.Now().UnixNano()
	return nil
}

func (f *simFile) Truncate(size int64) error {
	if err := f.d.begin(f.d.moodNow().write, syscall.EIO); err != nil {
		return pathErr("truncate", f.path, err)
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.n.published {
		f.d.broken("a published inode is truncated: %s", f.path)
	}
	for i := range f.n.blocks {
		if i*disk.Block >= size {
			f.free(i)
		}
	}
	if b := f.n.blocks[size/disk.Block]; b != nil {
		clear(b[size%disk.Block:])
	}
	f.n.size = size
	f.n.touch()
	return nil
}

func (f *simFile) free(i int64) {
	delete(f.n.blocks, i)
	if f.n.links > 0 {
		f.d.linked -= disk.Block
	}
}

func (f *simFile) Allocate(off, n int64) error {
	if err := f.d.begin(f.d.moodNow().full, syscall.ENOSPC); err != nil {
		return pathErr("fallocate", f.path, err)
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.n.published {
		f.d.broken("a published inode is allocated: %s", f.path)
	}
	for i := off / disk.Block; i*disk.Block < off+n; i++ {
		f.block(i)
	}
	f.watch()
	return nil
}

func (f *simFile) Punch(off, n int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.n.published {
		f.d.broken("a published inode is punched: %s", f.path)
	}
	for i := disk.RoundUp(off) / disk.Block; (i+1)*disk.Block <= off+n; i++ {
		f.free(i)
	}
	return nil
}

func (f *simFile) Sync() error {
	err := f.d.begin(f.d.moodNow().sync, syscall.EIO)
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err != nil {
		if !f.d.dead {
			f.n.lose(f.d.rnd)
			f.d.losses[f.path] = f.d.losses[f.path] || f.n.lossy
		}
		return pathErr("fsync", f.path, err)
	}
	f.n.written()
	return nil
}

func (f *simFile) Uncache() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	for at := range f.n.lost {
		if b := f.n.blocks[at]; b != nil {
			*b = f.n.synced[at]
		}
	}
	f.n.lost = nil
	return nil
}

func (f *simFile) Close() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.closed = true
	return nil
}

func (f *simFile) OS() *os.File { return nil }
