package fs

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Over is a mount that shows a view with what was written over it.
type Over struct {
	Target string // an existing directory
	FsName string // source in mountinfo, as that of the view
	Others bool   // other users may look
}

// Attach mounts a connection that another program is going to serve, by itself where that
// is permitted, else through fusermount3. Errors are those of [Mount].
func (v Over) Attach() (*os.File, error) {
	target, err := resolve(v.Target)
	if err == nil {
		err = checkDevice()
	}
	if err != nil {
		return nil, err
	}
	o := Options{Target: target, FsName: v.FsName, AllowOther: v.Others, writable: true}
	fd, err := attachDirect(target, &o)
	if errors.Is(err, unix.EPERM) {
		fd, err = attachHelper(target, &o)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "/dev/fuse"), nil
}

// Overlay has the kernel mount an overlay with these options, as overlayfs has them.
func (v Over) Overlay(options string) error {
	return unix.Mount(v.FsName, v.Target, "overlay", unix.MS_NOSUID|unix.MS_NODEV, options)
}

// Unmount takes away what was mounted last at the target, if that is of this file system.
// The error wraps EBUSY when it is in use, which it cannot be when lazy, or when something
// else is mounted over it. Without a mount it does nothing.
func (v Over) Unmount(lazy bool) (err error) {
	for wait := 5 * time.Millisecond; wait < 100*time.Millisecond; wait *= 2 { // see Mounted.Unmount
		top, ok, err := topMount(v.Target)
		switch {
		case err != nil:
			return err
		case ok && top.ours():
			err = unmount(v.Target, lazy)
		case v.there():
			return fmt.Errorf("unmount %s: %w: something else is mounted over it", v.Target, unix.EBUSY)
		}
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		time.Sleep(wait)
	}
	return unmount(v.Target, lazy)
}

// there reports whether it is mounted, possibly below something else.
func (v Over) there() bool {
	all, err := ListMounts()
	return err != nil || slices.ContainsFunc(all, func(m MountInfo) bool { return m.Target == v.Target && m.FsName == v.FsName })
}

// Wait returns when it is no longer mounted, whoever unmounts it, or soon after done.
func (v Over) Wait(done <-chan struct{}) error {
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer mounts.Close()
	for v.there() {
		// The kernel says here that mounts have changed. It is looked at once a second
		// all the same.
		fds := []unix.PollFd{{Fd: int32(mounts.Fd()), Events: unix.POLLPRI}}
		for try, changed := 0, 0; changed == 0 && try < 5; try++ {
			select {
			case <-done:
				return nil
			default:
			}
			if changed, err = unix.Poll(fds, 200); err != nil && err != unix.EINTR {
				return err
			}
		}
	}
	return nil
}
