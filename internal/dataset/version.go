package dataset

import (
	"context"
	"errors"
	iofs "io/fs"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/commit"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// A Version is a dataset at one commit, which it holds, or with some of its subdatasets
// at their places; see [Registry.Reach]. It does not change, and is safe for concurrent
// use.
type Version struct {
	*commit.Listing
	whole
	own     *commit.Listing // without subdatasets; nil: it has none
	Clone   *fetch.Clone
	Git     *gitstore.Store
	Request control.Dataset // that opened it

	registry *Registry
	dataset  *dataset
	below    *subdatasetsOf // of the dataset itself
	hold     *hold          // guarded by Registry.mu
}

// ID is the name of the dataset in the cache.
func (v *Version) ID() string { return v.dataset.name }

// Spec is what the dataset was called by who opened it first.
func (v *Version) Spec() string { return v.dataset.spec }

// Mounted says that the dataset is mounted at a target from now on: nobody waits
// for its end to remove it.
func (v *Version) Mounted(target string) {
	for _, g := range v.grafts {
		g.version.Mounted(target)
	}
	v.registry.mu.Lock()
	defer v.registry.mu.Unlock()
	held := v.dataset.holds
	if !held[v.hold] {
		return
	}
	delete(held, v.hold)
	close(v.hold.ended) // whoever waits for it looks again
	v.hold = &hold{at: target, ended: make(chan struct{})}
	held[v.hold] = true
}

// Release ends the hold. It may be called more than once.
func (v *Version) Release() {
	for _, g := range v.grafts {
		g.version.Release()
	}
	v.registry.mu.Lock()
	defer v.registry.mu.Unlock()
	if v.dataset.holds[v.hold] {
		delete(v.dataset.holds, v.hold)
		close(v.hold.ended)
	}
}

// A Rest is what is left of a version when its list of files is forgotten. It holds the
// dataset as the version did.
type Rest struct{ version Version }

// Rest returns what is left without the list of files. The version is not to be used, or
// released, any more. ok is false for one that has files of other datasets: it stays.
func (v *Version) Rest() (rest *Rest, ok bool) {
	if v.grafts != nil {
		return nil, false
	}
	rest = &Rest{*v}
	rest.version.Listing = nil
	return rest, true
}

// Again returns the version with its list of files, which needs no network.
func (r *Rest) Again(ctx context.Context) (v *Version, err error) {
	again := r.version
	again.Listing, err = again.registry.listing(ctx, again.Git, again.Clone.Commit, nil)
	return &again, err
}

// Release lets go of the dataset.
func (r *Rest) Release() { r.version.Release() }

// Shown returns the files of a view in byte order of their paths.
func (v *Version) Shown(view *tree.View) []int {
	return slices.DeleteFunc(v.sortedFiles(), func(n int) bool { return !view.Shown(n) })
}

// InPlace reports whether the user's own repository, or another cache that lends its
// objects, has the content of an annexed file.
func (v *Version) InPlace(node int) bool {
	of, _ := v.Of(node)
	if of.Clone.InPlace(v.Key(node)) != "" {
		return true
	}
	local := v.borrow(node)
	if local == nil {
		return false
	}
	local.Close()
	return true
}

// borrow opens the object of an annexed file in another cache, or returns nil.
func (v *Version) borrow(node int) *cache.InPlace {
	from := v.registry.Lender
	if from == nil {
		return nil
	}
	key := v.Key(node)
	lent, err := v.registry.Cache.Borrow(string(from.Dir), key, func() (cache.FileID, bool) { return from.Vouched(key) })
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		v.registry.Log.Warn("content in another cache is passed over", "cache", from.Dir, "key", key, "err", err)
	}
	return lent
}

// IsHere reports whether an annexed file can be read without fetching it.
func (v *Version) IsHere(node int) bool {
	return v.registry.Cache.State(v.Key(node)).Presence == cache.Cached || v.InPlace(node)
}

// Blobs is where a file of git is read.
func (v *Version) Blobs(node int) *gitstore.Store {
	of, _ := v.Of(node)
	return of.Git
}

// OpenInPlace opens a file where the user's own repository or another cache keeps it, or
// returns nil.
func (v *Version) OpenInPlace(node int) *cache.InPlace {
	if v.Kind(node) != tree.Annexed {
		return nil
	}
	of, _ := v.Of(node)
	path := of.Clone.InPlace(v.Key(node))
	if path == "" {
		return v.borrow(node)
	}
	local, err := v.registry.Cache.OpenInPlace(v.Key(node), path)
	if err != nil {
		v.registry.Log.Warn("content in the user's repository is passed over", "path", path, "err", err)
		return nil
	}
	return local
}

// errNotHere says that a file's content would have to be fetched.
var errNotHere = errors.New("its content is not here")

// ReadNow returns a whole file if it is on this machine: in git, in the cache, or
// in the user's own repository. Callers see to it that it is small.
func (v *Version) ReadNow(ctx context.Context, n int) ([]byte, error) {
	if v.Kind(n) == tree.Git {
		_, data, err := v.Blobs(n).Read(ctx, gitstore.OID(v.Key(n).Name()))
		return data, err
	}
	data := make([]byte, v.Size(n))
	if local := v.OpenInPlace(n); local != nil {
		defer local.Close()
		if k, err := local.ReadAt(ctx, data, 0); err == nil || k == len(data) {
			return data, nil
		}
	}
	c := v.registry.Cache
	if c.State(v.Key(n)).Presence != cache.Cached {
		return nil, errNotHere
	}
	h, err := c.Open(v.Key(n), cache.Use{Name: v.Path(n), Origin: noOrigin{cache.ErrOffline}})
	if err != nil {
		return nil, err
	}
	defer h.Close()
	switch _, err := h.ReadAt(ctx, data, 0); {
	case len(data) == 0:
	case errors.Is(err, cache.ErrOffline): // it has just gone
		return nil, errNotHere
	case err != nil:
		return nil, err
	}
	return data, nil
}

// Describe says what is known of one file of a view.
func (v *Version) Describe(view *tree.View, n int) control.File {
	f := control.File{Path: v.Path(n), Exact: control.Exact(v.Path(n)), Size: view.Size(n), State: control.InGit}
	if v.Kind(n) != tree.Annexed {
		return f
	}
	key := v.Key(n)
	st := v.registry.Cache.State(key)
	f.Key, f.Pinned, f.State = key.String(), st.Pinned, control.Missing
	switch st.Presence {
	case cache.Cached:
		f.State = control.Cached
	case cache.Partial:
		f.State = control.Partial
	}
	if f.State != control.Cached && v.InPlace(n) {
		f.State = control.Local
	}
	return f
}

// sortedFiles returns the nodes of all files in byte order of their paths.
func (v *Version) sortedFiles() []int {
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

func (v *Version) inPath(n int) string {
	if v.Kind(n) == tree.Dir {
		return v.Name(n) + "/"
	}
	return v.Name(n)
}
