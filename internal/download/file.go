package download

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// there is what a download finds under a file's name.
type there int

const (
	nothing there = iota
	same
	differs
	linked // a directory above it is a link
)

const linkedParent = "a directory above it is a symbolic link, and nothing is written through links: replace it by a directory, or choose another target"

// refuses says why a file is not written, or "".
func (g *get) refuses(t there) string {
	switch {
	case t == linked:
		return linkedParent
	case t == differs && !g.req.Force:
		return "another file is there; --force overwrites it"
	}
	return ""
}

// sayPut says why a file could not be written.
func sayPut(err error) string {
	if errors.Is(err, syscall.ELOOP) {
		return linkedParent
	}
	return err.Error()
}

// there compares what the target has with the dataset's file: a file of the
// right size and the commit's time is one of ours, others are hashed. A table
// or JSON file that an earlier download made for less than is there now counts
// as nothing.
func (g *get) there(ctx context.Context, n int) (there, error) {
	st, err := g.target.Lstat(g.v.Path(n))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nothing, nil
	case errors.Is(err, syscall.ENOTDIR):
		return differs, nil
	case errors.Is(err, syscall.ELOOP):
		return linked, nil
	case err != nil:
		return differs, err
	case g.v.Kind(n) == tree.Link:
		if to, err := g.target.Readlink(g.v.Path(n)); err == nil && to == g.v.Target(n) {
			return same, nil
		}
		return differs, nil
	case !st.Mode().IsRegular():
		return differs, nil
	case st.Size() == g.view.Size(n) && st.ModTime().Equal(g.v.Time) && !g.isSynthesised(n):
		return same, nil
	}
	f, err := g.target.Open(g.v.Path(n))
	if err != nil {
		return differs, nil
	}
	defer f.Close()
	return g.compare(ctx, f, n, st.Size()), nil
}

// compare looks into a file that is there.
func (g *get) compare(ctx context.Context, f *os.File, n int, size int64) there {
	content, synthesised := g.view.Content(n)
	if !synthesised && size == g.view.Size(n) {
		return compareHash(ctx, f, g.v.Key(n))
	}
	name := g.v.Path(n)
	if ext := path.Ext(name); !synthesised && ext != ".tsv" && ext != ".json" || size > g.v.Size(n) || size > maxTable {
		return differs
	}
	have, err := io.ReadAll(io.LimitReader(f, maxTable))
	if err == nil && synthesised && bytes.Equal(have, content) {
		return same
	}
	whole, wholeErr := g.v.ReadNow(ctx, n)
	if err != nil || wholeErr != nil || !bids.IsPart(name, have, whole) {
		return differs
	}
	return nothing
}

// maxTable bounds the tables that are looked into.
const maxTable = 16 << 20

func compareHash(ctx context.Context, r io.Reader, key annex.Key) there {
	h, want, ok := key.NewHash()
	if !ok {
		return differs
	}
	if _, err := io.Copy(h, readerUntil{ctx, r}); err != nil || hex.EncodeToString(h.Sum(nil)) != want {
		return differs
	}
	return same
}

// readerUntil is a reader that ends with its context.
type readerUntil struct {
	ctx context.Context
	r   io.Reader
}

func (r readerUntil) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

func (g *get) isSynthesised(n int) bool {
	_, ok := g.view.Content(n)
	return ok
}

// bring puts one file into the target.
func (g *get) bring(ctx context.Context, n int) error {
	name := g.v.Path(n)
	if err := g.makeParent(name); err != nil {
		return err
	}
	if g.v.Kind(n) == tree.Link {
		if g.req.Force {
			g.target.Remove(name)
		}
		return g.target.Symlink(g.v.Target(n), name)
	}
	h := g.halfFile(name)
	defer h.discard()
	if err := g.fill(ctx, n, h); err != nil {
		return err
	}
	return h.become(name)
}

func (g *get) makeParent(name string) error {
	return g.target.MkdirAll(path.Dir(name), g.mode(0o777))
}

// halfFile returns what is to become a file of the target.
func (g *get) halfFile(name string) halfFile {
	return newHalfFile(g.target, path.Dir(name), g.mode(0o666), g.v.Time)
}

// mode is what the user's umask makes of a mode.
func (g *get) mode(m fs.FileMode) fs.FileMode { return m &^ fs.FileMode(g.req.Umask) }

// fill writes a file's content.
func (g *get) fill(ctx context.Context, n int, h halfFile) error {
	if content, ok := g.view.Content(n); ok {
		return h.write(func(f *os.File) error { _, err := f.Write(content); return err })
	}
	key := g.v.Key(n)
	if g.v.Kind(n) == tree.Git {
		return h.write(func(f *os.File) error {
			_, err := g.v.Blobs(n).Copy(ctx, gitstore.OID(key.Name()), f)
			return err
		})
	}
	return g.fillAnnexed(ctx, n, h)
}

// fillAnnexed fetches a file's content, unless it is cached, and copies it.
func (g *get) fillAnnexed(ctx context.Context, n int, to halfFile) error {
	key := g.v.Key(n)
	if local := g.v.OpenInPlace(n); local != nil {
		defer local.Close()
		from, err := local.Wait(ctx)
		if err != nil {
			return err
		}
		return errors.Join(copyFile(ctx, from, to), local.Same())
	}
	missing := g.d.Cache.State(key).Presence != cache.Cached
	use := g.use(n)
	err := g.copyCached(ctx, key, use, to)
	if !missing && errors.Is(err, cache.ErrMismatch) {
		// What was here was found damaged, and is gone: it is fetched now.
		err = g.copyCached(ctx, key, use, to)
	}
	if full := new(cache.NoSpaceError); errors.As(err, &full) && full.Never {
		err = g.stream(ctx, key, use, to)
	}
	if err == nil && missing {
		g.did.mu.Lock()
		g.did.fetched += g.view.Size(n)
		g.did.mu.Unlock()
	}
	if g.req.TmpClean {
		_, _, dropErr := g.d.Cache.DropKey(key, g.owner)
		err = errors.Join(err, dropErr)
	}
	return err
}

// copyCached copies a file's object, when it is here and verified.
func (g *get) copyCached(ctx context.Context, key annex.Key, use cache.Use, to halfFile) error {
	h, err := g.d.Cache.Open(key, use)
	if err != nil {
		return err
	}
	defer h.Close()
	object, err := h.Wait(ctx)
	if err != nil {
		return err
	}
	return g.copyObject(ctx, h, object, to)
}

// stream copies what is larger than the cache's budget, a window of it at a
// time, and verifies what it wrote.
func (g *get) stream(ctx context.Context, key annex.Key, use cache.Use, to halfFile) error {
	use.Patience = g.req.Timeout
	h, err := g.d.Cache.Open(key, use)
	if err != nil {
		return err
	}
	defer h.Close()
	h.ReadThrough()
	return to.write(func(f *os.File) error {
		hash, want, _ := key.NewHash()
		from := io.NewSectionReader(readerOf{ctx, h}, 0, h.Size())
		// Few bytes at a time: a window holds no more.
		if _, err := io.CopyBuffer(io.MultiWriter(f, hash), from, make([]byte, 256<<10)); err != nil {
			return err
		}
		if hex.EncodeToString(hash.Sum(nil)) != want {
			return cache.ErrMismatch
		}
		return nil
	})
}

// readerOf reads a handle until a context ends.
type readerOf struct {
	ctx context.Context
	h   *cache.Handle
}

func (r readerOf) ReadAt(p []byte, off int64) (int, error) { return r.h.ReadAt(r.ctx, p, off) }

// copyObject shares an object of the cache as a whole where that is wished,
// and copies otherwise, sharing blocks where the file system can. from is nil for
// a file that is not the cache's.
func (g *get) copyObject(ctx context.Context, from *cache.Handle, object *os.File, to halfFile) error {
	if g.req.Hardlink {
		link := func(object *os.File) error { return to.in.Link(object, to.name) }
		var err error
		if from != nil {
			err = from.Share(link)
		} else {
			err = link(object)
		}
		if !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.EMLINK) {
			return err
		}
	}
	return copyFile(ctx, object, to)
}

func copyFile(ctx context.Context, object *os.File, to halfFile) error {
	return to.write(func(f *os.File) error {
		if unix.IoctlFileClone(int(f.Fd()), int(object.Fd())) == nil {
			return nil
		}
		st, err := object.Stat()
		if err != nil {
			return err
		}
		// In pieces, so that an interrupt need not wait for a large file.
		for off := int64(0); off < st.Size(); off += 64 << 20 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if _, err := io.Copy(f, io.NewSectionReader(object, off, 64<<20)); err != nil {
				return err
			}
		}
		return nil
	})
}
