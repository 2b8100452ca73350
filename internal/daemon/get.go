package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/beneath"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// get is a download in progress: the files of a view, copied from the cache
// into a directory. A file appears there under its name only when it is whole.
type get struct {
	d      *daemon
	req    control.GetRequest
	v      *version
	view   *tree.View
	files  []int
	from   cache.Origin
	owner  string
	target *beneath.Dir
	annex  *beneath.Dir  // in direct mode: where git-annex keeps content; nil before there is one
	made   []string      // directories above and of the target that were missing
	direct *fetch.Direct // nil in hidden mode
	wait   *patience

	mu      sync.Mutex // guards the following
	done    map[int]bool
	failed  []control.FileFailed
	fetched int64
	full    error // why a disk takes no more
}

const maxJobs = 64

func (d *daemon) getRequest(ctx context.Context, req control.GetRequest, r *reply) (res control.GetResult, err error) {
	if req.Target, err = realTarget(req.Target); err != nil {
		return res, err
	}
	// Two downloads into one directory take turns: the second finds done what
	// the first has done.
	unlock, err := d.targets.lock(ctx, req.Target, func() {
		r.progress(control.Progress{Phase: "wait", Text: "another download into the target"})
	})
	if err != nil {
		return res, err
	}
	defer unlock()
	started := time.Now()
	g, err := d.newGet(ctx, req, r)
	if err != nil {
		return res, err
	}
	defer g.leave()
	switch {
	case req.Direct && req.DryRun:
		g.direct = &fetch.Direct{Dir: req.Target}
		g.annex, _ = g.target.Annex() // nil where there is no dataset yet
	case req.Direct:
		if err := g.cloneDirect(ctx, r); err != nil {
			return res, err
		}
	}
	if !req.DryRun {
		g.removeStale()
	}
	plan, todo, err := g.plan(ctx, r)
	if err != nil {
		return res, err
	}
	plan.Seconds = d.estimate(plan.FetchBytes)
	if err := r.item(plan); err != nil {
		return res, err
	}
	r.flush()
	res.Target, res.Files, res.Bytes = req.Target, plan.ThereFiles, plan.ThereBytes
	if req.DryRun {
		return res, nil
	}
	if need := plan.Bytes - plan.ThereBytes; !req.Hardlink && need > plan.FreeBytes {
		return res, advice.New(advice.NoSpace, fmt.Sprintf("%d bytes do not fit into %s", need, req.Target), fmt.Errorf("%d bytes are free there", plan.FreeBytes), "free some space, choose another target, or select less")
	}
	if d.isTight(req.Target, plan) {
		g.req.TmpClean = true
	}
	g.run(ctx, todo, plan, r)
	if req.Direct {
		if err := g.settleDirect(ctx, todo); err != nil {
			return res, err
		}
	}
	if len(g.done) > 0 && ctx.Err() == nil {
		if err := g.target.Sync(); err != nil {
			return res, advice.New(advice.Failed, "what was downloaded may not be on the disk of "+req.Target, err, "see whether the disk is healthy, and run the command again")
		}
	}
	for _, n := range todo {
		if g.done[n] {
			res.Files++
			res.Bytes += g.view.Size(n)
		}
	}
	slices.SortFunc(g.failed, func(a, b control.FileFailed) int { return strings.Compare(a.Path, b.Path) })
	res.Failed, res.FetchedBytes, res.Seconds = g.failed, g.fetched, time.Since(started).Seconds()
	d.noteSpeed(g.fetched, res.Seconds)
	if g.full != nil && ctx.Err() == nil {
		return res, advice.New(advice.NoSpace, fmt.Sprintf("no space left after %d of %d files", res.Files, plan.Files), g.full, "free some space and run the command again: it continues")
	}
	return res, ctx.Err()
}

func (d *daemon) newGet(ctx context.Context, req control.GetRequest, r *reply) (*get, error) {
	if err := req.Selection.Validate(); err != nil {
		return nil, err
	}
	what := "cannot download into " + req.Target
	if within(req.Target, string(d.dir)) || within(string(d.dir), req.Target) {
		return nil, advice.New(advice.Usage, what, errors.New("it overlaps the cache"), "choose a target elsewhere")
	}
	for _, m := range d.mountList() {
		if within(req.Target, m.target) {
			return nil, advice.New(advice.Usage, what, errors.New("it lies inside a mount, which is read-only"), "choose a target elsewhere")
		}
	}
	if req.Budget > 0 {
		if err := d.setBudget(req.Budget); err != nil {
			return nil, err
		}
	}
	v, err := d.openVersion(ctx, req.Dataset, r)
	if err != nil {
		return nil, err
	}
	owner := fmt.Sprintf("%s:get:%s:%d", v.name, req.Target, time.Now().UnixNano())
	// Several downloads into one directory are one dataset there: its tables
	// list what all of them brought.
	chosen, err := d.newChooser(v, owner, r).chooseBeside(ctx, req.Selection, func(path string) bool {
		_, err := os.Lstat(filepath.Join(req.Target, path))
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	if req.Plain {
		chosen.plain(v)
	}
	from, err := d.origin(v)
	if err != nil {
		return nil, err
	}
	made := missing(req.Target)
	if err := makeAll(made, 0o777&^os.FileMode(req.Umask)); err != nil {
		return nil, advice.New(advice.Failed, what, err, "choose a target that you can write to")
	}
	root, err := beneath.Open(req.Target)
	if err != nil {
		return nil, advice.New(advice.Failed, what, err)
	}
	g := &get{
		d: d, req: req, v: v, view: chosen.view, files: chosen.files, from: from, target: root, made: made,
		wait: newPatience(req.Timeout), owner: owner, done: make(map[int]bool),
	}
	if req.Direct {
		// Its own object store keeps the content: no need for two.
		g.req.TmpClean = true
		g.files = slices.DeleteFunc(slices.Clone(g.files), func(n int) bool { return v.Kind(n) != tree.Annexed })
	}
	return g, nil
}

// plan looks at what is there already, and says what is to be done.
func (g *get) plan(ctx context.Context, r *reply) (p control.Plan, todo []int, err error) {
	p = control.Plan{Target: g.req.Target, Files: len(g.files)}
	var st unix.Statfs_t
	if err := unix.Statfs(g.req.Target, &st); err != nil {
		return p, nil, err
	}
	p.FreeBytes = int64(st.Bavail) * st.Bsize
	for i, n := range g.files {
		if ctx.Err() != nil {
			return p, nil, ctx.Err()
		}
		size := g.view.Size(n)
		p.Bytes += size
		r.progress(control.Progress{Phase: "plan", Done: int64(i), Total: int64(len(g.files)), Text: "looking at what is there"})
		state, err := g.look(ctx, n)
		if err != nil {
			return p, nil, err
		}
		if why := g.refuses(state); why != "" {
			g.failed = append(g.failed, control.FileFailed{Path: g.v.Path(n), Why: why})
			continue
		}
		if state == same {
			p.ThereFiles++
			p.ThereBytes += size
			continue
		}
		todo = append(todo, n)
		if g.mustFetch(n) {
			p.FetchFiles++
			p.FetchBytes += size
		} else {
			p.CachedFiles++
		}
	}
	return p, todo, nil
}

// mustFetch reports whether a file's content is not on this machine yet.
func (g *get) mustFetch(n int) bool {
	if g.v.Kind(n) != tree.Annexed || g.isSynthesised(n) || g.d.isHere(g.v, g.v.Key(n)) {
		return false
	}
	if g.direct != nil {
		return !g.hasObject(n)
	}
	return true
}

// run brings the files that are to do, several at once.
func (g *get) run(ctx context.Context, todo []int, p control.Plan, r *reply) {
	jobs := g.req.Jobs
	if jobs <= 0 {
		jobs = atOnce
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(min(jobs, maxJobs))
	stop := g.watch(todo, p, r)
	defer stop()
	for _, n := range todo {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			err := g.wait.do(ctx, func() error { return g.put(ctx, n) })
			g.mu.Lock()
			defer g.mu.Unlock()
			switch {
			case err == nil:
				g.done[n] = true
			case ctx.Err() != nil:
			case isDiskFull(err):
				// The others would fail, too, after they were fetched.
				g.full = err
				cancel()
			default:
				g.failed = append(g.failed, control.FileFailed{Path: g.v.Path(n), Why: sayPut(err)})
			}
			return nil
		})
	}
	group.Wait()
}

// watch reports progress until it is stopped.
func (g *get) watch(todo []int, p control.Plan, r *reply) (stop func()) {
	keys := make(map[string]bool, len(todo))
	for _, n := range todo {
		if g.v.Kind(n) == tree.Annexed {
			keys[g.v.Key(n).String()] = true
		}
	}
	return g.d.watch(r, keys, func() control.Progress {
		g.mu.Lock()
		defer g.mu.Unlock()
		now := control.Progress{Phase: "get", Done: p.ThereBytes, Total: p.Bytes, Files: p.ThereFiles + len(g.done), Failed: len(g.failed), Text: g.wait.text()}
		for n := range g.done {
			now.Done += g.view.Size(n)
		}
		return now
	})
}
