package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/web"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/plain"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// wholeOnly is what sources have in common that bring files as a whole, and the
// right ones: their name, without a way to fetch a part.
type wholeOnly string

func (w wholeOnly) String() string { return string(w) }
func (wholeOnly) Exact() bool      { return true }
func (w wholeOnly) Fetch(context.Context, int64, int64, io.Writer) error {
	return fmt.Errorf("%s: %w", w, source.ErrWholeOnly)
}

// gitSource is a file that lies in git itself.
type gitSource struct {
	wholeOnly
	store *gitstore.Store
	id    gitstore.OID
}

// Place writes the whole file.
func (s *gitSource) Place(ctx context.Context, path string, progress func(done int64)) error {
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = s.store.Copy(ctx, s.id, &counted{w: to, tell: progress})
	return errors.Join(err, to.Close())
}

// objectDirs returns the directories with git-annex's objects of a repository
// on this machine: none, if it has no content.
func objectDirs(repository string) (dirs []string) {
	for _, git := range []string{".git", "."} {
		dir := filepath.Join(repository, git, "annex", "objects")
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// findObject returns the path of a key's content in directories of objects,
// whichever way they are hashed, or "".
func findObject(dirs []string, key annex.Key) string {
	for _, dir := range dirs {
		file := key.FileName()
		for _, hash := range []string{key.HashDirMixed(), key.HashDirLower()} {
			path := filepath.Join(dir, hash, file, file)
			if st, err := os.Lstat(path); err == nil && st.Mode().IsRegular() {
				return path
			}
		}
	}
	return ""
}

// fileSource is a file on this machine. It is copied, never changed.
type fileSource struct {
	path string
	key  annex.Key
}

func (s *fileSource) String() string { return plain.Short(s.path, web.MaxURL) }
func (s *fileSource) Exact() bool    { return true }

func (s *fileSource) Fetch(ctx context.Context, off, n int64, w io.Writer) error {
	f, err := s.open()
	if err != nil {
		return err
	}
	defer f.Close()
	if off < 0 || n < 0 {
		return fmt.Errorf("bytes %d to %d", off, off+n)
	}
	return s.copy(ctx, f, off, n, w)
}

// open opens the file, which must have the key's size.
func (s *fileSource) open() (*os.File, error) {
	f, err := os.OpenFile(s.path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	size, known := s.key.Size()
	switch {
	case err != nil:
	case !st.Mode().IsRegular():
		err = fmt.Errorf("%s is not a regular file", s)
	case known && st.Size() != size:
		err = fmt.Errorf("%s has %d bytes, not the key's %d", s, st.Size(), size)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (s *fileSource) copy(ctx context.Context, f *os.File, off, n int64, w io.Writer) error {
	r := io.NewSectionReader(f, off, n)
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		written, err := io.CopyN(w, r, min(n, 1<<20))
		n -= written
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		} else if err != nil {
			return err
		}
	}
	return nil
}

// Place clones the file where the file system can share its blocks, and
// copies it elsewhere.
func (s *fileSource) Place(ctx context.Context, path string, progress func(done int64)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	from, err := s.open()
	if err != nil {
		return err
	}
	defer from.Close()
	st, err := from.Stat()
	if err != nil {
		return err
	}
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = unix.IoctlFileClone(int(to.Fd()), int(from.Fd()))
	if err != nil {
		err = s.copy(ctx, from, 0, st.Size(), &counted{w: to, tell: progress})
	}
	return errors.Join(err, to.Close())
}

// counted tells how much was written.
type counted struct {
	w    io.Writer
	done int64
	tell func(int64)
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.done += int64(n)
	c.tell(c.done)
	return n, err
}
