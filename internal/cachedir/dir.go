package cachedir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
)

// Dir is a cache directory.
type Dir string

const (
	markerName = "CACHEDIR.TAG"
	// The first line is the signature of the Cache Directory Tagging
	// Specification, so that backup programs leave the cache out.
	marker = "Signature: 8a477f597d28d172789f06886806bc55\n" +
		"# A cache of uniharmonyfs. Everything in it can be fetched again, except the file \"pins\".\n" +
		"# Remove it with: uniharmonyfs clean --all\n"
)

// Default returns $XDG_CACHE_HOME/uniharmonyfs, or ~/.cache/uniharmonyfs.
func Default() (Dir, error) { return Named("uniharmonyfs") }

func (d Dir) path(name string) string { return filepath.Join(string(d), name) }

// Socket is where the daemon listens.
func (d Dir) Socket() string { return d.path("daemon.sock") }

// LogPath is where the daemon writes its log.
func (d Dir) LogPath() string { return d.path("daemon.log") }

// LockPath is the file that whoever serves the cache has locked.
func (d Dir) LockPath() string { return d.path("lock") }

// Index is where package index keeps its database.
func (d Dir) Index() string { return d.path("index") }

// Objects is where package cache keeps what was fetched.
func (d Dir) Objects() string { return d.path("objects") }

// Datasets is where the hidden clones lie, each under its dataset's name.
func (d Dir) Datasets() string { return d.path("datasets") }

// Offers is where programs offer open files to the daemon, each at a socket.
func (d Dir) Offers() string { return d.path("offers") }

// Below is where views lie that something is put over.
func (d Dir) Below() string { return d.path("below") }

// Exists reports whether there is a cache at d.
func (d Dir) Exists() bool {
	have, err := os.ReadFile(d.path(markerName))
	return err == nil && strings.HasPrefix(string(have), marker[:43])
}

// Make makes the cache directory if it is missing and marks it. It refuses a
// directory that belongs to another user or holds something else. Others may
// make it at the same time; one that is being removed is made again.
func (d Dir) Make() error {
	for try := 1; ; try++ {
		if err := d.makeOnce(); !errors.Is(err, fs.ErrNotExist) || try == manyTries {
			return err
		}
	}
}

// manyTries is how often something is done again that others have undone.
const manyTries = 100

func (d Dir) makeOnce() error {
	what := fmt.Sprintf("cannot use %s as the cache", d)
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return advice.New(advice.Failed, what, err, Elsewhere)
	}
	st, err := os.Stat(string(d))
	if err != nil {
		return advice.New(advice.Failed, what, err)
	}
	if !st.IsDir() {
		return advice.New(advice.Failed, what, errors.New("it is not a directory"), "choose another one with --cache DIR")
	}
	if uid := st.Sys().(*syscall.Stat_t).Uid; int(uid) != os.Geteuid() {
		return advice.New(advice.Failed, what, fmt.Errorf("it belongs to user %d, not to you", uid), "choose a directory of your own with --cache DIR")
	}
	if d.Exists() {
		return d.close(st)
	}
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return advice.New(advice.Failed, what, err)
	}
	for _, e := range entries {
		if e.Name() != "lock" && !strings.HasPrefix(e.Name(), newMarker) {
			if d.Exists() { // made at this moment by another command, and used
				return d.close(st)
			}
			if e.Name() == markerName { // or removed again
				if _, err := os.Lstat(d.path(markerName)); err != nil || d.Exists() {
					return fs.ErrNotExist
				}
			}
			return advice.New(advice.Failed, what, fmt.Errorf("it holds %q and has no %s: it is not a cache of ours", e.Name(), markerName), "choose an empty or new directory with --cache DIR")
		}
	}
	if err := d.close(st); err != nil {
		return err
	}
	// Another command may do the same: each writes a file of its own.
	if err := d.replace(markerName, newMarker+rand.Text(), []byte(marker)); err != nil {
		return advice.New(advice.Failed, what, err, Elsewhere)
	}
	d.removeNewMarkers()
	return nil
}

// newMarker is how the names of markers begin that are being written.
const newMarker = markerName + ".new"

// removeNewMarkers removes those of commands that were killed. One that is being
// written is done without: the marker is there.
func (d Dir) removeNewMarkers() error {
	entries, err := os.ReadDir(string(d))
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), newMarker) {
			continue
		}
		if gone := os.Remove(d.path(e.Name())); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	return err
}

// replace gives a file of the cache other content, by way of a file named tmp:
// the old or the new is there, never half of it, also after a power cut or on a
// full disk.
func (d Dir) replace(name, tmp string, content []byte) error {
	path, tmp := d.path(name), d.path(tmp)
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	dir, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// close keeps other users out of the cache: whoever could write into it could
// change what is served.
func (d Dir) close(st fs.FileInfo) error {
	if st.Mode().Perm() == 0o700 {
		return nil
	}
	if err := os.Chmod(string(d), 0o700); err != nil {
		return advice.New(advice.Failed, fmt.Sprintf("cannot keep others out of the cache %s", d), err, "choose another directory with --cache DIR")
	}
	return nil
}

// ErrLocked says that another process holds a cache's lock.
var ErrLocked = errors.New("another daemon serves this cache")

// Lock takes the cache's lock without waiting. The lock lives as long as the
// returned file is open.
func (d Dir) Lock() (*os.File, error) {
	for try := 1; ; try++ {
		f, err := os.OpenFile(d.LockPath(), os.O_CREATE|os.O_RDWR, 0o600)
		if errors.Is(err, fs.ErrNotExist) && try < manyTries { // it was removed
			if err := d.Make(); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, advice.New(advice.Failed, fmt.Sprintf("cannot use %s as the cache", d), err, Elsewhere)
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, ErrLocked
			}
			return nil, advice.New(advice.Failed, fmt.Sprintf("cannot lock the cache %s", d), err, "a cache needs a file system with working flock: choose a local one with --cache DIR")
		}
		// A daemon that removes its cache unlinks the lock it holds: what
		// counts is the file that is there now.
		mine, err1 := f.Stat()
		there, err2 := os.Stat(d.LockPath())
		held := err1 == nil && err2 == nil && os.SameFile(mine, there)
		// It may have gone with the marker, or between the marker's end and its own.
		if err := d.Make(); err != nil {
			f.Close()
			return nil, err
		}
		if held {
			return f, nil
		}
		f.Close()
	}
}

// Holder returns what who holds the lock of the cache has written into it, if anything,
// and when it last did: by the clock of the file system.
func (d Dir) Holder() (said []byte, when time.Time, err error) {
	f, err := os.Open(d.LockPath())
	if err != nil {
		return nil, when, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, when, err
	}
	said, err = io.ReadAll(io.LimitReader(f, 1<<16))
	return said, st.ModTime(), err
}

// IsLocked reports whether a process holds the cache's lock. It makes nothing:
// without a lock file the error is os.ErrNotExist.
func (d Dir) IsLocked() (bool, error) {
	f, err := os.OpenFile(d.LockPath(), os.O_RDWR, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return true, nil
	}
	if there, err := os.Stat(d.LockPath()); err != nil {
		return false, err
	} else if mine, err := f.Stat(); err != nil || !os.SameFile(mine, there) {
		return false, err
	}
	return false, nil
}

// Remove deletes the cache. The caller holds the lock and has closed
// everything else.
// Only names of the cache's own are touched, and nothing below a mount point.
func (d Dir) Remove() error {
	if !d.Exists() {
		return fmt.Errorf("%s carries no marker of ours", d)
	}
	if at, err := MountBelow(string(d)); err != nil || at != "" {
		return errors.Join(err, fmt.Errorf("%s is a mount point inside the cache", at))
	}
	var errs []error
	for _, name := range []string{"objects", "partial", "aside", "datasets", "index", "offers", "below"} {
		errs = append(errs, RemoveTree(d.path(name)))
	}
	errs = append(errs, d.removeNewMarkers())
	for _, name := range []string{"pins", "pins.bak", "pins.new", "pins.room", "settings.json", "settings.json.new", "daemon.log", "daemon.log.old", "daemon.sock", markerName, "lock"} {
		if err := os.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	// The directory itself stays if somebody else keeps something there, or if
	// it is where a disk is mounted.
	if err := os.Remove(string(d)); err != nil && !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EBUSY) && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// RemoveTree is os.RemoveAll for trees with read-only directories, which
// git-annex makes. Symlinks are removed, never followed.
func RemoveTree(root string) error {
	if err := os.RemoveAll(root); err == nil {
		return nil
	}
	filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if e != nil && e.IsDir() {
			os.Chmod(p, 0o700)
		}
		return nil
	})
	return os.RemoveAll(root)
}

// Within reports whether path is dir or below it. Both are absolute and clean.
func Within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
