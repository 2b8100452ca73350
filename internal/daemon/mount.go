package daemon

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/readahead"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// mount is a view that is served.
type mount struct {
	d         *daemon
	id        string
	target    string
	made      bool // the target directory is ours
	owner     string
	version   *version
	selection bids.Selection
	view      *tree.View
	files     []int
	hints     []string
	origin    cache.Origin
	fs        *fs.Mounted
	since     time.Time

	strict, noReadAhead bool
	patience            time.Duration
	attached            chan struct{} // closed when fs is known, or that there is none
	prefetching         atomic.Bool
	ctx                 context.Context // ends with the mount
	stop                context.CancelFunc
	guesser             *readahead.Predictor // nil, as known: nothing is guessed
	known               *mountFiles
}

func (d *daemon) mountRequest(ctx context.Context, req control.MountRequest, r *reply) (info control.MountInfo, err error) {
	if err := req.Selection.Validate(); err != nil {
		return info, err
	}
	end, wanted := d.begins(req.ID)
	defer end() // after what follows is undone
	if !wanted {
		return info, context.Canceled
	}
	made, err := d.checkTarget(&req)
	if err != nil {
		return info, err
	}
	defer func() {
		if err != nil && made {
			os.Remove(req.Target)
		}
	}()
	if req.Budget > 0 {
		if err := d.setBudget(req.Budget); err != nil {
			return info, err
		}
	}
	v, err := d.openVersion(ctx, req.Dataset, r)
	if err != nil {
		return info, err
	}
	owner := v.name + ":" + req.Target
	chosen, err := d.newChooser(v, owner, r).choose(ctx, req.Selection)
	if err != nil {
		return info, err
	}
	if hint := bids.MountpointHint(req.Target); hint != "" {
		chosen.Hints = append(chosen.Hints, hint)
	}
	from, err := d.origin(v)
	if err != nil {
		return info, err
	}
	m := &mount{
		d: d, id: req.ID, target: req.Target, made: made, owner: owner,
		version: v, selection: req.Selection, view: chosen.view, files: chosen.files, hints: chosen.Hints,
		origin: from, since: time.Now(), strict: req.Strict, noReadAhead: req.NoReadAhead,
	}
	m.patience = control.DefaultPatience
	if req.Patience != nil {
		m.patience = *req.Patience
	}
	m.attached = make(chan struct{})
	m.ctx, m.stop = context.WithCancel(context.Background())
	if !m.noReadAhead {
		m.guess()
	}
	if err := d.serve(m, req.AllowOther); err != nil {
		m.stop()
		return info, err
	}
	if req.Prefetch {
		m.prefetch()
	}
	tidy()
	return m.info(), nil
}

// serve mounts m and takes note of it.
func (d *daemon) serve(m *mount, allowOther bool) error {
	d.mounting.Lock()
	defer d.mounting.Unlock()
	if d.mountAt(m.target) != nil {
		return advice.New(advice.CannotMount, "cannot mount at "+m.target, errors.New("it was mounted at this moment by another command"))
	}
	if _, given := d.givenUp[m.id]; given {
		return context.Canceled
	}
	if d.life.ctx.Err() != nil {
		return context.Canceled
	}
	if m.version.leaving {
		return advice.New(advice.Failed, "cannot mount at "+m.target, errors.New("the dataset's hidden clone was removed at this moment by another command"), "mount again: it is cloned anew")
	}
	d.mu.Lock()
	d.serving[m] = true
	d.mu.Unlock()
	served, err := fs.Mount(m.view, fs.Options{
		Target:     m.target,
		Opener:     m,
		Control:    m,
		FsName:     d.dir.MountSource(),
		AllowOther: allowOther,
		Time:       m.version.Time,
		ObjectDir:  d.dir.Objects(),
		Log:        d.log,
	})
	if err == nil {
		m.fs = served
	}
	close(m.attached)
	if err != nil {
		d.mu.Lock()
		delete(d.serving, m)
		d.mu.Unlock()
		f := control.ToAdvice(err)
		if f.Kind == advice.Failed {
			f = advice.New(advice.CannotMount, "cannot mount at "+m.target, err, "uniharmonyfs doctor tells what this system lacks")
		}
		return f
	}
	if !d.life.mounted() { // meanwhile it was told to stop
		d.mu.Lock()
		delete(d.serving, m)
		d.mu.Unlock()
		if err := m.fs.Unmount(); err != nil {
			m.fs.Detach()
		}
		return context.Canceled
	}
	d.mu.Lock()
	d.mounts[m.target] = m
	d.mu.Unlock()
	d.log.Info("mounted", "target", m.target, "dataset", m.version.spec, "commit", m.version.Commit, "files", m.view.Files(), "passthrough", m.fs.Passthrough())
	go d.guarded("the end of a mount", func() {
		<-m.fs.Done()
		m.stop()
		tidy()
		d.mu.Lock()
		delete(d.serving, m)
		d.mu.Unlock()
		d.forget(m)
		d.log.Info("unmounted", "target", m.target)
	})
	return nil
}

// forget takes a mount off the list, if it is there.
func (d *daemon) forget(m *mount) {
	d.mu.Lock()
	there := d.mounts[m.target] == m
	if there {
		delete(d.mounts, m.target)
	}
	d.mu.Unlock()
	if there {
		d.life.unmounted()
	}
}

func (d *daemon) mountAt(target string) *mount {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mounts[target]
}

func (d *daemon) mountList() (all []*mount) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range d.mounts {
		all = append(all, m)
	}
	return all
}

// info describes the mount as it is now.
func (m *mount) info() control.MountInfo {
	v := m.version
	i := control.MountInfo{
		Target: m.target, Dataset: v.spec, Version: v.request.Version, Commit: string(v.Commit),
		Selection: m.selection, Files: m.view.Files(), Bytes: m.view.Bytes(),
		Hidden: v.Hidden, Hints: m.hints, Offline: v.request.Offline,
		Passthrough: m.fs.Passthrough(), Strict: m.strict, NoReadAhead: m.noReadAhead, Patience: m.patience,
		Prefetching: m.prefetching.Load(), OpenFiles: m.fs.OpenFiles(), Clone: v.clone.Dir, Since: m.since,
	}
	size := func(k int) int64 {
		if n := m.files[k]; v.Kind(n) == tree.Annexed {
			return v.Size(n)
		}
		return -1
	}
	i.Cached = m.d.cache.CountCached(len(m.files), size, func(k int) annex.Key { return v.Key(m.files[k]) })
	return i
}

// isHere reports whether an annexed file can be read without fetching it.
func (d *daemon) isHere(v *version, key annex.Key) bool {
	return d.cache.State(key).Presence == cache.Cached || v.clone.InPlace(key) != ""
}

// checkTarget refuses targets that cannot or must not be mounted on, before
// anything is done. It makes a missing directory and replaces req.Target by
// its real path.
func (d *daemon) checkTarget(req *control.MountRequest) (made bool, err error) {
	refuse := func(why string, do ...string) (bool, error) {
		return false, advice.New(advice.CannotMount, "cannot mount at "+req.Target, errors.New(why), do...)
	}
	if !filepath.IsAbs(req.Target) {
		return refuse("the path is not absolute")
	}
	if d.mountAt(req.Target) != nil {
		return refuse("it is mounted already", "unmount it first: uniharmonyfs unmount "+req.Target, "or choose another target")
	}
	st, err := os.Stat(req.Target)
	switch {
	case errors.Is(err, syscall.ENOTCONN):
		return refuse("a mount whose server is gone is there, and it is not one of this cache", "unmount it: fusermount3 -u "+req.Target)
	case errors.Is(err, iofs.ErrNotExist):
		if _, err := os.Lstat(req.Target); err == nil {
			return refuse("it is a symbolic link that leads nowhere", "choose an empty or new directory")
		}
		if err := makeAll(missing(req.Target), 0o777&^os.FileMode(req.Umask)); err != nil {
			return refuse(err.Error(), "choose a target that you can write to")
		}
		made = true
	case err != nil:
		return refuse(err.Error(), "choose an empty or new directory")
	case !st.IsDir():
		return refuse("it is not a directory", "choose an empty or new directory")
	}
	undo := func(why string, do ...string) (bool, error) {
		if made {
			os.Remove(req.Target)
		}
		return refuse(why, do...)
	}
	real, err := filepath.EvalSymlinks(req.Target)
	if err != nil {
		return undo(err.Error())
	}
	cacheDir, err := filepath.EvalSymlinks(string(d.dir))
	if err != nil {
		return undo(err.Error())
	}
	switch {
	case within(real, cacheDir):
		return undo("it lies inside the cache "+cacheDir, "choose a target elsewhere")
	case within(cacheDir, real):
		return undo("the cache "+cacheDir+" lies inside it", "choose another target, or another --cache")
	}
	if at := fetch.LocalPath(req.Spec); at != "" {
		if at, err := filepath.EvalSymlinks(at); err == nil && (within(real, at) || within(at, real)) {
			return undo("it overlaps the dataset "+at, "choose a target elsewhere")
		}
	}
	if d.mountAt(real) != nil {
		return undo("it is mounted already", "unmount it first: uniharmonyfs unmount "+real)
	}
	if points, err := cachedir.MountPoints(); err == nil {
		for _, p := range points {
			if p == real {
				return undo("something else is mounted there", "choose an empty directory, or unmount that first")
			}
		}
	}
	entries, err := os.ReadDir(real)
	if err != nil {
		return undo(err.Error(), "choose a target that you can read")
	}
	if len(entries) > 0 {
		return undo(fmt.Sprintf("it is not empty (it holds %q)", entries[0].Name()), "choose an empty or new directory: a mount would hide what is there")
	}
	req.Target = real
	return made, nil
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// waitRequest returns when a mount is gone.
func (d *daemon) waitRequest(ctx context.Context, req control.UnmountRequest, _ *reply) (struct{}, error) {
	if m := d.mountAt(req.Target); m != nil {
		select {
		case <-m.fs.Done():
		case <-ctx.Done():
			return struct{}{}, ctx.Err()
		}
	}
	return struct{}{}, nil
}
