package disk

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// OS is the file system of this machine.
type OS struct{}

var _ Disk = OS{}

type osFile struct{ *os.File }

func open(path string, flags int) (File, error) {
	// A planted FIFO must not make the open wait.
	f, err := os.OpenFile(path, flags|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if errors.Is(err, syscall.ELOOP) { // a symbolic link
		return nil, fmt.Errorf("%s: %w", path, ErrNotRegular)
	} else if err != nil {
		return nil, err
	}
	info, err := osFile{f}.Stat()
	if err == nil && !info.Mode.IsRegular() {
		err = fmt.Errorf("%s: %w", path, ErrNotRegular)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return osFile{f}, nil
}

// ErrNotRegular says that a path names something other than a regular file.
var ErrNotRegular = errors.New("not a regular file")

// Open implements Disk.
func (OS) Open(path string) (File, error) { return open(path, os.O_RDONLY) }

// OpenWrite implements Disk.
func (OS) OpenWrite(path string) (File, error) { return open(path, os.O_RDWR) }

// Create implements Disk.
func (OS) Create(path string) (File, error) { return open(path, os.O_RDWR|os.O_CREATE|os.O_EXCL) }

// Stat implements Disk.
func (OS) Stat(path string) (Info, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return Info{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return infoOf(&st), nil
}

func infoOf(st *unix.Stat_t) Info {
	mode := fs.FileMode(st.Mode & 0o777)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	default:
		mode |= fs.ModeIrregular
	}
	return Info{
		ID:   ID{Dev: st.Dev, Inode: st.Ino, Size: st.Size, MTime: st.Mtim.Nano(), CTime: st.Ctim.Nano()},
		Mode: mode, Blocks: st.Blocks * 512,
	}
}

// List implements Disk.
func (OS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// MkdirAll implements Disk.
func (OS) MkdirAll(dir string, mode fs.FileMode) error { return os.MkdirAll(dir, mode) }

// Chmod implements Disk.
func (OS) Chmod(path string, mode fs.FileMode) error { return os.Chmod(path, mode) }

// Rename implements Disk.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements Disk.
func (OS) Remove(path string) error { return os.Remove(path) }

// SyncDir implements Disk.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Space implements Disk.
func (OS) Space(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize, nil
}

// OS implements File.
func (f osFile) OS() *os.File { return f.File }

// Stat implements File.
func (f osFile) Stat() (Info, error) {
	var st unix.Stat_t
	err := f.control(func(fd int) error { return unix.Fstat(fd, &st) })
	if err != nil {
		return Info{}, &fs.PathError{Op: "fstat", Path: f.Name(), Err: err}
	}
	return infoOf(&st), nil
}

// Allocate implements File.
func (f osFile) Allocate(off, n int64) error {
	if n <= 0 {
		return nil
	}
	err := f.control(func(fd int) error { return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, off, n) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// Punch implements File.
func (f osFile) Punch(off, n int64) error {
	from, to := RoundUp(off), RoundDown(off+n)
	if from >= to {
		return nil
	}
	err := f.control(func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, to-from)
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// Uncache implements File.
func (f osFile) Uncache() error {
	err := f.control(func(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// control calls do with the descriptor, which stays open meanwhile.
func (f osFile) control(do func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := conn.Control(func(fd uintptr) {
		for inner = do(int(fd)); inner == unix.EINTR; {
			inner = do(int(fd))
		}
	}); err != nil {
		return err
	}
	return inner
}

// Boot implements Disk.
func (OS) Boot() [16]byte { return bootID() }

// bootID is the kernel's name for its run; random(4).
var bootID = sync.OnceValue(func() (id [16]byte) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	raw, hexErr := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "-", ""))
	if err != nil || hexErr != nil || len(raw) != len(id) {
		// Unknown: nothing of another process is believed.
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %d", os.Getpid(), os.Getppid()))
		copy(id[:], sum[:])
		return id
	}
	return [16]byte(raw)
})
