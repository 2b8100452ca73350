package download

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/beneath"
	"github.com/uniharmony/uniharmonyfs/internal/bulk"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

const maxJobs = 64

// telling is how many bytes a download must have fetched to tell a speed.
const telling = 1 << 20

// Get carries out a download. What is done stays done when ctx ends, or when a
// part of the files fails, which the result tells.
func (d *Downloads) Get(ctx context.Context, req control.GetRequest, out Out) (res control.GetResult, err error) {
	if req.Target, err = realTarget(req.Target); err != nil {
		return res, err
	}
	// Two downloads into one directory take turns: the second finds done what
	// the first has done.
	unlock, err := d.targets.lock(ctx, req.Target, func() {
		out.Progress(control.Progress{Phase: control.PhaseWait, Text: "another download into the target"})
	})
	if err != nil {
		return res, err
	}
	defer unlock()
	started := time.Now()
	g, err := d.newGet(ctx, req, out)
	if err != nil {
		return res, err
	}
	defer g.leave()
	switch {
	case req.Direct && req.DryRun:
		g.direct = &fetch.Direct{Dir: req.Target}
		g.annex, _ = g.target.Annex() // nil where there is no dataset yet
	case req.Direct:
		if err := g.cloneDirect(ctx, out); err != nil {
			return res, err
		}
	}
	if !req.DryRun {
		g.removeStale()
	}
	plan, todo, err := g.plan(ctx, out)
	if err != nil {
		return res, err
	}
	if speed := d.Settings.Speed(); speed > 0 {
		plan.Seconds = float64(plan.FetchBytes) / speed
	}
	if err := out.Item(plan); err != nil {
		return res, err
	}
	out.Flush()
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
	g.run(ctx, todo, plan, out)
	if req.Direct {
		if err := g.settleDirect(ctx, todo); err != nil {
			return res, err
		}
	}
	if len(g.did.done) > 0 && ctx.Err() == nil {
		if err := g.target.Sync(); err != nil {
			return res, advice.New(advice.Failed, "what was downloaded may not be on the disk of "+req.Target, err, "see whether the disk is healthy, and run the command again")
		}
	}
	for _, n := range todo {
		if g.did.done[n] {
			res.Files++
			res.Bytes += g.view.Size(n)
		}
	}
	slices.SortFunc(g.did.failed, func(a, b control.FileFailed) int { return strings.Compare(a.Path, b.Path) })
	res.Failed, res.FetchedBytes, res.Seconds = g.did.failed, g.did.fetched, time.Since(started).Seconds()
	if g.did.fetched >= telling && res.Seconds > 0 {
		d.Settings.SetSpeed(float64(g.did.fetched) / res.Seconds)
	}
	if g.did.full != nil && ctx.Err() == nil {
		return res, advice.New(advice.NoSpace, fmt.Sprintf("no space left after %d of %d files", res.Files, plan.Files), g.did.full, "free some space and run the command again: it continues")
	}
	return res, ctx.Err()
}

func (d *Downloads) newGet(ctx context.Context, req control.GetRequest, out Out) (g *get, err error) {
	if err := req.Selection.Validate(); err != nil {
		return nil, err
	}
	what := "cannot download into " + req.Target
	if cachedir.Within(req.Target, string(d.Dir)) || cachedir.Within(string(d.Dir), req.Target) {
		return nil, advice.New(advice.Usage, what, errors.New("it overlaps the cache"), "choose a target elsewhere")
	}
	for _, mounted := range d.Mounts() {
		if cachedir.Within(req.Target, mounted) {
			return nil, advice.New(advice.Usage, what, errors.New("it lies inside a mount, which is read-only"), "choose a target elsewhere")
		}
	}
	if req.Budget > 0 {
		if err := d.Settings.SetBudget(req.Budget); err != nil {
			return nil, err
		}
	}
	if req.Direct { // the target is one dataset
		req.RecursionLimit = new(int)
	}
	v, err := d.Datasets.Reach(ctx, req.Dataset, req.Selection, out.Progress)
	if err != nil {
		return nil, err
	}
	defer func() {
		if g == nil { // also after a panic
			v.Release()
		}
	}()
	owner := fmt.Sprintf("%s:get:%s:%d", v.ID(), req.Target, time.Now().UnixNano())
	// Several downloads into one directory are one dataset there: its tables
	// list what all of them brought.
	chosen, err := v.Chooser(owner, out.Progress).ChooseBeside(ctx, req.Selection, func(path string) bool {
		_, err := os.Lstat(filepath.Join(req.Target, path))
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	if req.Plain {
		chosen.Plain(v)
	}
	use, err := v.Uses(cache.Use{Owner: owner})
	if err != nil {
		return nil, err
	}
	made := beneath.Missing(req.Target)
	if err := beneath.Make(made, 0o777&^os.FileMode(req.Umask)); err != nil {
		return nil, advice.New(advice.Failed, what, err, "choose a target that you can write to")
	}
	root, err := beneath.Open(req.Target)
	if err != nil {
		return nil, advice.New(advice.Failed, what, err)
	}
	g = &get{
		d: d, req: req, v: v, view: chosen.View, files: chosen.Files, use: use, target: root, made: made,
		wait: bulk.NewPatience(req.Timeout), owner: owner, did: outcome{done: make(map[int]bool)},
	}
	if req.Direct {
		// Its own object store keeps the content: no need for two.
		g.req.TmpClean = true
		g.files = slices.DeleteFunc(slices.Clone(g.files), func(n int) bool { return v.Kind(n) != tree.Annexed })
	}
	return g, nil
}

// plan looks at what is there already, and says what is to be done.
func (g *get) plan(ctx context.Context, out Out) (p control.Plan, todo []int, err error) {
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
		out.Progress(control.Progress{Phase: control.PhasePlan, Done: int64(i), Total: int64(len(g.files)), Text: "looking at what is there"})
		state, err := g.look(ctx, n)
		if err != nil {
			return p, nil, err
		}
		if why := g.refuses(state); why != "" {
			g.did.failed = append(g.did.failed, control.FileFailed{Path: g.v.Path(n), Why: why})
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
	if g.v.Kind(n) != tree.Annexed || g.isSynthesised(n) || g.v.IsHere(n) {
		return false
	}
	if g.direct != nil {
		return !g.hasObject(n)
	}
	return true
}

// run brings the files that are to do, several at once.
func (g *get) run(ctx context.Context, todo []int, p control.Plan, out Out) {
	jobs := g.req.Jobs
	if jobs <= 0 {
		jobs = bulk.AtOnce
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(min(jobs, maxJobs))
	stop := g.watch(todo, p, out)
	defer stop()
	for _, n := range todo {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			err := g.wait.Do(ctx, func() error { return g.d.Guard.Do("a file of a download", func() error { return g.put(ctx, n) }) })
			g.did.mu.Lock()
			defer g.did.mu.Unlock()
			switch {
			case err == nil:
				g.did.done[n] = true
			case ctx.Err() != nil:
			case isDiskFull(err):
				// The others would fail, too, after they were fetched.
				g.did.full = err
				cancel()
			default:
				g.did.failed = append(g.did.failed, control.FileFailed{Path: g.v.Path(n), Why: sayPut(err)})
			}
			return nil
		})
	}
	group.Wait()
}

// watch reports progress until it is stopped.
func (g *get) watch(todo []int, p control.Plan, out Out) (stop func()) {
	keys := make(map[string]bool, len(todo))
	for _, n := range todo {
		if g.v.Kind(n) == tree.Annexed {
			keys[g.v.Key(n).String()] = true
		}
	}
	return g.d.work.Watch(out.Progress, keys, func() control.Progress {
		g.did.mu.Lock()
		defer g.did.mu.Unlock()
		now := control.Progress{Phase: control.PhaseGet, Done: p.ThereBytes, Total: p.Bytes, Files: p.ThereFiles + len(g.did.done), Failed: len(g.did.failed), Text: g.wait.Text()}
		for n := range g.did.done {
			now.Done += g.view.Size(n)
		}
		return now
	})
}
