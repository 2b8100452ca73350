package daemon

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/beneath"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

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
		if err != nil {
			removeMade(req.Target, made)
		}
	}()
	if req.Budget > 0 {
		if err := d.settings.SetBudget(req.Budget); err != nil {
			return info, err
		}
	}
	v, err := d.datasets.Reach(ctx, req.Dataset, req.Selection, r.Progress)
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
	c := v.Chooser(owner, r.Progress)
	c.Below = req.Levels() > 0
	chosen, err := c.Choose(ctx, req.Selection)
	if err != nil {
		return info, err
	}
	if hint := bids.MountpointHint(req.Target); hint != "" {
		chosen.Hints = append(chosen.Hints, hint)
	}
	m := &mount{
		d: d, id: req.ID, target: req.Target, made: made, selection: req.Selection, since: time.Now(),
		attached: make(chan struct{}), below: newBelow(req),
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	if m.part, err = m.newPart("", v, chosen, owner); err != nil {
		m.stop()
		return info, err
	}
	v.Foresee(chosen.Files)
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
	served, err := fs.Mount(m.fs, fs.Options{
		Target:     m.target,
		Control:    m,
		FsName:     d.dir.MountSource(),
		AllowOther: allowOther,
		ObjectDir:  d.dir.Objects(),
		Log:        d.log,
	})
	if err == nil {
		m.served = served
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
		if err := m.served.Unmount(); err != nil {
			m.served.Detach()
		}
		return context.Canceled
	}
	m.version.Mounted(m.target)
	d.mounts.add(m)
	d.log.Info("mounted", "target", m.target, "dataset", m.version.Spec(), "commit", m.version.Commit, "files", m.shown.view.Files(), "passthrough", m.served.Passthrough())
	go d.guarded("the end of a mount", func() {
		<-m.served.Done()
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
		m.leaveAll()
		d.life.unmounted()
	}
}

// info describes the mount as it is now.
func (m *mount) info() control.MountInfo {
	v, reads := m.version, m.reads("")
	i := control.MountInfo{
		Target: m.target, Dataset: v.Spec(), Version: v.Request.Version, Commit: string(v.Commit),
		Selection: m.selection, Files: m.shown.view.Files(), Bytes: m.shown.view.Bytes(),
		Hidden: v.Hidden, Hints: m.shown.hints, Offline: v.Request.Offline,
		Passthrough: m.served.Passthrough(), Strict: reads.Strict, NoReadAhead: reads.NoReadAhead, Patience: reads.Patience,
		Prefetching: m.prefetching.Load(), OpenFiles: m.served.OpenFiles(), Clone: v.Clone.Dir, Since: m.since,
	}
	for _, sub := range v.Subdatasets {
		if m.shown.view.Shown(sub.Node) {
			i.Subdatasets++
		}
	}
	for _, p := range m.parts()[1:] {
		i.Opened = append(i.Opened, control.OpenedPart{Path: p.path, Dataset: p.version.Spec(), Commit: string(p.version.Commit), Files: p.shown.view.Files(), Bytes: p.shown.view.Bytes()})
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
// its real path. made is how many directories were made, from the target up.
func (d *daemon) checkTarget(req *control.MountRequest) (made int, err error) {
	refuse := func(why string, do ...string) (int, error) {
		return 0, advice.New(advice.CannotMount, "cannot mount at "+req.Target, errors.New(why), do...)
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
		missing := beneath.Missing(req.Target)
		made = len(missing)
		if err := beneath.Make(missing, 0o777&^os.FileMode(req.Umask)); err != nil {
			removeMade(req.Target, made)
			return refuse(err.Error(), "choose a target that you can write to")
		}
	case err != nil:
		return refuse(err.Error(), "choose an empty or new directory")
	case !st.IsDir():
		return refuse("it is not a directory", "choose an empty or new directory")
	}
	undo := func(why string, do ...string) (int, error) {
		removeMade(req.Target, made)
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

// removeMade removes so many directories, from the target up: those that are
// empty, up to one that is not.
func removeMade(target string, made int) {
	for dir := target; made > 0; made, dir = made-1, filepath.Dir(dir) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return
		}
	}
}

// waitRequest returns when a mount is gone.
func (d *daemon) waitRequest(ctx context.Context, req control.UnmountRequest, _ *reply) (struct{}, error) {
	if m := d.mounts.at(req.Target); m != nil {
		if err := control.Lasts(ctx); err != nil {
			return struct{}{}, err
		}
		select {
		case <-m.served.Done():
		case <-ctx.Done():
			return struct{}{}, ctx.Err()
		}
	}
	return struct{}{}, nil
}
