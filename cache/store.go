package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// block is the unit of disk space in bytes.
const block = 4096

// roundUp returns the blocks that size bytes take, in bytes.
func roundUp(size int64) int64 { return (size + block - 1) / block * block }

// charge is what the transfer of a whole file of size bytes reserves: its
// blocks, and for those that are not fetched in one go the map of what is
// there and what the file system may need to find it again.
func charge(size int64) int64 {
	if size <= wholeUpTo {
		return roundUp(size)
	}
	return roundUp(size + max(2*block, size>>10))
}

// chargePart is the same for a part of it.
func chargePart(i interval) int64 {
	return roundUp(i.end) - i.off/block*block + 2*block
}

// store is the layout of the cache's files. It decides nothing.
type store struct{ dir string }

func (s store) objects() string { return filepath.Join(s.dir, "objects") }
func (s store) placing() string { return filepath.Join(s.dir, "partial", ".placing") }

func (s store) object(k annex.Key) string  { return filepath.Join(s.objects(), k.ObjectPath()) }
func (s store) partial(k annex.Key) string { return filepath.Join(s.dir, "partial", k.FileName()) }
func (s store) place(k annex.Key) string   { return filepath.Join(s.placing(), k.FileName()) }

func (s store) make() error {
	return errors.Join(os.MkdirAll(s.objects(), 0o755), os.MkdirAll(s.placing(), 0o700))
}

// fileState is what is compared to tell whether a file is still the same.
type fileState struct {
	size, mtime int64
	onDisk      int64 // as the file system says, in bytes
	blocks      int64 // the same, but not less than the size: it may be late to say
	inode       uint64
}

func stateOf(f *os.File) (fileState, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fileState{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fileState{}, fmt.Errorf("%s is not a regular file", f.Name())
	}
	return fileState{
		size: st.Size, mtime: st.Mtim.Nano(), inode: st.Ino,
		onDisk: st.Blocks * 512, blocks: max(st.Blocks*512, roundUp(st.Size)),
	}, nil
}

func openFile(path string, flags int) (*os.File, fileState, error) {
	f, err := os.OpenFile(path, flags|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fileState{}, err
	}
	st, err := stateOf(f)
	if err != nil {
		f.Close()
		return nil, fileState{}, err
	}
	return f, st, nil
}

func (s store) open(k annex.Key) (*os.File, fileState, error) {
	return openFile(s.object(k), os.O_RDONLY)
}

// publish gives the complete, verified file at from its final name.
func (s store) publish(k annex.Key, from string) error {
	to := s.object(k)
	dir := filepath.Dir(to)
	var err error
	// An eviction may remove the directories while they are still empty.
	for range 10 {
		if err = os.MkdirAll(dir, 0o755); err == nil {
			err = os.Rename(from, to)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if errors.Is(err, fs.ErrPermission) {
		// git-annex write-protects the directory of an object.
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
		return os.Rename(from, to)
	}
	return err
}

// remove deletes an object and the directories that it leaves empty.
func (s store) remove(k annex.Key) error {
	path := s.object(k)
	dir := filepath.Dir(path)
	err := os.Remove(path)
	if errors.Is(err, fs.ErrPermission) {
		os.Chmod(dir, 0o755)
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for range 3 {
		if os.Remove(dir) != nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	return nil
}

// preallocate makes sure that there is room for an interval of a file, so that
// a full disk shows before bytes move. Not every file system can.
func preallocate(f *os.File, i interval) error {
	if i.len() <= 0 {
		return nil
	}
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, i.off, i.len())
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// space returns the free bytes of the file system and the floor below which
// the cache must not take them.
func (s store) space(floor int64) (free, keep int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		return 0, 0, err
	}
	if floor == 0 {
		floor = min(int64(st.Blocks)*st.Bsize/20, 1<<30)
	}
	return int64(st.Bavail) * st.Bsize, max(floor, 0), nil
}
