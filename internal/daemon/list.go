package daemon

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset"
)

func (d *daemon) listRequest(ctx context.Context, req control.ListRequest, r *reply) (res control.ListResult, err error) {
	if err := req.Selection.Validate(); err != nil {
		return res, err
	}
	v, err := d.datasets.Reach(ctx, req.Dataset, req.Selection, r.Progress)
	if err != nil {
		return res, err
	}
	defer v.Release()
	defer tidy()
	if req.Facets || len(req.Explain) > 0 {
		return describeSelection(ctx, v, req, r)
	}
	chosen, err := v.Chooser(listOwner(v), r.Progress).Choose(ctx, req.Selection)
	if err != nil {
		return res, err
	}
	if req.Plain {
		chosen.Plain(v)
	}
	res = control.ListResult{Files: chosen.View.Files(), Bytes: chosen.View.Bytes(), Commit: string(v.Commit), Hints: chosen.Hints}
	for _, n := range chosen.Files {
		if ctx.Err() != nil {
			return res, ctx.Err()
		}
		f := v.Describe(chosen.View, n)
		if f.Here() {
			res.Cached++
		}
		if err := r.Item(f); err != nil {
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
func listOwner(v *dataset.Version) string { return v.ID() + ":list" }

// describeSelection answers what the catalog of a version knows.
func describeSelection(ctx context.Context, v *dataset.Version, req control.ListRequest, r *reply) (res control.ListResult, err error) {
	c := v.Chooser(listOwner(v), r.Progress)
	res.Commit = string(v.Commit)
	if req.Facets {
		if res.Facets, err = c.Facets(ctx, req.Selection); err != nil {
			return res, err
		}
	}
	for _, path := range req.Explain {
		e, err := c.Explain(ctx, req.Selection, path)
		if errors.Is(err, fs.ErrNotExist) {
			return res, advice.New(advice.NoMatch, err.Error(), nil, "paths are relative to the dataset's root, as uniharmonyfs list prints them")
		} else if err != nil {
			return res, err
		}
		res.Explained = append(res.Explained, e)
	}
	return res, nil
}
