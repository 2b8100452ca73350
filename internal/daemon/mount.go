package daemon

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/beneath"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// mount is a view that is served.
type mount struct {
	d         *daemon
	id        string
	target    string
	made      bool // the target directory is ours
	version   *dataset.Version
	selection bids.Selection
	shown     shown
	use       cache.Use // of its files, but for their names
	fs        *fs.Mounted
	since     time.Time

	attached    chan struct{} // closed when fs is known, or that there is none
	prefetching atomic.Bool
	ctx         context.Context // ends with the mount
	stop        context.CancelFunc
	known       *mountFiles // nil: nothing is read ahead
}

// shown is what a mount shows. What a selection knows beside that is as large
// again, and is not kept.
type shown struct {
	view  *tree.View
	files []int    // its nodes, in the order of their paths
	hints []string // for people
}

func (d *daemon) mountRequest(ctx context.Context, req control.MountRequest, r *reply) (info control.MountInfo, err error) {
	if err := req.Selection.Validate(); err != nil {
		return info, err
	}
	defer d.mounts.begins(req.ID)() // after what follows is undone
	if d.mounts.isGivenUp(req.ID) {
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
		if err := d.settings.SetBudget(req.Budget); err != nil {
			return info, err
		}
	}
	v, err := d.datasets.Open(ctx, req.Dataset, r.Progress)
	if err != nil {
		return info, err
	}
	served := false
	defer func() { // also after a panic
		if !served {
			v.Release()
		}
	}()
	owner := v.ID() + ":" + req.Target
	chosen, err := v.Chooser(owner, r.Progress).Choose(ctx, req.Selection)
	if err != nil {
		return info, err
	}
	if hint := bids.MountpointHint(req.Target); hint != "" {
		chosen.Hints = append(chosen.Hints, hint)
	}
	from, err := v.Origin()
	if err != nil {
		return info, err
	}
	v.Foresee(from, chosen.Files)
	m := &mount{
		d: d, id: req.ID, target: req.Target, made: made, version: v, selection: req.Selection,
		shown: shown{chosen.View, chosen.Files, chosen.Hints},
		use:   cache.Use{Origin: from, Dataset: v.ID(), Owner: owner, Strict: req.Strict, NoReadAhead: req.NoReadAhead},
		since: time.Now(),
	}
	m.use.Patience = control.DefaultPatience
	if req.Patience != nil {
		m.use.Patience = *req.Patience
	}
	m.attached = make(chan struct{})
	m.ctx, m.stop = context.WithCancel(context.Background())
	if !m.use.NoReadAhead {
		m.guess()
	}
	var prefetched []int
	if req.Prefetch {
		prefetched = m.inBudget()
	}
	if err := d.serve(m, req.AllowOther); err != nil {
		m.stop()
		return info, err
	}
	served = true
	if req.Prefetch {
		m.prefetch(prefetched)
	}
	tidy()
	return m.info(), nil
}

// serve mounts m and takes note of it.
func (d *daemon) serve(m *mount, allowOther bool) error {
	d.mounts.changing.Lock()
	defer d.mounts.changing.Unlock()
	if d.mounts.at(m.target) != nil {
		return advice.New(advice.CannotMount, "cannot mount at "+m.target, errors.New("it was mounted at this moment by another command"))
	}
	if d.mounts.isGivenUp(m.id) || d.life.ctx.Err() != nil {
		return context.Canceled
	}
	d.mounts.serve(m)
	served, err := fs.Mount(m.shown.view, fs.Options{
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
		d.mounts.unserve(m)
		f := control.ToAdvice(err)
		if f.Kind == advice.Failed {
			f = advice.New(advice.CannotMount, "cannot mount at "+m.target, err, "uniharmonyfs doctor tells what this system lacks")
		}
		return f
	}
	if !d.life.mounted() { // meanwhile it was told to stop
		d.mounts.unserve(m)
		if err := m.fs.Unmount(); err != nil {
			m.fs.Detach()
		}
		return context.Canceled
	}
	m.version.Mounted(m.target)
	d.mounts.add(m)
	d.log.Info("mounted", "target", m.target, "dataset", m.version.Spec(), "commit", m.version.Commit, "files", m.shown.view.Files(), "passthrough", m.fs.Passthrough())
	go d.guarded("the end of a mount", func() {
		<-m.fs.Done()
		m.stop()
		tidy()
		d.mounts.unserve(m)
		d.forget(m)
		d.log.Info("unmounted", "target", m.target)
	})
	return nil
}

// forget takes a mount off the list, if it is there.
func (d *daemon) forget(m *mount) {
	if d.mounts.remove(m) {
		m.version.Release()
		d.life.unmounted()
	}
}

// info describes the mount as it is now.
func (m *mount) info() control.MountInfo {
	v := m.version
	i := control.MountInfo{
		Target: m.target, Dataset: v.Spec(), Version: v.Request.Version, Commit: string(v.Commit),
		Selection: m.selection, Files: m.shown.view.Files(), Bytes: m.shown.view.Bytes(),
		Hidden: v.Hidden, Hints: m.shown.hints, Offline: v.Request.Offline,
		Passthrough: m.fs.Passthrough(), Strict: m.use.Strict, NoReadAhead: m.use.NoReadAhead, Patience: m.use.Patience,
		Prefetching: m.prefetching.Load(), OpenFiles: m.fs.OpenFiles(), Clone: v.Clone.Dir, Since: m.since,
	}
	size := func(k int) int64 {
		if n := m.shown.files[k]; v.Kind(n) == tree.Annexed {
			return v.Size(n)
		}
		return -1
	}
	i.Cached = m.d.cache.CountCached(len(m.shown.files), size, func(k int) annex.Key { return v.Key(m.shown.files[k]) })
	return i
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
	if d.mounts.at(req.Target) != nil {
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
		if err := beneath.Make(beneath.Missing(req.Target), 0o777&^os.FileMode(req.Umask)); err != nil {
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
	case !utf8.ValidString(real): // no request could name it to take it away
		return undo(fmt.Sprintf("it leads to %q, which is not UTF-8", real), "choose another target, or name the directory otherwise")
	case cachedir.Within(real, cacheDir):
		return undo("it lies inside the cache "+cacheDir, "choose a target elsewhere")
	case cachedir.Within(cacheDir, real):
		return undo("the cache "+cacheDir+" lies inside it", "choose another target, or another --cache")
	}
	if at := fetch.LocalPath(req.Spec); at != "" {
		if at, err := filepath.EvalSymlinks(at); err == nil && (cachedir.Within(real, at) || cachedir.Within(at, real)) {
			return undo("it overlaps the dataset "+at, "choose a target elsewhere")
		}
	}
	if d.mounts.at(real) != nil {
		return undo("it is mounted already", "unmount it first: uniharmonyfs unmount "+real)
	}
	if is, err := cachedir.IsMountPoint(real); err == nil && is {
		return undo("something else is mounted there", "choose an empty directory, or unmount that first")
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

// waitRequest returns when a mount is gone.
func (d *daemon) waitRequest(ctx context.Context, req control.UnmountRequest, _ *reply) (struct{}, error) {
	if m := d.mounts.at(req.Target); m != nil {
		select {
		case <-m.fs.Done():
		case <-ctx.Done():
			return struct{}{}, ctx.Err()
		}
	}
	return struct{}{}, nil
}
