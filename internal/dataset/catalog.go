package dataset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/bulk"
	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// A Catalog is many datasets by name: those that superdatasets have at their roots, and
// all of OpenNeuro. NAME is the newest version of an accession, and of others the one
// that the superdataset names; NAME@VERSION is another. It is safe for concurrent use.
type Catalog struct {
	registry *Registry
	req      control.Dataset // how datasets are asked for
	specs    []string        // of the superdatasets

	// AsListed says that a listed accession is what the superdataset has, and not the newest
	// version of OpenNeuro's. It is set before the catalog is used.
	AsListed bool

	refreshing sync.Mutex // one at a time

	mu      sync.Mutex // guards the following
	supers  []*Version // by spec, as they are now; nil: it cannot be had
	held    []*Version // all that ever were
	at      string     // where it is mounted, or ""
	names   []string   // in the order in which they came
	members map[string]member
	leftOut []string // superdatasets that cannot be had, and why

	released bool
}

// member is a dataset of a superdataset.
type member struct {
	spec  int // the superdataset's
	super *Version
	dir   int
}

// newestFor is for how long what was the newest version of a dataset is taken for it.
const newestFor = 24 * time.Hour

// Catalog opens superdatasets. Those that cannot be had are left out, unless all are.
// What is known of them needs no network: see [Catalog.Refresh].
func (r *Registry) Catalog(ctx context.Context, req control.Dataset, specs []string, tell bulk.Tell) (*Catalog, error) {
	c := &Catalog{registry: r, req: req, specs: specs, supers: make([]*Version, len(specs)), members: make(map[string]member)}
	ready := false
	defer func() { // also after a panic
		if !ready {
			c.Release()
		}
	}()
	if _, err := c.open(ctx, 0, tell); err != nil {
		return nil, err
	}
	ready = true
	return c, nil
}

// Refresh looks for what is new in superdatasets that were looked at longer ago than
// maxAge, and reports whether names came. None goes.
func (c *Catalog) Refresh(ctx context.Context, maxAge time.Duration) (came bool, err error) {
	return c.open(ctx, maxAge, func(control.Progress) {})
}

func (c *Catalog) open(ctx context.Context, maxAge time.Duration, tell bulk.Tell) (came bool, err error) {
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	var leftOut []string
	var last error
	for i, spec := range c.specs {
		req := c.req
		req.Spec, req.Version = spec, ""
		v, err := c.registry.openNewer(ctx, req, maxAge, func(p control.Progress) {
			p.Text = strings.TrimSpace(spec + ": " + p.Text)
			tell(p)
		})
		if err == nil { // also for who has just left: it is held
			came = c.add(i, v) || came
		}
		if ctx.Err() != nil {
			return came, ctx.Err()
		}
		if err != nil {
			leftOut, last = append(leftOut, fmt.Sprintf("the datasets of %s are left out: %v", spec, err)), err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leftOut = leftOut
	if len(c.names) > 0 {
		return came, nil
	}
	if last == nil {
		last = advice.New(advice.NoMatch, "there are no datasets at the root of "+advice.List(c.specs), nil, "give a superdataset, for example: --catalog ///openneuro")
	}
	return came, last
}

// add takes what a superdataset has at its root, and reports whether there are new names.
func (c *Catalog) add(i int, v *Version) (came bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.supers[i]; c.released || old != nil && old.Commit == v.Commit {
		v.Release()
		return false
	}
	c.supers[i], c.held = v, append(c.held, v)
	if c.at != "" {
		v.Mounted(c.at)
	}
	for _, sub := range v.Subdatasets {
		name := v.Name(sub.Node)
		if v.Parent(sub.Node) != 0 || strings.HasPrefix(name, ".") || strings.Contains(name, "@") {
			continue
		}
		old, known := c.members[name]
		if known && old.spec < i {
			continue // the first superdataset that has a name has it
		}
		c.members[name] = member{i, v, sub.Node}
		if !known {
			c.names, came = append(c.names, name), true
		}
	}
	return came
}

// Root is the first superdataset that could be had.
func (c *Catalog) Root() *Version {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held[0]
}

// Names are those of the superdatasets' members; see [Catalog.Refresh].
func (c *Catalog) Names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.names[:len(c.names):len(c.names)]
}

// LeftOut says which superdatasets cannot be had, and why.
func (c *Catalog) LeftOut() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leftOut
}

// Has reports whether a name is listed, and otherwise whether it could be that of a
// dataset.
func (c *Catalog) Has(name string) (listed, possible bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, listed := c.members[name]; listed {
		return true, true
	}
	base, version, at := strings.Cut(name, "@")
	_, listed = c.members[base]
	return false, (listed || fetch.IsAccession(base)) && (!at || version != "")
}

// Open opens the dataset of a name as [Registry.Reach] does. The error is fs.ErrNotExist
// when there is no such dataset.
func (c *Catalog) Open(ctx context.Context, name string, s bids.Selection, tell bulk.Tell) (*Version, error) {
	listed, possible := c.Has(name)
	if !possible {
		return nil, fs.ErrNotExist
	}
	base, version, _ := strings.Cut(name, "@")
	v, err := c.member(ctx, base, version, tell)
	if known := new(advice.Error); !listed && errors.As(err, &known) {
		switch known.Reason {
		// A server that everybody may ask wants to know who it is that asks for a
		// repository that it does not have.
		case advice.NotFound, advice.Authentication, advice.NotRepository, advice.UnknownVersion:
			return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
		}
	}
	if err != nil {
		return nil, err
	}
	return c.registry.reachFrom(ctx, v, c.req.Levels()-1, s, tell)
}

func (c *Catalog) member(ctx context.Context, base, version string, tell bulk.Tell) (*Version, error) {
	c.mu.Lock()
	m, listed := c.members[base]
	c.mu.Unlock()
	if fetch.IsAccession(base) && !(listed && c.AsListed) {
		req := c.req
		req.Spec, req.Version = base, version
		return c.registry.openNewer(ctx, req, newestFor, tell)
	}
	return c.registry.belowAt(ctx, m.super, m.dir, version, tell)
}

// Mounted says that the datasets are shown at a target from now on.
func (c *Catalog) Mounted(target string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = target
	for _, v := range c.held {
		v.Mounted(target)
	}
}

// Release lets go of the superdatasets. A refresh that is under way brings nothing more.
func (c *Catalog) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.released = true
	for _, v := range c.held {
		v.Release()
	}
}
