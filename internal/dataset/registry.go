package dataset

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"weak"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/fetch/subdatasets"
	"github.com/uniharmony/uniharmonyfs/index"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/bulk"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/commit"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

// Options are what a registry works with. All but Git are needed.
type Options struct {
	Dir   cachedir.Dir
	Cache *cache.Cache
	Index *index.Index
	Git   string // path of the git program, "" when there is none
	Log   *slog.Logger
	Guard bulk.Guard
	// Lender is another cache, whose clones and objects are borrowed; nil is none.
	Lender *control.Lender
}

// A Registry knows the datasets of a cache. It is safe for concurrent use.
type Registry struct {
	Options
	work  bulk.Worker
	guard subdatasets.Guard // of what datasets name
	waits waits

	mu       sync.Mutex          // a leaf; guards the following, and the datasets' holds
	datasets map[string]*dataset // nil: closed
	listings map[gitstore.OID]weak.Pointer[commit.Listing]
}

// dataset is a hidden clone in use. It stays open as long as the registry:
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

	holds map[*hold]bool // guarded by Registry.mu

	mu      sync.Mutex // guards the following
	origins map[originID]*keptOrigin
}

// hold keeps a dataset from being removed.
type hold struct {
	at    string        // where it is mounted; "" for a request
	ended chan struct{} // closed at its end
}

// New returns a registry of the datasets in a cache directory.
func New(o Options) *Registry {
	return &Registry{
		Options: o, work: bulk.Worker{Cache: o.Cache, Guard: o.Guard},
		datasets: make(map[string]*dataset),
		listings: make(map[gitstore.OID]weak.Pointer[commit.Listing]),
	}
}

// Close closes all datasets, whoever holds them.
func (r *Registry) Close() error {
	r.mu.Lock()
	datasets := r.datasets
	r.datasets = nil
	r.mu.Unlock()
	var errs []error
	for _, ds := range datasets {
		errs = append(errs, ds.close())
	}
	r.guard.Close()
	return errors.Join(errs...)
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

// Names returns the names of the hidden clones in the cache, in byte order.
func (r *Registry) Names() (names []string) {
	entries, _ := os.ReadDir(r.Dir.Datasets())
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

// ClonedFrom returns what a hidden clone is of, as somebody gave it, or "".
func (r *Registry) ClonedFrom(name string) string { return fetch.ClonedFrom(r.cloneDir(name)) }

func (r *Registry) cloneDir(name string) string { return filepath.Join(r.Dir.Datasets(), name) }

// Open makes a version of a dataset ready: cloned, its list of files read. A
// known version needs no network. The version holds the dataset until
// [Version.Release].
func (r *Registry) Open(ctx context.Context, req control.Dataset, tell bulk.Tell) (*Version, error) {
	return r.openNewer(ctx, req, 0, tell)
}

// openNewer is Open of what was looked up not longer ago than maxAge, if that can be
// done; 0 is any time.
func (r *Registry) openNewer(ctx context.Context, req control.Dataset, maxAge time.Duration, tell bulk.Tell) (*Version, error) {
	spec, err := fetch.ParseSpec(req.Spec, req.Template)
	if known := new(advice.Error); errors.As(err, &known) {
		return nil, err
	} else if err != nil {
		return nil, &advice.Error{Kind: advice.Usage, What: err.Error()}
	}
	o := r.cloneOptions(req, tell)
	o.MaxAge = maxAge
	return r.open(ctx, spec, req, o, tell)
}

// cloneOptions are those of a request.
func (r *Registry) cloneOptions(req control.Dataset, tell bulk.Tell) fetch.CloneOptions {
	return fetch.CloneOptions{
		Git:     r.Git,
		Objects: r.Dir.Objects(),
		Env:     req.Env,
		Offline: req.Offline,
		Progress: func(p fetch.Progress) {
			tell(control.Progress{Phase: control.PhaseClone, Done: p.Done, Total: p.Total, Text: p.Text})
		},
	}
}

// open is Open of what a spec names, at the request's version.
func (r *Registry) open(ctx context.Context, spec fetch.Spec, req control.Dataset, o fetch.CloneOptions, tell bulk.Tell) (*Version, error) {
	ds, done, err := r.take(ctx, spec, func() {
		tell(control.Progress{Phase: control.PhaseWait, Text: "another command that opens the dataset"})
	})
	if err != nil {
		return nil, err
	}
	defer done()
	v := &Version{Request: req, registry: r, dataset: ds, hold: r.hold(ds), below: &subdatasetsOf{}}
	ready := false
	defer func() { // also after a panic
		if !ready {
			v.Release()
		}
	}()
	if r.Lender != nil {
		if err := ds.hidden.CopyOf(filepath.Join(r.Lender.Dir.Datasets(), ds.name), r.Dir.Objects()); err != nil {
			r.Log.Warn("another cache's hidden clone is of no use", "dataset", ds.name, "err", err)
		}
	}
	v.Clone, err = ds.hidden.Clone(ctx, spec, req.Version, o)
	if err != nil {
		return nil, err
	}
	if ds.git == nil {
		if ds.git, err = gitstore.Open(v.Clone.Dir, gitstore.Options{Git: r.Git}); err != nil {
			return nil, advice.New(advice.Unreachable, "the hidden clone of "+spec.String()+" cannot be read", err, "remove it with: uniharmonyfs clean "+ds.name)
		}
	}
	v.Git = ds.git
	v.Listing, err = r.listing(ctx, ds.git, v.Clone.Commit, func(done, total int) {
		tell(control.Progress{Phase: control.PhaseSnapshot, Done: int64(done), Total: int64(total), Text: "reading the list of files"})
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, advice.New(advice.Unreachable, "the dataset "+spec.String()+" cannot be read completely, so it is not shown at all", err,
			"fetch it anew with: uniharmonyfs clean "+ds.name+", then mount again",
			"if that does not help, the dataset itself is damaged: tell its publisher")
	}
	ready = true
	return v, nil
}

// take waits for the turn at a dataset that is not removed.
func (r *Registry) take(ctx context.Context, spec fetch.Spec, waiting func()) (*dataset, func(), error) {
	for {
		ds, err := r.dataset(spec)
		if err != nil {
			return nil, nil, err
		}
		done, err := ds.turn.take(ctx, waiting)
		if err != nil || !ds.removed {
			return ds, done, err
		}
		done()
	}
}

func (r *Registry) dataset(spec fetch.Spec) (*dataset, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.datasets == nil {
		return nil, cache.ErrClosed
	}
	ds := r.datasets[spec.Name]
	if ds == nil {
		ds = &dataset{
			name: spec.Name, spec: spec.String(), turn: newTurn(), holds: make(map[*hold]bool),
			hidden: fetch.NewHidden(r.cloneDir(spec.Name)), origins: make(map[originID]*keptOrigin),
		}
		r.datasets[spec.Name] = ds
	}
	if ds.spec == "" { // made for its removal
		ds.spec = spec.String()
	}
	return ds, nil
}

// hold holds a dataset for a request.
func (r *Registry) hold(ds *dataset) *hold {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := &hold{ended: make(chan struct{})}
	ds.holds[h] = true
	return h
}

// listing returns the listing of a commit: the one that is in use, or else a new
// one.
func (r *Registry) listing(ctx context.Context, git *gitstore.Store, id gitstore.OID, progress commit.Progress) (*commit.Listing, error) {
	r.mu.Lock()
	known := r.listings[id].Value()
	r.mu.Unlock()
	if known != nil {
		return known, nil
	}
	s, err := commit.Lister{Kept: r.Index.Table(index.Listings), Log: r.Log}.List(ctx, git, id, progress)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	for c, p := range r.listings {
		if p.Value() == nil {
			delete(r.listings, c)
		}
	}
	r.listings[id] = weak.Make(s)
	r.mu.Unlock()
	return s, nil
}
