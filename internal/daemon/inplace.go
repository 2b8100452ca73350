package daemon

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// inPlace is content in the user's own repositories. It is read where it
// lies, never copied into the cache, and never changed. git-annex vouches for
// its name only, so it is hashed before it is served for the first time, and
// again when its file has changed.
type inPlace struct {
	mu     sync.Mutex // guards the following
	proven map[annex.Key]fileID
	bad    map[annex.Key]fileID
	checks map[annex.Key]*inPlaceCheck
}

// fileID tells whether a file is still the one that was hashed.
type fileID struct {
	dev, inode uint64
	size       int64
	mtime      int64
}

type inPlaceCheck struct {
	done chan struct{}
	err  error
}

// localFile is an open file of the user's repository.
type localFile struct {
	in  *inPlace
	key annex.Key
	f   *os.File
	id  fileID
}

// open opens a file with a key's content, if it has the right size.
func (in *inPlace) open(key annex.Key, path string) (*localFile, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	sys := st.Sys().(*syscall.Stat_t)
	id := fileID{dev: sys.Dev, inode: sys.Ino, size: st.Size(), mtime: st.ModTime().UnixNano()}
	if want, ok := key.Size(); !ok || want != id.size {
		f.Close()
		return nil, fmt.Errorf("%w: %s has %d bytes", cache.ErrMismatch, path, id.size)
	}
	in.mu.Lock()
	bad := in.bad[key] == id
	in.mu.Unlock()
	if bad {
		f.Close()
		return nil, fmt.Errorf("%w: %s", cache.ErrMismatch, path)
	}
	return &localFile{in: in, key: key, f: f, id: id}, nil
}

// known reports whether the very file was found to be right.
func (in *inPlace) known(key annex.Key, id fileID) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.proven[key] == id && id != fileID{}
}

// prove returns when the file was found to match its key. The check goes on
// when a reader leaves: the next one will ask again.
func (l *localFile) prove(ctx context.Context) error {
	in := l.in
	if in.known(l.key, l.id) {
		return nil
	}
	in.mu.Lock()
	c := in.checks[l.key]
	if c == nil {
		c = &inPlaceCheck{done: make(chan struct{})}
		if in.checks == nil {
			in.checks = make(map[annex.Key]*inPlaceCheck)
			in.proven, in.bad = make(map[annex.Key]fileID), make(map[annex.Key]fileID)
		}
		in.checks[l.key] = c
		path := fmt.Sprintf("/proc/self/fd/%d", l.f.Fd())
		f, err := os.Open(path)
		go in.check(c, l.key, l.id, f, err)
	}
	in.mu.Unlock()
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (in *inPlace) check(c *inPlaceCheck, key annex.Key, id fileID, f *os.File, err error) {
	if err == nil {
		defer f.Close()
		h, want, ok := key.NewHash()
		switch {
		case !ok:
			err = cache.ErrUnverifiable
		default:
			if _, err = io.Copy(h, f); err == nil && hex.EncodeToString(h.Sum(nil)) != want {
				err = fmt.Errorf("the content in your repository is damaged: %w", cache.ErrMismatch)
			}
		}
	}
	in.mu.Lock()
	c.err = err
	switch {
	case err == nil:
		in.proven[key] = id
	case errors.Is(err, cache.ErrMismatch):
		in.bad[key] = id // the next reader gets it from elsewhere
	}
	delete(in.checks, key)
	in.mu.Unlock()
	close(c.done)
}

func (l *localFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := l.prove(ctx); err != nil {
		return 0, err
	}
	return l.f.ReadAt(p, off)
}

// File returns the file for passthrough once it was found to be right.
func (l *localFile) File() *os.File {
	if l.in.known(l.key, l.id) {
		return l.f
	}
	return nil
}

func (l *localFile) Close() error { return l.f.Close() }
