package daemon

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"
	"unicode/utf8"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/beneath"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/mount"
)

func (d *daemon) mountRequest(ctx context.Context, req control.MountRequest, r *reply) (info control.MountInfo, err error) {
	if err := req.Selection.Validate(); err != nil {
		return info, err
	}
	defer d.mounts.begins(req.ID)() // after what follows is undone
	if d.mounts.isGivenUp(req.ID) {
		return info, context.Canceled
	}
	made := 0
	if req.Device != "" {
		req.Target = d.mounts.free(req.Target)
	} else if made, err = d.checkTarget(&req); err != nil {
		return info, d.unlessMounted(req.Target, err)
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
	if len(req.Catalogs) > 0 {
		return d.mountFolder(ctx, req, made, r)
	}
	v, err := d.datasets.Reach(ctx, req.Dataset, req.Selection, r.Progress)
	if err != nil {
		return info, err
	}
	served, release := false, v.Release
	defer func() { // also after a panic
		if !served {
			release()
		}
	}()
	c := v.Chooser(mount.Owner(v, req.Target), r.Progress)
	c.Below = req.Levels() > 0
	chosen, err := c.Choose(ctx, req.Selection)
	if err != nil {
		return info, err
	}
	if hint := bids.MountpointHint(req.Target); hint != "" {
		chosen.Hints = append(chosen.Hints, hint)
	}
	m, err := d.views.New(req, v, chosen)
	if err != nil {
		return info, err
	}
	release = m.Close
	if err := d.serve(ctx, m, made); err != nil {
		return info, err
	}
	served = true
	if req.Prefetch {
		if end, ok := d.life.begin("prefetch"); ok {
			m.Prefetch(d.life.ctx, end)
		}
	}
	tidy()
	return m.Info(), nil
}

// mountFolder mounts a folder of datasets.
func (d *daemon) mountFolder(ctx context.Context, req control.MountRequest, made int, r *reply) (info control.MountInfo, err error) {
	c, err := d.datasets.Catalog(ctx, req.Dataset, req.Catalogs, r.Progress)
	if err != nil {
		return info, err
	}
	served, release := false, c.Release
	defer func() { // also after a panic
		if !served {
			release()
		}
	}()
	c.AsListed = !req.OpenNeuro
	m, err := d.views.NewFolder(req, c)
	if err != nil {
		return info, err
	}
	release = m.Close
	if err := d.serve(ctx, m, made); err != nil {
		return info, err
	}
	served = true
	return m.Info(), nil
}

// serve serves a mount, for which so many directories were made, and takes note of it.
func (d *daemon) serve(ctx context.Context, m *mount.Mount, made int) error {
	if err := m.Take(ctx); err != nil {
		return err
	}
	d.mounts.changing.Lock()
	defer d.mounts.changing.Unlock()
	if d.mounts.at(m.Target()) != nil {
		return advice.New(advice.CannotMount, "cannot mount at "+m.Target(), errors.New("it was mounted at this moment by another command"))
	}
	if d.mounts.isGivenUp(m.ID()) || d.life.ctx.Err() != nil {
		return context.Canceled
	}
	d.mounts.serve(m)
	if err := m.Serve(); err != nil {
		d.mounts.unserve(m)
		f := control.ToAdvice(err)
		if f.Kind == advice.Failed {
			f = advice.New(advice.CannotMount, "cannot mount at "+m.Target(), err, "uniharmonyfs doctor tells what this system lacks")
		}
		return f
	}
	if !d.life.mounted() { // meanwhile it was told to stop
		d.mounts.unserve(m)
		if err := m.Unmount(); err != nil {
			m.Detach()
		}
		return context.Canceled
	}
	d.mounts.add(m, made)
	go d.guarded("the end of a mount", func() {
		<-m.Done()
		tidy()
		d.mounts.unserve(m)
		d.forget(m)
		d.log.Info("unmounted", "target", m.Target())
	})
	return nil
}

// forget takes a mount off the list, if it is there. When it returns, nothing of the
// mount counts any more.
func (d *daemon) forget(m *mount.Mount) {
	d.mounts.remove(m, func() {
		m.Close()
		d.life.unmounted()
	})
}

// unlessMounted is why a target was refused, unless something was mounted there while it
// was looked at: then that is the reason.
func (d *daemon) unlessMounted(target string, err error) error {
	d.mounts.changing.Lock() // it may just be coming
	defer d.mounts.changing.Unlock()
	if d.mounts.at(target) != nil {
		return mountedAlready(target)
	}
	return err
}

func mountedAlready(target string) error {
	return advice.New(advice.CannotMount, "cannot mount at "+target, errors.New("it is mounted already"), "unmount it first: uniharmonyfs unmount "+target, "or choose another target")
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
		return 0, mountedAlready(req.Target)
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

// holdRequest mounts, and takes the mount away when the client goes, or somebody else
// does.
func (d *daemon) holdRequest(ctx context.Context, req control.HoldRequest, r *reply) (res control.UnmountResult, err error) {
	if req.ID == "" {
		return res, advice.New(advice.Usage, "a mount that is held has an id", nil)
	}
	if err := control.Lasts(ctx); err != nil {
		return res, err
	}
	defer func() {
		for _, dir := range req.Directories {
			if os.Remove(dir) != nil {
				break
			}
		}
	}()
	info, err := d.mountRequest(ctx, req.MountRequest, r)
	if err != nil {
		return res, err
	}
	res.Target = info.Target
	m := d.mounts.at(info.Target)
	if err := r.Item(info); err != nil || m == nil || m.ID() != req.ID {
		return res, err
	}
	r.Flush()
	r.uncount()
	select {
	case <-m.Done(): // also with the namespace that it was in
	case <-m.Closed():
	case <-ctx.Done():
	}
	gone := false
	select {
	case <-m.Done():
		gone = true
	default:
	}
	if gone && (m.Asked() || !req.Clean) { // whoever asked for its end cleans
		return res, nil
	}
	end, ok := d.life.begin("unmount")
	if !ok { // the daemon's end takes all mounts away
		return res, ctx.Err()
	}
	defer end()
	if gone {
		d.forget(m)
		return d.cleanAfter(info.Target, m.Owns)
	}
	return d.unmountRequest(context.WithoutCancel(ctx), control.UnmountRequest{Target: info.Target, ID: req.ID, Clean: req.Clean, Force: true}, r)
}

// waitRequest returns when a mount is gone.
func (d *daemon) waitRequest(ctx context.Context, req control.UnmountRequest, _ *reply) (struct{}, error) {
	if m := d.mounts.at(req.Target); m != nil {
		if err := control.Lasts(ctx); err != nil {
			return struct{}{}, err
		}
		select {
		case <-m.Done():
		case <-ctx.Done():
			return struct{}{}, ctx.Err()
		}
	}
	return struct{}{}, nil
}
