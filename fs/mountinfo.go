package fs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// fsSubtype is the file system's name; mounts have the type "fuse." + it.
const fsSubtype = "uniharmonyfs"

// A MountInfo is one mount of this file system, as the kernel knows it.
type MountInfo struct {
	ID     int    // of the mount, unique while it exists
	Device string // "major:minor"; the minor number is the FUSE connection's
	Target string
	FsName string // Options.FsName
	Shared bool   // other mount namespaces may see it too
	fstype string
}

// ours also reports what shows a view with what was written over it: see [Over].
func (m MountInfo) ours() bool {
	return m.fstype == "fuse."+fsSubtype || m.fstype == "overlay" && strings.HasPrefix(m.FsName, fsSubtype+":")
}

// Dead reports whether the daemon of m is gone. It asks the daemon, as what
// the kernel remembers can be seen for long after; so it waits for one that
// is stuck.
func (m MountInfo) Dead() bool {
	var st unix.Statfs_t
	return errors.Is(unix.Statfs(m.Target, &st), unix.ENOTCONN)
}

// ListMounts returns all mounts of this file system that the process sees, in
// the order they were made: where several have one target, the last is on
// top. Dead mounts, whose daemon is gone, are among them.
func ListMounts() ([]MountInfo, error) {
	all, err := allMounts()
	var mounts []MountInfo
	for _, m := range all {
		if m.ours() {
			mounts = append(mounts, m)
		}
	}
	return mounts, err
}

// topMount returns what is mounted last at target, of any type; ok is false
// when nothing is.
func topMount(target string) (top MountInfo, ok bool, err error) {
	all, err := allMounts()
	for _, m := range all {
		if m.Target == target {
			top, ok = m, true
		}
	}
	return top, ok, err
}

func allMounts() ([]MountInfo, error) {
	all, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, err
	}
	return fromKernel(all), nil
}

func fromKernel(all []*mountinfo.Info) (mounts []MountInfo) {
	for _, i := range all {
		mounts = append(mounts, MountInfo{
			ID: i.ID, Device: fmt.Sprintf("%d:%d", i.Major, i.Minor), Target: i.Mountpoint, FsName: i.Source, fstype: i.FSType,
			Shared: strings.Contains(i.Optional, "shared:"),
		})
	}
	return mounts
}
