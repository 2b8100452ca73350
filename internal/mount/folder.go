package mount

import (
	"context"
	"errors"
	iofs "io/fs"
	"time"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset"
)

// folder is the members of a mount that shows the datasets of a catalog.
type folder struct {
	m       *Mount
	catalog *dataset.Catalog
}

const (
	// A catalog that was looked at longer ago than freshFor is looked at again behind the
	// mount, and from then on every refreshEvery.
	freshFor     = time.Hour
	refreshEvery = 6 * time.Hour
)

// NewFolder returns a mount of the datasets of a catalog, each of which shows what a
// mount of its own would. It is not served yet; without an error, the catalog is the
// mount's until its Close.
func (h Host) NewFolder(req control.MountRequest, c *dataset.Catalog) (*Mount, error) {
	root := c.Root()
	nothing := &dataset.Selection{Result: &bids.Result{Hints: c.LeftOut()}, View: root.View(nil, nil)}
	m, err := h.New(req, root, nothing)
	if err != nil {
		return nil, err
	}
	m.folder = &folder{m, c}
	m.fs.Members = m.folder
	return m, nil
}

// Names implements [fs.Members].
func (f *folder) Names() []string { return f.catalog.Names() }

// Find implements [fs.Members].
func (f *folder) Find(ctx context.Context, name string) error {
	listed, possible := f.catalog.Has(name)
	switch {
	case listed:
		return nil
	case !possible:
		return iofs.ErrNotExist
	}
	_, err := f.Enter(ctx, name)
	return err
}

// Enter implements [fs.Members].
func (f *folder) Enter(ctx context.Context, name string) (*fs.Part, error) {
	return f.m.enter(ctx, inside{
		path: name, level: 1, selection: f.m.request.Selection,
		open: func(ctx context.Context) (*dataset.Version, error) {
			return f.catalog.Open(ctx, name, f.m.request.Selection, quiet)
		},
	})
}

// refresh looks for new members, until the mount ends.
func (f *folder) refresh() {
	for age := freshFor; ; age = refreshEvery {
		came, err := f.catalog.Refresh(f.m.ctx, age)
		if err != nil && !errors.Is(err, context.Canceled) {
			f.m.Log.Warn("the list of datasets stays as it is", "target", f.m.Target(), "err", err)
		}
		if came {
			f.m.served.Relist()
		}
		select {
		case <-f.m.ctx.Done():
			return
		case <-time.After(refreshEvery):
		}
	}
}
