package cache

import (
	"context"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// part is the partial file of a transfer: bytes of the content at their
// places, with holes, and behind the content's end a map of what is there.
// No byte is written twice, so that the hash may be taken as bytes come.
type part struct {
	f    *os.File
	path string
	key  annex.Key
	size int64
	want string // the hash, in hex

	wrong  atomic.Bool  // the bytes turned out not to be the key's
	hashed atomic.Int64 // bytes from the start that the hash has seen
	mu     sync.Mutex   // guards hash
	hash   hash.Hash

	mapped sync.Mutex // held while the map is written
}

func newPart(f *os.File, path string, key annex.Key, size int64) *part {
	p := &part{f: f, path: path, key: key, size: size}
	p.hash, p.want, _ = key.NewHash()
	return p
}

// openPart opens the partial file of a key, making it, and returns what is in
// it. What cannot be made sense of is thrown away.
func (s store) openPart(key annex.Key, size int64) (*part, ranges, error) {
	f, st, err := openFile(s.partial(key), os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, nil, err
	}
	p := newPart(f, s.partial(key), key, size)
	if st.size == 0 {
		return p, nil, nil
	}
	have, err := readMap(f, size)
	if err != nil {
		if err := f.Truncate(0); err != nil {
			f.Close()
			return nil, nil, err
		}
	}
	return p, have, nil
}

// allocate makes sure that the bytes of an interval have a place on the disk.
func (p *part) allocate(i interval) error {
	if err := preallocate(p.f, i); err != nil {
		return fmt.Errorf("cannot allocate %d bytes: %w", i.len(), err)
	}
	return nil
}

// fold takes bytes that were written at off into the hash, if it is their
// turn. Others are read again, by catchUp or verify.
func (p *part) fold(b []byte, off int64) {
	if p.hashed.Load() != off || !p.mu.TryLock() {
		return
	}
	defer p.mu.Unlock()
	if p.hashed.Load() == off {
		p.hash.Write(b)
		p.hashed.Add(int64(len(b)))
	}
}

const chunk = 1 << 20

var chunks = sync.Pool{New: func() any { return new([chunk]byte) }}

// catchUp takes the bytes up to end into the hash.
func (p *part) catchUp(ctx context.Context, end int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	buf := chunks.Get().(*[chunk]byte)
	defer chunks.Put(buf)
	for at := p.hashed.Load(); at < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(chunk, end-at)]
		if _, err := p.f.ReadAt(b, at); err != nil {
			return err
		}
		p.hash.Write(b)
		at += int64(len(b))
		p.hashed.Store(at)
	}
	return nil
}

// verify compares the complete file with the key.
func (p *part) verify(ctx context.Context) error {
	if err := p.catchUp(ctx, p.size); err != nil {
		return err
	}
	if hex.EncodeToString(p.hash.Sum(nil)) != p.want {
		return ErrMismatch
	}
	return nil
}

// publish gives the verified file its final name.
func (p *part) publish(s store) (fileState, error) {
	p.mapped.Lock() // no map after this
	defer p.mapped.Unlock()
	if st, err := stateOf(p.f); err != nil {
		return st, err
	} else if st.size != p.size {
		if err := p.f.Truncate(p.size); err != nil {
			return st, err
		}
	}
	if err := p.f.Chmod(0o444); err != nil {
		return fileState{}, err
	}
	if err := s.publish(p.key, p.path); err != nil {
		return fileState{}, err
	}
	return stateOf(p.f)
}

// discard throws the file away.
func (p *part) discard() error {
	p.f.Close()
	if err := os.Remove(p.path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// leave closes the file, with its map if anything worth it is there and the
// whole stays within limit bytes of disk. It returns the blocks, in bytes,
// that are left.
func (p *part) leave(have ranges, limit int64) int64 {
	defer p.f.Close()
	blocks, err := p.trim(have)
	if err == nil && blocks > 0 && blocks <= limit {
		if err = p.saveMap(have); err == nil {
			return blocks
		}
	}
	os.Remove(p.path)
	return 0
}

// trim gives back blocks that were allocated for bytes that did not come, and
// returns how many, in bytes, the file will have with its map.
func (p *part) trim(have ranges) (int64, error) {
	if len(have) == 0 {
		return 0, nil
	}
	last := have[len(have)-1].end
	if err := p.f.Truncate(last); err != nil {
		return 0, err
	}
	at, blocks := int64(0), int64(0)
	for _, i := range have {
		if from, to := roundUp(at), i.off/block*block; from < to {
			// Where holes cannot be made, the blocks are counted below.
			unix.Fallocate(int(p.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, to-from)
		}
		blocks += roundUp(i.end) - max(i.off/block*block, roundUp(at))
		at = i.end
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(p.f.Fd()), &st); err != nil {
		return 0, err
	}
	blocks = max(blocks, st.Blocks*512)
	if end := p.size + int64(len(encodeMap(have, false))); roundUp(end) > roundUp(last) {
		blocks += roundUp(end) - max(p.size/block*block, roundUp(last))
	}
	return blocks, nil
}
