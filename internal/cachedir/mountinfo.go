package cachedir

import "github.com/moby/sys/mountinfo"

// MountBelow returns a mount point below dir, or "".
func MountBelow(dir string) (string, error) {
	below, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		found := i.Mountpoint != dir && Within(i.Mountpoint, dir)
		return !found, found
	})
	if err != nil || len(below) == 0 {
		return "", err
	}
	return below[0].Mountpoint, nil
}

// IsMountPoint reports whether something is mounted at a path.
func IsMountPoint(path string) (bool, error) {
	at, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(path))
	return len(at) > 0, err
}
