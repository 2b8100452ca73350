package dataset

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/bulk"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// Match returns the hidden clones that somebody means, refusing what there is
// not, and what is mounted.
func (r *Registry) Match(wanted []string) (names []string, err error) {
	have := r.Names()
	for _, want := range wanted {
		found := match(have, want)
		if len(found) == 0 {
			return nil, advice.New(advice.NoMatch, fmt.Sprintf("there is no hidden clone %q", want), nil, "there are: "+advice.List(have))
		}
		names = append(names, found...)
	}
	return names, r.Unmounted(names)
}

// Unmounted is an error if one of the named datasets is mounted.
func (r *Registry) Unmounted(names []string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		if ds := r.datasets[name]; ds != nil {
			if h := ds.holder(); h != nil && h.at != "" {
				return inUse(name, h.at)
			}
		}
	}
	return nil
}

// match finds a clone by its whole name, or by the part that a person would
// give: "ds004712" for "ds004712-1f2e3d4c".
func match(have []string, want string) (found []string) {
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

// Removed says what a removal has freed.
type Removed struct {
	Done  bool // nobody else was faster
	Files int  // dropped from the cache
	Bytes int64
}

// Remove closes and deletes a hidden clone, and what was cached through it. It
// waits for the requests that use it, with nothing held, and refuses to take it
// from a mount.
func (r *Registry) Remove(ctx context.Context, name string, tell bulk.Tell) (res Removed, err error) {
	ds, done, err := r.takeUnused(ctx, name, tell)
	if err != nil {
		return res, err
	}
	defer done()
	if ds.removed { // by another command
		return res, nil
	}
	res.Files, res.Bytes, err = r.Cache.Drop(func(owner string, _ annex.Key) bool { return strings.HasPrefix(owner, name+":") })
	if err := ds.close(); err != nil {
		r.Log.Warn("closing a dataset", "name", name, "err", err)
	}
	err = errors.Join(err, cachedir.RemoveTree(r.cloneDir(name)))
	ds.removed, res.Done = true, true
	r.mu.Lock()
	if r.datasets[name] == ds {
		delete(r.datasets, name)
	}
	r.mu.Unlock()
	return res, err
}

// takeUnused waits for the turn at a dataset that nobody holds. Who opens it
// waits for the same turn: so nobody holds it until the turn is given back.
func (r *Registry) takeUnused(ctx context.Context, name string, tell bulk.Tell) (*dataset, func(), error) {
	waiting := func() {
		tell(control.Progress{Phase: control.PhaseWait, Text: "another command that uses " + name})
	}
	for {
		ds := r.dataset(fetch.Spec{Name: name})
		if ds == nil {
			return nil, nil, cache.ErrClosed
		}
		done, err := ds.turn.take(ctx, waiting)
		if err != nil || ds.removed {
			return ds, done, err
		}
		r.mu.Lock()
		by, at := ds.holder(), ""
		if by != nil {
			at = by.at
		}
		r.mu.Unlock()
		if by == nil {
			return ds, done, nil
		}
		done()
		if at != "" {
			return nil, nil, inUse(name, at)
		}
		waiting()
		select {
		case <-by.ended:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// holder returns somebody who holds the dataset, a mount if there is one, or
// nil. Callers hold Registry.mu.
func (ds *dataset) holder() (by *hold) {
	for h := range ds.holds {
		if by == nil || h.at != "" && (by.at == "" || h.at < by.at) {
			by = h
		}
	}
	return by
}

func inUse(name, target string) error {
	return advice.New(advice.Failed, "cannot remove "+name, fmt.Errorf("it is mounted at %s", target), "unmount it first: uniharmonyfs unmount "+target)
}
