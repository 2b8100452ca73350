package job

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	uhfs "github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// A Room is a directory for one command below $TMPDIR: "view" in it is where a view may be
// mounted, "cache" a cache of the command's own, if it has one. It goes with the command;
// what is left where everything was killed at once, [Sweep] removes. Who is at work in it
// has it locked (flock(2)).
//
// Its zero value is a room that is not there yet.
type Room struct {
	dir    *os.File
	daemon *control.Client // of the cache in it
}

// roomName is how the names of rooms begin.
const roomName = "uniharmonyfs-job-"

// Make makes the room, if it is not there yet.
func (r *Room) Make() (err error) {
	if r.dir != nil {
		return nil
	}
	if r.dir, err = makeRoom(os.TempDir()); err != nil {
		return advice.New(advice.Failed, "there is no place for what the command needs", err, "set TMPDIR to a directory on a disk of this host")
	}
	return nil
}

// Cache is a place for a cache.
func (r *Room) Cache() cachedir.Dir { return cacheIn(r.dir.Name()) }

// View is an empty directory.
func (r *Room) View() string { return filepath.Join(r.dir.Name(), "view") }

// Directories are what is left when nothing is in the room, the innermost first.
func (r *Room) Directories() []string { return []string{r.View(), r.dir.Name()} }

// Close ends the room's daemon, if there is one, and removes the room, if it is there.
func (r *Room) Close() error {
	if r.dir == nil {
		return nil
	}
	defer Sweep()
	defer r.dir.Close()
	var err error
	if r.daemon != nil {
		ctx, cancel := context.WithTimeout(context.Background(), lastWords)
		defer cancel()
		err = r.daemon.StopAndWait(ctx)
	}
	return errors.Join(err, emptyRoom(r.dir.Name()))
}

// startDaemon starts a daemon with a cache in the room, with the program that start
// returns for one. It ends at the latest when this process does: the calling goroutine is
// locked to its thread.
func (r *Room) startDaemon(ctx context.Context, version string, start func(cache cachedir.Dir) *exec.Cmd) (client *control.Client, err error) {
	r.daemon, err = control.Connect(ctx, r.Cache(), version, nil, func() *exec.Cmd {
		cmd := start(r.Cache())
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
		return cmd
	})
	return r.daemon, err
}

func cacheIn(dir string) cachedir.Dir { return cachedir.Dir(filepath.Join(dir, "cache")) }

// makeRoom makes a room, and locks it.
func makeRoom(in string) (*os.File, error) {
	in, err := filepath.Abs(in)
	if err != nil {
		return nil, err
	}
	for range 10 {
		path := filepath.Join(in, roomName+rand.Text()[:12])
		if err := os.Mkdir(path, 0o700); err != nil {
			return nil, err
		}
		dir, err := lockRoom(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EWOULDBLOCK) { // somebody sweeps
			continue
		}
		if err == nil {
			if err = os.Mkdir(filepath.Join(path, "view"), 0o700); err == nil {
				return dir, nil
			}
			dir.Close()
		}
		return nil, errors.Join(err, os.Remove(path))
	}
	return nil, errors.New("it is removed again and again")
}

// lockOwn locks a directory that is there, without waiting.
func lockRoom(path string) (*os.File, error) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(fd), path)
	err = syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		mine, err1 := dir.Stat()
		there, err2 := os.Lstat(path)
		if err = errors.Join(err1, err2); err == nil && !os.SameFile(mine, there) {
			err = fs.ErrNotExist
		}
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// Sweep removes what commands have left that were killed together with their daemons:
// rooms, and mounts below $TMPDIR that nobody serves. What cannot be removed stays.
func Sweep() {
	in, err := filepath.Abs(os.TempDir())
	if err != nil {
		return
	}
	left, _ := filepath.Glob(filepath.Join(in, roomName+"*"))
	for _, path := range left {
		st, err := os.Lstat(path)
		if err != nil || !st.IsDir() || int(st.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
			continue
		}
		if dir, err := lockRoom(path); err == nil {
			emptyRoom(path)
			dir.Close()
		}
	}
	mounts, _ := uhfs.ListMounts()
	for _, m := range mounts {
		cache, ours := cachedir.OfMount(m.FsName)
		// A cache that is not seen here may be served where it is.
		if ours && strings.HasPrefix(m.Target, filepath.Join(in, viewName)) && cache.Exists() && !control.IsServed(cache) {
			uhfs.DetachStale(m.Target)
			os.Remove(m.Target)
		}
	}
}

// viewName is how the names of directories begin that views are mounted at for commands.
const viewName = "uniharmonyfs-exec-"

// emptyRoom removes a room that is locked, unless its daemon is still there.
func emptyRoom(path string) error {
	cache, view := cacheIn(path), filepath.Join(path, "view")
	if control.IsServed(cache) {
		return fmt.Errorf("%s is still in use", path)
	}
	uhfs.DetachStale(view)
	var errs []error
	if cache.Exists() {
		errs = append(errs, cache.Remove())
	}
	for _, gone := range []string{view, string(cache), path} {
		if err := os.Remove(gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
