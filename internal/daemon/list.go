package daemon

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

func (d *daemon) listRequest(ctx context.Context, req control.ListRequest, r *reply) (res control.ListResult, err error) {
	if err := req.Selection.Validate(); err != nil {
		return res, err
	}
	v, err := d.openVersion(ctx, req.Dataset, r)
	if err != nil {
		return res, err
	}
	defer tidy()
	if req.Facets || len(req.Explain) > 0 {
		return d.describeSelection(ctx, v, req, r)
	}
	chosen, err := d.newChooser(v, listOwner(v), r).choose(ctx, req.Selection)
	if err != nil {
		return res, err
	}
	if req.Plain {
		chosen.plain(v)
	}
	res = control.ListResult{Files: chosen.view.Files(), Bytes: chosen.view.Bytes(), Commit: string(v.Commit), Hints: chosen.Hints}
	for _, n := range chosen.files {
		if ctx.Err() != nil {
			return res, ctx.Err()
		}
		f := d.describe(v, chosen.view, n)
		if f.Here() {
			res.Cached++
		}
		if err := r.item(f); err != nil {
			return res, err
		}
	}
	return res, nil
}

// tidy gives back the memory that choosing files took, which is many times that
// of showing them: soon, when the request that took it has ended.
func tidy() {
	time.AfterFunc(time.Second, func() {
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		// A large tree is cheap to look through and dear to have half as much of
		// again in garbage.
		if m.HeapAlloc > largeHeap {
			debug.SetGCPercent(15)
		} else {
			debug.SetGCPercent(50)
		}
	})
}

// largeHeap is that of some hundred thousand files, in bytes.
const largeHeap = 64 << 20

// listOwner brings the sidecars that lists need.
func listOwner(v *version) string { return v.name + ":list" }

// describeSelection answers what the catalog of a version knows.
func (d *daemon) describeSelection(ctx context.Context, v *version, req control.ListRequest, r *reply) (res control.ListResult, err error) {
	c := d.newChooser(v, listOwner(v), r)
	res.Commit = string(v.Commit)
	if req.Facets {
		err = c.run(ctx, func(catalog *bids.Catalog, read bids.Read) (err error) {
			res.Facets, err = catalog.Facets(req.Selection, read, func(i int) int64 { return v.Size(c.nodes[i]) })
			return err
		})
		if err != nil || len(res.Facets) == 0 {
			err = c.nothingFound(ctx, err)
		}
		if err != nil {
			return res, err
		}
	}
	for _, path := range req.Explain {
		e := control.Explanation{Path: path}
		err = c.run(ctx, func(catalog *bids.Catalog, read bids.Read) (err error) {
			e.Shown, e.Why, err = catalog.Explain(req.Selection, read, path)
			return err
		})
		if errors.Is(err, fs.ErrNotExist) {
			return res, advice.New(advice.NoMatch, err.Error(), nil, "paths are relative to the dataset's root, as uniharmonyfs list prints them")
		} else if err != nil {
			return res, err
		}
		res.Explained = append(res.Explained, e)
	}
	return res, nil
}

// describe says what is known of one file of a view.
func (d *daemon) describe(v *version, view *tree.View, n int) control.File {
	f := control.File{Path: v.Path(n), Exact: control.Exact(v.Path(n)), Size: view.Size(n), State: "git"}
	if v.Kind(n) != tree.Annexed {
		return f
	}
	key := v.Key(n)
	st := d.cache.State(key)
	f.Key, f.Pinned, f.State = key.String(), st.Pinned, "missing"
	switch st.Presence {
	case cache.Cached:
		f.State = "cached"
	case cache.Partial:
		f.State = "partial"
	}
	if f.State != "cached" && v.clone.InPlace(key) != "" {
		f.State = "local"
	}
	return f
}
