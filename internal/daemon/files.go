package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/bulk"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset"
	"github.com/uniharmony/uniharmonyfs/internal/mount"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// annexedFiles returns the annexed files that a request means: those of its
// paths inside mounts, or of its selection. Each key comes once.
func (d *daemon) annexedFiles(ctx context.Context, req control.FilesRequest, r *reply) (files []bulk.File, release func(), err error) {
	release = func() {}
	seen := make(map[annex.Key]bool)
	add := func(v *dataset.Version, n int, use cache.Use) {
		if v.Kind(n) != tree.Annexed || seen[v.Key(n)] {
			return
		}
		seen[v.Key(n)] = true
		files = append(files, bulk.File{
			Path: use.Name, Key: v.Key(n), Size: v.Size(n), Local: v.InPlace(n), Use: use,
		})
	}
	if len(req.Paths) > 0 {
		for _, p := range req.Paths {
			found, err := d.inMount(p)
			if err != nil {
				return nil, release, err
			}
			for _, in := range found {
				for _, n := range in.Nodes {
					use, err := in.Use(n)
					if err != nil {
						return nil, release, err
					}
					add(in.Version(), n, use)
				}
			}
		}
		return files, release, nil
	}
	if err := req.Selection.Validate(); err != nil {
		return nil, release, err
	}
	v, err := d.datasets.Reach(ctx, req.Dataset, req.Selection, r.Progress)
	if err != nil {
		return nil, release, err
	}
	release = v.Release
	chosen, err := v.Chooser(v.ID()+":", r.Progress).Choose(ctx, req.Selection)
	if err != nil {
		return nil, release, err
	}
	use, err := v.Uses(cache.Use{Owner: v.ID() + ":"})
	if err != nil {
		return nil, release, err
	}
	for _, n := range chosen.Files {
		add(v, n, use(n))
	}
	return files, release, nil
}

// inMount finds the files of a mount at or below an absolute path.
func (d *daemon) inMount(path string) ([]mount.Files, error) {
	m := d.mounts.with(path)
	if m == nil {
		return nil, advice.New(advice.Usage, path+" is not inside a mount of this cache", nil, "see what is mounted with: uniharmonyfs status", "or choose files by selection, for example --sub 01")
	}
	return m.Find(path)
}

func (d *daemon) filesRequest(ctx context.Context, req control.FilesRequest, r *reply) (res control.FilesResult, err error) {
	files, release, err := d.annexedFiles(ctx, req, r)
	defer release()
	if err != nil {
		return res, err
	}
	keys := make([]annex.Key, len(files))
	for i, f := range files {
		keys[i] = f.Key
		res.Bytes += f.Size
	}
	res.Files = len(files)
	switch req.Do {
	case control.Pin:
		if err := d.cache.Pin(keys); err != nil || req.NoFetch {
			return res, err
		}
		res.Failed, err = d.work.Each(ctx, files, req.Timeout, r.Progress, d.work.Fetch)
		err = errors.Join(err, d.cache.Flush(ctx, keys)) // a pin is a promise
	case control.Unpin:
		err = d.cache.Unpin(keys)
	case control.Prefetch:
		res.Failed, err = d.work.Each(ctx, files, req.Timeout, r.Progress, d.work.Fetch)
	case control.Evict:
		res.Files, res.Bytes, err = d.evict(keys)
	case control.Verify:
		files = slices.DeleteFunc(files, func(f bulk.File) bool { return d.cache.State(f.Key).Presence != cache.Cached })
		res.Files, res.Bytes = len(files), 0
		for _, f := range files {
			res.Bytes += f.Size
		}
		var repaired atomic.Int64
		res.Failed, err = d.work.Each(ctx, files, req.Timeout, r.Progress, func(ctx context.Context, f bulk.File) error {
			err := d.cache.Verify(ctx, f.Key)
			if req.Repair && errors.Is(err, cache.ErrMismatch) {
				if err = d.work.Fetch(ctx, f); err == nil {
					repaired.Add(1)
				}
			}
			return err
		})
		res.Repaired = int(repaired.Load())
	default:
		err = &advice.Error{Kind: advice.Usage, What: fmt.Sprintf("there is nothing like %q to do with files", req.Do)}
	}
	return res, err
}

func (d *daemon) evict(keys []annex.Key) (files int, bytes int64, err error) {
	wanted := make(map[annex.Key]bool, len(keys))
	for _, k := range keys {
		wanted[k] = true
	}
	return d.cache.Drop(func(_ string, k annex.Key) bool { return wanted[k] })
}
