package daemon

import (
	"context"

	"github.com/uniharmony/uniharmonyfs/internal/control"
)

func (d *daemon) cleanRequest(ctx context.Context, req control.CleanRequest, r *reply) (res control.CleanResult, err error) {
	var names []string
	if req.All {
		names = d.datasets.Names()
		err = d.datasets.Unmounted(names)
	} else {
		names, err = d.datasets.Match(req.Names)
	}
	if err != nil {
		return res, err
	}
	if req.Pins {
		if err := d.cache.Unpin(d.cache.Pins()); err != nil {
			return res, err
		}
	}
	for _, name := range names {
		removed, err := d.datasets.Remove(ctx, name, r.Progress)
		res.Files, res.Bytes = res.Files+removed.Files, res.Bytes+removed.Bytes
		if removed.Done {
			res.Datasets = append(res.Datasets, name)
		}
		if err != nil {
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
