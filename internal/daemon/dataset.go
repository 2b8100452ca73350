package daemon

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/index"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// dataset is a hidden clone in use. It stays open as long as the daemon:
// closing it would end transfers that other mounts wait for.
type dataset struct {
	name string // its directory below datasets
	spec string

	// turn is had while cloning, so that others wait and find it done, and while
	// the clone is removed. It guards git and removed; hidden never changes.
	turn    turn
	hidden  *fetch.Hidden
	git     *gitstore.Store
	removed bool // it is closed and its directory gone: open another

	// leaving says that it is about to be removed, so nothing of it can be
	// mounted any more; guarded by the daemon's mounting.
	leaving bool

	users map[*reply]bool // requests that read it, some of them ended; guarded by daemon.mu

	mu      sync.Mutex // guards the following
	origins map[originID]*keptOrigin
}

func (ds *dataset) close() error {
	ds.hidden.Close()
	ds.mu.Lock()
	defer ds.mu.Unlock()
	var errs []error
	for _, o := range ds.origins {
		errs = append(errs, o.inner.Close())
	}
	if ds.git != nil {
		errs = append(errs, ds.git.Close())
	}
	return errors.Join(errs...)
}

// version is a dataset at one commit.
type version struct {
	*dataset
	clone *fetch.Clone
	*index.Snapshot
	request control.Dataset
}

// openVersion makes a version of a dataset ready: cloned, its snapshot read.
// A known version needs no network.
func (d *daemon) openVersion(ctx context.Context, req control.Dataset, r *reply) (*version, error) {
	spec, err := fetch.ParseSpec(req.Spec, req.Template)
	if known := new(advice.Error); errors.As(err, &known) {
		return nil, err
	} else if err != nil {
		return nil, &advice.Error{Kind: advice.Usage, What: err.Error()}
	}
	ds, done, err := d.takeDataset(ctx, spec, func() {
		r.progress(control.Progress{Phase: control.PhaseWait, Text: "another command that opens the dataset"})
	})
	if err != nil {
		return nil, err
	}
	defer done()
	d.use(ds, r)
	v := &version{dataset: ds, request: req}
	v.clone, err = ds.hidden.Clone(ctx, spec, req.Version, fetch.CloneOptions{
		Git:     d.git,
		Objects: d.dir.Objects(),
		Env:     req.Env,
		Offline: req.Offline,
		Progress: func(p fetch.Progress) {
			r.progress(control.Progress{Phase: control.PhaseClone, Done: p.Done, Total: p.Total, Text: p.Text})
		},
	})
	if err != nil {
		return nil, err
	}
	if ds.git == nil {
		if ds.git, err = gitstore.Open(v.clone.Dir, gitstore.Options{Git: d.git}); err != nil {
			return nil, advice.New(advice.Unreachable, "the hidden clone of "+spec.String()+" cannot be read", err, "remove it with: uniharmonyfs clean "+ds.name)
		}
	}
	v.Snapshot, err = d.snapshot(ctx, ds.git, v.clone.Commit, func(done, total int) {
		r.progress(control.Progress{Phase: control.PhaseSnapshot, Done: int64(done), Total: int64(total), Text: "reading the list of files"})
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, advice.New(advice.Unreachable, "the dataset "+spec.String()+" cannot be read completely, so it is not shown at all", err,
			"fetch it anew with: uniharmonyfs clean "+ds.name+", then mount again",
			"if that does not help, the dataset itself is damaged: tell its publisher")
	}
	return v, nil
}

func (d *daemon) cloneDir(name string) string { return filepath.Join(d.dir.Datasets(), name) }

// takeDataset waits for the turn at a dataset that is not removed.
func (d *daemon) takeDataset(ctx context.Context, spec fetch.Spec, waiting func()) (*dataset, func(), error) {
	for {
		ds := d.dataset(spec)
		done, err := ds.turn.take(ctx, waiting)
		if err != nil || !ds.removed {
			return ds, done, err
		}
		done()
	}
}

// use takes note that a request reads a dataset, until it has ended.
func (d *daemon) use(ds *dataset, r *reply) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ds.user()
	ds.users[r] = true
}

// user returns a request that has not ended and reads the dataset, or nil. It
// is called with daemon.mu held.
func (ds *dataset) user() *reply {
	for r := range ds.users {
		select {
		case <-r.ended:
			delete(ds.users, r)
		default:
			return r
		}
	}
	return nil
}

func (d *daemon) dataset(spec fetch.Spec) *dataset {
	d.mu.Lock()
	defer d.mu.Unlock()
	ds := d.datasets[spec.Name]
	if ds == nil {
		ds = &dataset{name: spec.Name, spec: spec.String(), turn: newTurn(), users: make(map[*reply]bool), hidden: fetch.NewHidden(d.cloneDir(spec.Name)), origins: make(map[originID]*keptOrigin)}
		d.datasets[spec.Name] = ds
	}
	if ds.spec == "" { // made for its removal
		ds.spec = spec.String()
	}
	return ds
}

// snapshot returns the snapshot of a commit: the one that is in use, or else a
// new one. Whatever outlives mounts and requests must not hold it: a million
// files take a hundred megabytes.
func (d *daemon) snapshot(ctx context.Context, git *gitstore.Store, commit gitstore.OID, progress index.Progress) (*index.Snapshot, error) {
	d.mu.Lock()
	known := d.snapshots[commit].Value()
	d.mu.Unlock()
	if known != nil {
		return known, nil
	}
	s, err := d.index.Snapshot(ctx, git, commit, progress)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	for c, p := range d.snapshots {
		if p.Value() == nil {
			delete(d.snapshots, c)
		}
	}
	d.snapshots[commit] = weak.Make(s)
	d.mu.Unlock()
	return s, nil
}

// sortedFiles returns the nodes of all files in byte order of their paths.
func (v *version) sortedFiles() []int {
	nodes := make([]int, 0, v.Files())
	var walk func(dir int)
	walk = func(dir int) {
		first, count := v.Children(dir)
		// In a path a directory's name goes on with "/".
		order := make([]int, count)
		for i := range order {
			order[i] = first + i
		}
		slices.SortFunc(order, func(a, b int) int { return strings.Compare(v.inPath(a), v.inPath(b)) })
		for _, n := range order {
			if v.Kind(n) == tree.Dir {
				walk(n)
			} else {
				nodes = append(nodes, n)
			}
		}
	}
	walk(0)
	return nodes
}

func (v *version) inPath(n int) string {
	if v.Kind(n) == tree.Dir {
		return v.Name(n) + "/"
	}
	return v.Name(n)
}
