package job

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"

	"github.com/uniharmony/uniharmonyfs/fetch"
	uhfs "github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/upper"
)

// over is what is put over a view, and the upper directory in it, if any.
type over struct {
	upper.Stack
	dir *upper.Dir
}

// openOver takes an upper directory (none: "") and outputs, each as NAME=DIR, for a view
// of a dataset at a path. Errors are those of [upper.Open] and [upper.Outputs].
func openOver(writable string, outputs upper.Given, umask fs.FileMode, cache cachedir.Dir, dataset, at string) (o over, err error) {
	apart := []upper.Place{{What: "the cache", Path: string(cache)}, {What: "the dataset", Path: fetch.LocalPath(dataset)}, {What: "what the view hides", Path: at}}
	if o.Outputs, err = upper.Outputs(outputs, apart...); err != nil || writable == "" {
		return o, err
	}
	if o.dir, err = upper.Open(writable, 0o777&^umask, apart...); err == nil {
		o.Upper = o.dir.Path
	}
	return o, err
}

// holds are the files that hold the upper directory.
func (o over) holds() []*os.File {
	if o.dir == nil {
		return nil
	}
	return []*os.File{o.dir.Lock()}
}

// close gives the upper directory up.
func (o over) close() {
	if o.dir != nil {
		o.dir.Close()
	}
}

// leave leaves it to the daemon to keep what is written, where this system gives a
// command no namespaces of its own, and reports whether that can be.
func (o *over) leave(req *control.MountRequest) bool {
	if o.dir == nil || len(o.Outputs) > 0 || !uhfs.CanMount() {
		return false
	}
	o.close()
	req.Writable, req.Layer = o.Upper, false
	*o = over{}
	return true
}

// claim takes note of the view, as it can be listed again.
func (o over) claim(req control.MountRequest, info control.MountInfo) error {
	if o.dir == nil {
		return nil
	}
	view, err := json.Marshal(req.Listed(info.Commit))
	if err != nil {
		return err
	}
	return o.dir.Claim(info.Dataset, info.Commit, view)
}

// Below lists the files of the views that an upper directory was written over, without
// the network.
func Below(ctx context.Context, client *control.Client, r upper.Record) (paths []string, err error) {
	for _, view := range r.Views {
		var req control.ListRequest
		if err := json.Unmarshal(view, &req); err != nil {
			return nil, err
		}
		req.Offline = true
		_, err := client.List(ctx, req, nil, func(f control.File) error {
			paths = append(paths, f.Path)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return paths, nil
}
