// Package beneath is a directory that nothing leads out of.
//
// Invariants, also while others change the directory:
//
//   - A name means what lies at exactly that path. A symbolic link on the way
//     is an error that wraps syscall.ELOOP, wherever it leads; one at the end
//     is itself what the name means.
//   - Nothing below a ".git", in any spelling that some file system takes for
//     it, can be named, at any depth: what is written there, git may run. The
//     one exception is asked for by [Dir.Annex].
//   - Modes are those that were asked for, whatever the umask.
//
// The methods of [Dir] may be used by several goroutines.
package beneath

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// ErrName says that a name is no path below the directory, or leads into a
// ".git".
var ErrName = errors.New("not a name that may be used")

// Dir is an open directory. Names are relative to it, with slashes; "." is the
// directory itself.
type Dir struct {
	fd int
	// walk opens one component at a time: for kernels, and sandboxes, without
	// openat2.
	walk bool
}

// Open opens the directory at path, which itself may be reached through links.
func Open(path string) (*Dir, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	d := &Dir{fd: fd}
	probe, err := d.resolve(".", unix.O_PATH, 0)
	if d.walk = err != nil; !d.walk {
		unix.Close(probe)
	}
	return d, nil
}

// Annex opens the directory annex of the git repository in d, where git-annex
// keeps content. It fails when .git is a file or a link.
func (d *Dir) Annex() (*Dir, error) {
	fd, err := d.resolve(".git/annex", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: ".git/annex", Err: err}
	}
	return &Dir{fd: fd, walk: d.walk}, nil
}

// Close closes the directory.
func (d *Dir) Close() error { return unix.Close(d.fd) }

// Lstat describes what a name means.
func (d *Dir) Lstat(name string) (fs.FileInfo, error) {
	f, err := d.open("lstat", name, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// Open opens a regular file for reading.
func (d *Dir) Open(name string) (*os.File, error) {
	// Without O_NONBLOCK a pipe would wait for a writer.
	f, err := d.open("open", name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.Join(err, errors.New("not a regular file"))}
	}
	return f, nil
}

// Create makes a new file, open for writing. It fails when anything is there.
func (d *Dir) Create(name string, perm fs.FileMode) (*os.File, error) {
	f, err := d.open("create", name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, uint32(perm.Perm()))
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(perm.Perm()); err != nil {
		f.Close()
		d.Remove(name)
		return nil, err
	}
	return f, nil
}

// MkdirAll makes a directory and those above it that are missing.
func (d *Dir) MkdirAll(name string, perm fs.FileMode) error {
	if name == "." {
		return nil
	}
	err := d.Mkdir(name, perm)
	if errors.Is(err, fs.ErrNotExist) {
		if err = d.MkdirAll(path.Dir(name), perm); err == nil {
			err = d.Mkdir(name, perm)
		}
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	st, err := d.Lstat(name)
	switch {
	case err != nil:
		return err
	case st.Mode().Type() == fs.ModeSymlink:
		return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.ELOOP}
	case !st.IsDir():
		return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.ENOTDIR}
	}
	return nil
}

// Mkdir makes a directory.
func (d *Dir) Mkdir(name string, perm fs.FileMode) error {
	err := d.inParent("mkdir", name, func(dir int, base string) error {
		return unix.Mkdirat(dir, base, uint32(perm.Perm()))
	})
	if err != nil {
		return err
	}
	return d.Chmod(name, perm)
}

// Chmod changes the mode of a file or directory.
func (d *Dir) Chmod(name string, perm fs.FileMode) error {
	f, err := d.open("chmod", name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Chmod(perm.Perm())
}

// Chtimes sets the times of a file or link.
func (d *Dir) Chtimes(name string, t time.Time) error {
	return d.inParent("chtimes", name, func(dir int, base string) error {
		ts := unix.NsecToTimespec(t.UnixNano())
		return unix.UtimesNanoAt(dir, base, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// Rename gives what from means the name to, in the place of what is there.
func (d *Dir) Rename(from, to string) error {
	return d.inParent("rename", from, func(fromDir int, fromBase string) error {
		return d.inParent("rename", to, func(toDir int, toBase string) error {
			return unix.Renameat(fromDir, fromBase, toDir, toBase)
		})
	})
}

// Remove removes a file or link.
func (d *Dir) Remove(name string) error {
	return d.inParent("remove", name, func(dir int, base string) error { return unix.Unlinkat(dir, base, 0) })
}

// Symlink makes a symbolic link, which nothing here follows.
func (d *Dir) Symlink(target, name string) error {
	return d.inParent("symlink", name, func(dir int, base string) error { return unix.Symlinkat(target, dir, base) })
}

// Readlink returns where a symbolic link leads.
func (d *Dir) Readlink(name string) (target string, err error) {
	err = d.inParent("readlink", name, func(dir int, base string) error {
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(dir, base, buf)
		if err == nil {
			target = string(buf[:n])
		}
		return err
	})
	return target, err
}

// Link makes name another name of an open file.
func (d *Dir) Link(f *os.File, name string) error {
	return d.inParent("link", name, func(dir int, base string) error {
		return unix.Linkat(unix.AT_FDCWD, procPath(int(f.Fd())), dir, base, unix.AT_SYMLINK_FOLLOW)
	})
}

// Names returns the names of what a directory holds.
func (d *Dir) Names(name string) ([]string, error) {
	f, err := d.open("readdir", name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// Sync returns when all that was written to the directory's file system, names
// too, would survive a power cut.
func (d *Dir) Sync() error {
	if err := unix.Syncfs(d.fd); err != nil {
		return &fs.PathError{Op: "syncfs", Path: ".", Err: err}
	}
	return nil
}

// open opens what a name means.
func (d *Dir) open(op, name string, flags int, perm uint32) (*os.File, error) {
	err := check(name)
	var fd int
	if err == nil {
		fd, err = d.resolve(name, flags, perm)
	}
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// inParent calls fn with the directory that a name lies in.
func (d *Dir) inParent(op, name string, fn func(dir int, base string) error) error {
	err := check(name)
	if err == nil && name == "." {
		err = ErrName
	}
	if err == nil {
		var dir int
		if dir, err = d.resolve(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY, 0); err == nil {
			err = fn(dir, path.Base(name))
			unix.Close(dir)
		}
	}
	if err != nil && !errors.As(err, new(*fs.PathError)) {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return err
}

// check returns ErrName for what no name may be.
func check(name string) error {
	if name == "." {
		return nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." || strings.Contains(part, "\x00") || tree.IsDotGit(part) {
			return ErrName
		}
	}
	return nil
}
