package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// ListResult sums up a list.
type ListResult struct {
	Files  int      `json:"files"`
	Bytes  int64    `json:"bytes"`
	Cached int      `json:"cached"`
	Commit string   `json:"commit"`
	Hints  []string `json:"hints,omitempty"`
}

func (d *daemon) listRequest(ctx context.Context, req ListRequest, r *reply) (res ListResult, err error) {
	if err := req.Selection.Validate(); err != nil {
		return res, err
	}
	v, err := d.openVersion(ctx, req.Dataset, r)
	if err != nil {
		return res, err
	}
	chosen, err := d.choose(ctx, v, req.Selection)
	if err != nil {
		return res, err
	}
	res = ListResult{Files: chosen.view.Files(), Bytes: chosen.view.Bytes(), Commit: string(v.Commit), Hints: chosen.Hints}
	for _, n := range chosen.files {
		f := d.describe(v, chosen.view, n)
		if f.State == "cached" || f.State == "git" {
			res.Cached++
		}
		if err := r.item(f); err != nil {
			return res, err
		}
	}
	return res, nil
}

// describe says what is known of one file of a view.
func (d *daemon) describe(v *version, view *tree.View, n int) File {
	f := File{Path: v.Path(n), Size: view.Size(n), State: "git"}
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
	return f
}

// chosenFile is an annexed file that a request is about.
type chosenFile struct {
	path string
	key  annex.Key
	size int64
	use  cache.Use
}

// annexedFiles returns the annexed files that a request means: those of its
// paths inside mounts, or of its selection. Each key comes once.
func (d *daemon) annexedFiles(ctx context.Context, req PinRequest, r *reply) (files []chosenFile, err error) {
	seen := make(map[annex.Key]bool)
	add := func(v *version, n int, from cache.Origin, owner string) {
		if v.Kind(n) != tree.Annexed || seen[v.Key(n)] {
			return
		}
		seen[v.Key(n)] = true
		files = append(files, chosenFile{v.Path(n), v.Key(n), v.Size(n), cache.Use{Origin: from, Owner: owner, Name: v.Path(n)}})
	}
	if len(req.Paths) > 0 {
		for _, p := range req.Paths {
			m, nodes, err := d.inMount(p)
			if err != nil {
				return nil, err
			}
			for _, n := range nodes {
				add(m.version, n, m.origin, m.owner)
			}
		}
		return files, nil
	}
	if err := req.Selection.Validate(); err != nil {
		return nil, err
	}
	v, err := d.openVersion(ctx, req.Dataset, r)
	if err != nil {
		return nil, err
	}
	chosen, err := d.choose(ctx, v, req.Selection)
	if err != nil {
		return nil, err
	}
	from, err := d.origin(v)
	if err != nil {
		return nil, err
	}
	for _, n := range chosen.files {
		add(v, n, from, v.name+":")
	}
	return files, nil
}

// inMount finds the mount that an absolute path lies in, and the files at or
// below the path.
func (d *daemon) inMount(path string) (*mount, []int, error) {
	d.mu.Lock()
	var m *mount
	for target, candidate := range d.mounts {
		if within(path, target) {
			m = candidate
		}
	}
	d.mu.Unlock()
	if m == nil {
		return nil, nil, fault(Usage, path+" is not inside a mount of this cache", nil, "see what is mounted with: uniharmonyfs status", "or choose files by selection, for example --sub 01")
	}
	rel := strings.TrimPrefix(strings.TrimPrefix(path, m.target), "/")
	if rel == "" {
		return m, m.files, nil
	}
	n, ok := m.view.Find(rel)
	if !ok {
		return nil, nil, fault(NoMatch, path+" is not in the mount", nil, "list what is there with: uniharmonyfs list")
	}
	if m.version.Kind(n) != tree.Dir {
		return m, []int{n}, nil
	}
	var below []int
	for _, f := range m.files {
		if within(m.version.Path(f), rel) {
			below = append(below, f)
		}
	}
	return m, below, nil
}

// atOnce bounds the files a request waits for at the same time; the cache
// bounds its transfers itself.
const atOnce = 16

func (d *daemon) pinRequest(ctx context.Context, req PinRequest, r *reply) (res PinResult, err error) {
	files, err := d.annexedFiles(ctx, req, r)
	if err != nil {
		return res, err
	}
	keys := make([]annex.Key, len(files))
	for i, f := range files {
		keys[i] = f.key
		res.Bytes += f.size
	}
	res.Files = len(files)
	if req.Unpin {
		return res, d.cache.Unpin(keys)
	}
	if err := d.cache.Pin(keys); err != nil || req.NoFetch {
		return res, err
	}
	res.Failed, err = d.fetchAll(ctx, files, r)
	return res, err
}

// fetchAll brings files, going on after failures.
func (d *daemon) fetchAll(ctx context.Context, files []chosenFile, r *reply) ([]FileFailed, error) {
	var mu sync.Mutex // guards the following
	var failed []FileFailed
	var done, total int64
	for _, f := range files {
		total += f.size
	}
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, f := range files {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			err := d.cache.Fetch(ctx, f.key, f.use)
			mu.Lock()
			defer mu.Unlock()
			if err != nil && !errors.Is(err, context.Canceled) {
				failed = append(failed, FileFailed{Path: f.path, Why: err.Error()})
			}
			done += f.size
			r.progress(Progress{Phase: "fetch", Done: done, Total: total, Text: f.path})
			return nil
		})
	}
	g.Wait()
	slices.SortFunc(failed, func(a, b FileFailed) int { return strings.Compare(a.Path, b.Path) })
	return failed, ctx.Err()
}

func (d *daemon) cleanRequest(ctx context.Context, req CleanRequest, _ *reply) (res CleanResult, err error) {
	d.mounting.Lock()
	defer d.mounting.Unlock()
	names, err := d.toClean(req)
	if err != nil {
		return res, err
	}
	res.Datasets = names
	if req.Pins {
		if err := d.unpinAll(); err != nil {
			return res, err
		}
	}
	if req.All {
		res.Files, res.Bytes, err = d.cache.Drop(nil)
	} else {
		for _, name := range names {
			files, bytes, dropErr := d.cache.Drop(func(o string, _ annex.Key) bool { return strings.HasPrefix(o, name+":") })
			res.Files, res.Bytes, err = res.Files+files, res.Bytes+bytes, errors.Join(err, dropErr)
		}
	}
	for _, name := range names {
		err = errors.Join(err, d.removeDataset(name))
	}
	st := d.cache.Status()
	res.Pinned = st.Pinned
	d.mu.Lock()
	alone := len(d.mounts) == 0 && d.requests == 1
	d.mu.Unlock()
	if err == nil && req.All && alone && st.PinnedFiles == 0 {
		res.Removed = true
		d.wipeAndStop()
	}
	return res, err
}

// toClean returns the datasets that a request means, refusing those in use.
func (d *daemon) toClean(req CleanRequest) ([]string, error) {
	have := d.hiddenClones()
	d.mu.Lock()
	used := make(map[string]string)
	for _, m := range d.mounts {
		used[m.version.name] = m.target
	}
	d.mu.Unlock()
	names := have
	if !req.All {
		names = nil
		for _, want := range req.Names {
			found := matchClones(have, want)
			if len(found) == 0 {
				return nil, fault(NoMatch, fmt.Sprintf("there is no hidden clone %q", want), nil, "there are: "+list(have))
			}
			names = append(names, found...)
		}
	}
	for _, name := range names {
		if at := used[name]; at != "" {
			return nil, fault(Failed, "cannot remove "+name, fmt.Errorf("it is mounted at %s", at), "unmount it first: uniharmonyfs unmount "+at)
		}
	}
	return names, nil
}
