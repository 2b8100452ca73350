package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// chosenFile is an annexed file that a request is about.
type chosenFile struct {
	path string
	key  annex.Key
	size int64
	use  cache.Use
	// local says that the user's own repository has it.
	local bool
}

// annexedFiles returns the annexed files that a request means: those of its
// paths inside mounts, or of its selection. Each key comes once.
func (d *daemon) annexedFiles(ctx context.Context, req control.FilesRequest, r *reply) (files []chosenFile, err error) {
	seen := make(map[annex.Key]bool)
	add := func(v *version, n int, from cache.Origin, owner string) {
		if v.Kind(n) != tree.Annexed || seen[v.Key(n)] {
			return
		}
		seen[v.Key(n)] = true
		files = append(files, chosenFile{v.Path(n), v.Key(n), v.Size(n), cache.Use{Origin: from, Dataset: v.name, Owner: owner, Name: v.Path(n)}, v.clone.InPlace(v.Key(n)) != ""})
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
	chosen, err := d.newChooser(v, v.name+":", r).choose(ctx, req.Selection)
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
		return nil, nil, advice.New(advice.Usage, path+" is not inside a mount of this cache", nil, "see what is mounted with: uniharmonyfs status", "or choose files by selection, for example --sub 01")
	}
	rel := strings.TrimPrefix(strings.TrimPrefix(path, m.target), "/")
	if rel == "" {
		return m, m.files, nil
	}
	n, ok := m.view.Find(rel)
	if !ok {
		return nil, nil, advice.New(advice.NoMatch, path+" is not in the mount", nil, "list what is there with: uniharmonyfs list")
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

func (d *daemon) filesRequest(ctx context.Context, req control.FilesRequest, r *reply) (res control.FilesResult, err error) {
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
	switch req.Do {
	case control.Pin:
		if err := d.cache.Pin(keys); err != nil || req.NoFetch {
			return res, err
		}
		res.Failed, err = d.each(ctx, files, req.Timeout, r, d.fetch)
		err = errors.Join(err, d.cache.Flush(ctx, keys)) // a pin is a promise
	case control.Unpin:
		err = d.cache.Unpin(keys)
	case control.Prefetch:
		res.Failed, err = d.each(ctx, files, req.Timeout, r, d.fetch)
	case control.Evict:
		res.Files, res.Bytes, err = d.evict(keys)
	case control.Verify:
		files = slices.DeleteFunc(files, func(f chosenFile) bool { return d.cache.State(f.key).Presence != cache.Cached })
		res.Files, res.Bytes = len(files), 0
		for _, f := range files {
			res.Bytes += f.size
		}
		var repaired atomic.Int64
		res.Failed, err = d.each(ctx, files, req.Timeout, r, func(ctx context.Context, f chosenFile) error {
			err := d.cache.Verify(ctx, f.key)
			if req.Repair && errors.Is(err, cache.ErrMismatch) {
				if err = d.fetch(ctx, f); err == nil {
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

func (d *daemon) fetch(ctx context.Context, f chosenFile) error {
	if f.local {
		return nil
	}
	return d.cache.Fetch(ctx, f.key, f.use)
}

func (d *daemon) evict(keys []annex.Key) (files int, bytes int64, err error) {
	wanted := make(map[annex.Key]bool, len(keys))
	for _, k := range keys {
		wanted[k] = true
	}
	return d.cache.Drop(func(_ string, k annex.Key) bool { return wanted[k] })
}

// each does something to files, several at once, going on after failures.
// timeout bounds the wait for a network that is gone.
func (d *daemon) each(ctx context.Context, files []chosenFile, timeout time.Duration, r *reply, do func(context.Context, chosenFile) error) ([]control.FileFailed, error) {
	var mu sync.Mutex // guards the following
	var failed []control.FileFailed
	now := control.Progress{Phase: control.PhaseFetch}
	patience := newPatience(timeout)
	keys := make(map[string]bool, len(files))
	for _, f := range files {
		now.Total += f.size
		keys[f.key.String()] = true
	}
	stop := d.watch(r, keys, func() control.Progress {
		mu.Lock()
		defer mu.Unlock()
		if text := patience.text(); text != "" {
			now.Text = text
		}
		return now
	})
	defer stop()
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, f := range files {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			err := patience.do(ctx, func() error { return do(ctx, f) })
			mu.Lock()
			defer mu.Unlock()
			if err != nil && ctx.Err() == nil {
				failed = append(failed, control.FileFailed{Path: f.path, Why: err.Error()})
			}
			now.Done, now.Files, now.Failed, now.Text = now.Done+f.size, now.Files+1, len(failed), f.path
			return nil
		})
	}
	g.Wait()
	slices.SortFunc(failed, func(a, b control.FileFailed) int { return strings.Compare(a.Path, b.Path) })
	return failed, ctx.Err()
}
