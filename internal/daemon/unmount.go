package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/mount"
)

func (d *daemon) unmountRequest(ctx context.Context, req control.UnmountRequest, _ *reply) (res control.UnmountResult, err error) {
	res.Target = req.Target
	if req.ID != "" {
		if err := d.mounts.giveUp(ctx, req.ID); err != nil {
			return res, err
		}
	}
	d.mounts.changing.Lock()
	defer d.mounts.changing.Unlock()
	m := d.mounts.at(req.Target)
	if req.ID != "" { // wherever links have led it
		m = d.mounts.byID(req.ID)
	}
	owns := func(string) bool { return false }
	switch {
	case req.ID != "" && m == nil:
		return res, nil
	case m != nil:
		owns = m.Owns
		made := d.mounts.madeFor(m)
		if err := d.unmount(m, req.Force); err != nil {
			return res, err
		}
		if req.Clean || req.ID != "" {
			removeMade(m.Target(), made)
		}
	case !d.mounts.wasStale(req.Target):
		return res, advice.New(advice.CannotMount, "cannot unmount "+req.Target, errors.New("nothing of this cache is mounted there"), "see what is mounted with: uniharmonyfs status")
	}
	if !req.Clean {
		return res, nil
	}
	return d.cleanAfter(req.Target, owns)
}

// unmount takes the mount away, in force even from under its users.
func (d *daemon) unmount(m *mount.Mount, force bool) error {
	err := m.Unmount()
	if err != nil && force {
		err = m.Detach()
	}
	if err != nil {
		f := advice.New(advice.CannotMount, "cannot unmount "+m.Target(), err)
		if errors.Is(err, syscall.EBUSY) {
			f.Why = "it is in use"
			if users := holders(m.Target()); len(users) > 0 {
				f.Why += " by " + advice.List(users)
			}
			f.Do = []string{"end these programs, or leave the directory in their shells", "or take it away all the same: uniharmonyfs unmount --force " + m.Target()}
		}
		return f
	}
	// Taken away by force, it is served until its users are gone; one whose connection was
	// given goes with its namespace, and is not waited for.
	wait := time.Second
	if m.Given() {
		wait = 0
	}
	select {
	case <-m.Done():
	case <-time.After(wait):
	}
	d.forget(m)
	return nil
}

// cleanAfter drops what a mount brought. When nothing else uses the cache it
// goes too: all of it, or, if something is pinned, all but that.
func (d *daemon) cleanAfter(target string, owns func(owner string) bool) (res control.UnmountResult, err error) {
	res.Target = target
	if !d.life.alone() {
		res.Files, res.Bytes, err = d.cache.Drop(func(o string, _ annex.Key) bool { return owns(o) })
		return res, err
	}
	res.Files, res.Bytes, err = d.cache.Drop(nil)
	if err != nil {
		return res, err
	}
	st := d.cache.Status()
	res.Pinned = st.Pinned
	res.Removed = st.PinnedFiles == 0 && d.life.stopAlone()
	return res, nil
}

// unmountAll is for the daemon's end: first politely, then by detaching.
func (d *daemon) unmountAll() {
	d.mounts.changing.Lock()
	defer d.mounts.changing.Unlock()
	for _, m := range d.mounts.all() {
		for try := 0; ; try++ {
			err := d.unmount(m, try == 10)
			if err == nil {
				break
			}
			if try == 10 {
				d.log.Error("cannot unmount", "target", m.Target(), "err", err)
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// detachStale takes away the mounts that a killed daemon of this cache left.
// We hold the cache's lock, so every one of them is dead.
func (d *daemon) detachStale() {
	mounts, err := fs.ListMounts()
	if err != nil {
		d.log.Warn("cannot look for stale mounts", "err", err)
		return
	}
	for _, m := range mounts {
		if dir, ok := cachedir.OfMount(m.FsName); !ok || dir != d.dir {
			continue
		}
		if err := fs.DetachStale(m.Target); err != nil {
			d.log.Error("cannot detach a stale mount", "target", m.Target, "err", err)
			continue
		}
		d.log.Info("detached a stale mount", "target", m.Target)
		d.mounts.detached(m.Target)
	}
	below, _ := filepath.Glob(filepath.Join(d.dir.Below(), "*"))
	for _, place := range below {
		os.Remove(place)
	}
}

// holders names the processes that use files below target. It reads links in
// /proc only: looking at the files themselves could wait for them.
func holders(target string) (users []string) {
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range procs {
		links, _ := filepath.Glob(p + "/fd/*")
		links = append(links, p+"/cwd", p+"/root")
		for _, l := range links {
			to, err := os.Readlink(l)
			if err != nil || !cachedir.Within(to, target) {
				continue
			}
			name, _ := os.ReadFile(p + "/comm")
			users = append(users, fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), filepath.Base(p)))
			break
		}
		if len(users) == 5 {
			return append(users, "others")
		}
	}
	return users
}
