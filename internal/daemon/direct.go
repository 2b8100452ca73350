package daemon

import (
	"context"
	"errors"
	"os"
	"path"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// In direct mode the target is a DataLad dataset. A file's content goes to
// where git-annex keeps objects; its links in the work tree are git's.

func (g *get) cloneDirect(ctx context.Context, r *reply) (err error) {
	req := g.req
	g.direct, err = fetch.CloneDirect(ctx, g.v.clone.Spec, req.Version, req.Target, fetch.CloneOptions{
		Git: g.d.git,
		Env: req.Env,
		Progress: func(p fetch.Progress) {
			r.progress(Progress{Phase: "clone", Done: p.Done, Total: p.Total, Text: p.Text})
		},
	})
	return err
}

// look finds what the target has of a file.
func (g *get) look(ctx context.Context, n int) (there, error) {
	if g.direct == nil {
		return g.there(ctx, n)
	}
	st, err := g.target.Stat(g.direct.ObjectPath(g.v.Key(n)))
	if err != nil || st.Size() != g.v.Size(n) {
		return nothing, nil
	}
	if g.req.Copy {
		if st, err := g.target.Lstat(g.v.Path(n)); err != nil || !st.Mode().IsRegular() {
			return nothing, nil
		}
	}
	return same, nil
}

// put brings a file to where the mode wants it.
func (g *get) put(ctx context.Context, n int) error {
	if g.direct == nil {
		return g.bring(ctx, n)
	}
	object := g.direct.ObjectPath(g.v.Key(n))
	if st, err := g.target.Stat(object); err != nil || st.Size() != g.v.Size(n) {
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
	if err := g.target.MkdirAll(path.Dir(dir), 0o777&^os.FileMode(g.req.Umask)); err != nil {
		return err
	}
	tmp := path.Join(".git", "annex", tempName())
	defer g.target.Remove(tmp)
	if err := g.fillAnnexed(ctx, n, tmp); err != nil {
		return err
	}
	if err := g.target.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := errors.Join(g.target.Chmod(dir, 0o755), g.target.Chmod(tmp, 0o444)); err != nil {
		return err
	}
	if err := g.target.Rename(tmp, object); err != nil {
		return err
	}
	return g.target.Chmod(dir, 0o555)
}

// copyOut replaces a link in the work tree by the file it leads to.
func (g *get) copyOut(ctx context.Context, n int, object string) error {
	f, err := g.target.Open(object)
	if err != nil {
		return err
	}
	defer f.Close()
	name := g.v.Path(n)
	tmp := path.Join(path.Dir(name), tempName())
	defer g.target.Remove(tmp)
	if err := g.copyObject(ctx, nil, f, tmp); err != nil {
		return err
	}
	return g.target.Rename(tmp, name)
}

// settleDirect tells git-annex what is there now.
func (g *get) settleDirect(ctx context.Context, todo []int) error {
	var keys []annex.Key
	var unlocked []string
	for _, n := range todo {
		if !g.done[n] {
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
