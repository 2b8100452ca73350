package download

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// In direct mode the target is a DataLad dataset. A file's content goes to
// where git-annex keeps objects; its links in the work tree are git's.

func (g *get) cloneDirect(ctx context.Context, out Out) (err error) {
	req := g.req
	g.direct, err = fetch.CloneDirect(ctx, g.v.Clone.Spec, req.Version, string(g.v.Commit), req.Target, fetch.CloneOptions{
		Git: g.d.Git,
		Env: req.Env,
		Progress: func(p fetch.Progress) {
			out.Progress(control.Progress{Phase: control.PhaseClone, Done: p.Done, Total: p.Total, Text: p.Text})
		},
	})
	if err == nil {
		g.annex, err = g.target.Annex()
	}
	return err
}

// hasObject reports whether the dataset has a file's content.
func (g *get) hasObject(n int) bool {
	if g.annex == nil {
		return false
	}
	st, err := g.annex.Lstat(fetch.ObjectPath(g.v.Key(n)))
	return err == nil && st.Mode().IsRegular() && st.Size() == g.v.Size(n)
}

// look finds what the target has of a file.
func (g *get) look(ctx context.Context, n int) (there, error) {
	if g.direct == nil {
		return g.there(ctx, n)
	}
	if g.req.Copy {
		if state, err := g.copied(ctx, n); err != nil || state != same {
			return state, err
		}
	}
	if !g.hasObject(n) {
		return nothing, nil
	}
	return same, nil
}

// copied finds what the work tree has of a file that is to be a real one. What
// the commit has there, a link or a pointer to the content, counts as nothing.
func (g *get) copied(ctx context.Context, n int) (there, error) {
	name := g.v.Path(n)
	st, err := g.target.Lstat(name)
	if err != nil || st.Size() > maxPointer {
		return g.there(ctx, n)
	}
	var have []byte
	switch st.Mode().Type() {
	case fs.ModeSymlink:
		var to string
		to, err = g.target.Readlink(name)
		have = []byte(to)
	case 0:
		var f *os.File
		if f, err = g.target.Open(name); err == nil {
			have, err = io.ReadAll(io.LimitReader(f, maxPointer))
			f.Close()
		}
	}
	if err != nil {
		return differs, err
	}
	if of, err := g.v.Git.ReadPath(ctx, string(g.v.Commit), name); err == nil && bytes.Equal(of, have) {
		return nothing, nil
	}
	return g.there(ctx, n)
}

// maxPointer bounds the pointers to content in a work tree, in bytes.
const maxPointer = 32 << 10

// put brings a file to where the mode wants it.
func (g *get) put(ctx context.Context, n int) error {
	if g.direct == nil {
		return g.bring(ctx, n)
	}
	object := fetch.ObjectPath(g.v.Key(n))
	if !g.hasObject(n) {
		if err := g.putObject(ctx, n, object); err != nil {
			return err
		}
	}
	if g.req.Copy {
		return g.copyOut(ctx, n, object)
	}
	return nil
}

// putObject gives an object its place as git-annex does: read-only, in a
// read-only directory.
func (g *get) putObject(ctx context.Context, n int, object string) error {
	dir := path.Dir(object)
	if err := g.annex.MkdirAll(path.Dir(dir), g.mode(0o777)); err != nil {
		return err
	}
	h := newHalfFile(g.annex, ".", 0o444, g.v.Time)
	defer h.discard()
	if err := g.fillAnnexed(ctx, n, h); err != nil {
		return err
	}
	if err := g.annex.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := g.annex.Chmod(dir, 0o755); err != nil {
		return err
	}
	if err := h.become(object); err != nil {
		return err
	}
	return g.annex.Chmod(dir, 0o555)
}

// copyOut replaces a link in the work tree by the file it leads to.
func (g *get) copyOut(ctx context.Context, n int, object string) error {
	f, err := g.annex.Open(object)
	if err != nil {
		return err
	}
	defer f.Close()
	name := g.v.Path(n)
	if err := g.makeParent(name); err != nil {
		return err
	}
	h := g.halfFile(name)
	defer h.discard()
	if err := g.copyObject(ctx, nil, f, h); err != nil {
		return err
	}
	return h.become(name)
}

// settleDirect tells git-annex what is there now.
func (g *get) settleDirect(ctx context.Context, todo []int) error {
	var keys []annex.Key
	var unlocked []string
	for _, n := range todo {
		if !g.did.done[n] {
			continue
		}
		keys = append(keys, g.v.Key(n))
		st, err := g.target.Lstat(g.v.Path(n))
		if err == nil && st.Mode().IsRegular() && !g.req.Copy {
			unlocked = append(unlocked, g.v.Path(n))
		}
	}
	if len(keys) == 0 {
		return nil
	}
	// An interrupted download, too, leaves a dataset that knows what it has.
	return g.direct.Present(context.WithoutCancel(ctx), keys, unlocked)
}
