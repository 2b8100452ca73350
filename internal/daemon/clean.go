package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
)

func (d *daemon) cleanRequest(ctx context.Context, req control.CleanRequest, r *reply) (res control.CleanResult, err error) {
	d.mounting.Lock()
	names, err := d.toClean(req)
	d.mounting.Unlock()
	if err != nil {
		return res, err
	}
	if req.Pins {
		if err := d.unpinAll(); err != nil {
			return res, err
		}
	}
	for _, name := range names {
		if err := d.removeDataset(ctx, name, &res, r); err != nil {
			return res, err
		}
	}
	if req.All {
		files, bytes, dropErr := d.cache.Drop(nil)
		res.Files, res.Bytes, err = res.Files+files, res.Bytes+bytes, dropErr
	}
	st := d.cache.Status()
	res.Pinned = st.Pinned
	res.Removed = err == nil && req.All && st.PinnedFiles == 0 && d.life.stopAlone()
	return res, err
}

// toClean returns the datasets that a request means, refusing those in use.
func (d *daemon) toClean(req control.CleanRequest) ([]string, error) {
	have := d.hiddenClones()
	d.mu.Lock()
	used := make(map[string]string)
	for _, m := range d.mounts {
		used[m.version.name] = m.target
	}
	d.mu.Unlock()
	names := have
	if !req.All {
		names = nil
		for _, want := range req.Names {
			found := matchClones(have, want)
			if len(found) == 0 {
				return nil, advice.New(advice.NoMatch, fmt.Sprintf("there is no hidden clone %q", want), nil, "there are: "+advice.List(have))
			}
			names = append(names, found...)
		}
	}
	for _, name := range names {
		if at := used[name]; at != "" {
			return nil, inUse(name, at)
		}
	}
	return names, nil
}

// hiddenClones names the clones in the cache, in byte order.
func (d *daemon) hiddenClones() (names []string) {
	entries, _ := os.ReadDir(d.dir.Datasets())
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

// matchClones finds a clone by its whole name, or by the part that a person
// would give: "ds004712" for "ds004712-1f2e3d4c".
func matchClones(have []string, want string) (found []string) {
	if slices.Contains(have, want) {
		return []string{want}
	}
	for _, name := range have {
		if i := strings.LastIndexByte(name, '-'); i > 0 && name[:i] == want {
			found = append(found, name)
		}
	}
	return found
}

// removeDataset closes and deletes a hidden clone, and what was cached through
// it.
func (d *daemon) removeDataset(ctx context.Context, name string, res *control.CleanResult, r *reply) error {
	ds, done, err := d.takeUnused(ctx, name, r)
	if err != nil {
		return err
	}
	defer done()
	if ds.removed { // by another command
		return nil
	}
	files, bytes, err := d.cache.Drop(func(o string, _ annex.Key) bool { return strings.HasPrefix(o, name+":") })
	res.Files, res.Bytes = res.Files+files, res.Bytes+bytes
	if err := ds.close(); err != nil {
		d.log.Warn("closing a dataset", "name", name, "err", err)
	}
	err = errors.Join(err, cachedir.RemoveTree(d.cloneDir(name)))
	ds.removed = true
	d.mu.Lock()
	if d.datasets[name] == ds {
		delete(d.datasets, name)
	}
	d.mu.Unlock()
	res.Datasets = append(res.Datasets, name)
	return err
}

// takeUnused waits for the turn at a dataset, and for the requests that read it,
// with nothing held. It lets nothing of it be mounted any more.
func (d *daemon) takeUnused(ctx context.Context, name string, r *reply) (*dataset, func(), error) {
	waiting := func() {
		r.progress(control.Progress{Phase: control.PhaseWait, Text: "another command that uses " + name})
	}
	for {
		ds := d.dataset(fetch.Spec{Name: name})
		done, err := ds.turn.take(ctx, waiting)
		if err != nil || ds.removed {
			return ds, done, err
		}
		d.mu.Lock()
		user := ds.user()
		d.mu.Unlock()
		if user == nil {
			if err := d.leave(ds); err != nil {
				done()
				return nil, nil, err
			}
			return ds, done, nil
		}
		done()
		waiting()
		select {
		case <-user.ended:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// leave lets nothing of a dataset be mounted any more, unless something is.
func (d *daemon) leave(ds *dataset) error {
	d.mounting.Lock()
	defer d.mounting.Unlock()
	for _, m := range d.mountList() {
		if m.version.name == ds.name {
			return inUse(ds.name, m.target)
		}
	}
	ds.leaving = true
	return nil
}

func inUse(name, target string) error {
	return advice.New(advice.Failed, "cannot remove "+name, fmt.Errorf("it is mounted at %s", target), "unmount it first: uniharmonyfs unmount "+target)
}

func (d *daemon) unpinAll() error { return d.cache.Unpin(d.cache.Pins()) }
