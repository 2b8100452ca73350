package fs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Whatever would change something is refused as EROFS: on files, on
// directories, in the root, and under new names.
func TestReadOnly(t *testing.T) {
	s := start(t, config{Fixture: "plain"})
	file, dir, fresh := s.path("README"), s.path("sub-01"), s.path("sub-01/new")
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	open := func(name string, flags int) func() error {
		return func() error {
			fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0o644)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}
	}
	times := []unix.Timespec{{Sec: 1}, {Sec: 1}}
	for name, try := range map[string]func() error{
		"open for writing":   open(file, unix.O_WRONLY),
		"open for both":      open(file, unix.O_RDWR),
		"O_TRUNC":            open(file, unix.O_RDONLY|unix.O_TRUNC),
		"O_APPEND":           open(file, unix.O_WRONLY|unix.O_APPEND),
		"O_CREAT":            open(fresh, unix.O_RDONLY|unix.O_CREAT),
		"O_CREAT|O_EXCL":     open(fresh, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL),
		"O_TMPFILE":          open(dir, unix.O_RDWR|unix.O_TMPFILE),
		"truncate":           func() error { return unix.Truncate(file, 0) },
		"mkdir":              func() error { return unix.Mkdir(fresh, 0o755) },
		"rmdir":              func() error { return unix.Rmdir(dir) },
		"unlink":             func() error { return unix.Unlink(file) },
		"unlink a link":      func() error { return unix.Unlink(s.path("dangling")) },
		"rename":             func() error { return unix.Rename(file, fresh) },
		"rename over":        func() error { return unix.Rename(file, s.path("zz")) },
		"link":               func() error { return unix.Link(file, fresh) },
		"symlink":            func() error { return unix.Symlink("x", fresh) },
		"mknod":              func() error { return unix.Mknod(fresh, unix.S_IFREG|0o644, 0) },
		"mkfifo":             func() error { return unix.Mkfifo(fresh, 0o644) },
		"chmod":              func() error { return unix.Chmod(file, 0o644) },
		"chmod of a dir":     func() error { return unix.Chmod(dir, 0o755) },
		"chown":              func() error { return unix.Lchown(file, os.Getuid(), os.Getgid()) },
		"utimensat":          func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, file, times, 0) },
		"setxattr":           func() error { return unix.Setxattr(file, "user.x", []byte("y"), 0) },
		"removexattr":        func() error { return unix.Removexattr(file, "user.x") },
		"access for writing": func() error { return unix.Access(file, unix.W_OK) },
		"control file":       open(s.path(".uniharmonyfs/status"), unix.O_WRONLY),
		"in control":         open(s.path(".uniharmonyfs/new"), unix.O_WRONLY|unix.O_CREAT),
	} {
		if err := try(); !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: %v, want EROFS", name, err)
		}
	}
	if err := unix.Access(file, unix.X_OK); !errors.Is(err, unix.EACCES) {
		t.Errorf("access for running: %v", err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fchmod(int(f.Fd()), 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("fchmod: %v", err)
	}
	if _, err := f.Write([]byte("x")); !errors.Is(err, unix.EBADF) {
		t.Errorf("write: %v", err)
	}
	// Locks for reading work, locally.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		t.Errorf("flock: %v", err)
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_RDLCK}); err != nil {
		t.Errorf("fcntl lock: %v", err)
	}
	if strings.Contains(s.log.String(), "level=ERROR") {
		t.Error("a refusal was logged as an error")
	}
}
