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

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

// gitSource is a file that lies in git itself.
type gitSource struct {
	store *gitstore.Store
	id    gitstore.OID
}

func (s *gitSource) String() string { return "git" }
func (s *gitSource) Exact() bool    { return true }

func (s *gitSource) Fetch(ctx context.Context, off, n int64, w io.Writer) error {
	part := &window{w: w, skip: off, left: n}
	_, err := s.store.Copy(ctx, s.id, part)
	if errors.Is(err, errEnough) {
		return nil
	}
	if err == nil && part.left > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Place writes the whole file: git gives objects from their start only.
func (s *gitSource) Place(ctx context.Context, path string, progress func(done int64)) error {
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = s.store.Copy(ctx, s.id, &counted{w: to, tell: progress})
	return errors.Join(err, to.Close())
}

// window passes on a part of a stream.
type window struct {
	w          io.Writer
	skip, left int64
}

var errEnough = errors.New("the part is complete")

func (w *window) Write(p []byte) (int, error) {
	all := len(p)
	if w.skip >= int64(len(p)) {
		w.skip -= int64(len(p))
		return all, nil
	}
	p = p[w.skip:]
	w.skip = 0
	cut := int64(len(p)) > w.left
	if cut {
		p = p[:w.left]
	}
	n, err := w.w.Write(p)
	w.left -= int64(n)
	if err == nil && cut {
		err = errEnough
	}
	if err != nil {
		return n, err
	}
	return all, nil
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
type fileSource struct{ path string }

func (s *fileSource) String() string { return s.path }
func (s *fileSource) Exact() bool    { return true }

func (s *fileSource) Fetch(ctx context.Context, off, n int64, w io.Writer) error {
	f, err := os.OpenFile(s.path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
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
	from, err := os.OpenFile(s.path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	st, err := from.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", s.path)
	}
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = unix.IoctlFileClone(int(to.Fd()), int(from.Fd()))
	if err != nil {
		err = s.Fetch(ctx, 0, st.Size(), &counted{w: to, tell: progress})
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
