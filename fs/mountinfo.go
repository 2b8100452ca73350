package fs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

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
	fstype string
}

func (m MountInfo) ours() bool { return m.fstype == "fuse."+fsSubtype }

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
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseMountinfo(f)
}

// parseMountinfo reads the format of proc(5), /proc/pid/mountinfo.
func parseMountinfo(r io.Reader) ([]MountInfo, error) {
	var mounts []MountInfo
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		left, right, ok := strings.Cut(lines.Text(), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 6 || len(r) < 1 {
			return nil, fmt.Errorf("unexpected line in mountinfo: %q", lines.Text())
		}
		id, err := strconv.Atoi(l[0])
		if err != nil {
			return nil, fmt.Errorf("unexpected line in mountinfo: %q", lines.Text())
		}
		m := MountInfo{ID: id, Device: l[2], Target: unescape(l[4]), fstype: unescape(r[0])}
		if len(r) > 1 { // the source can be empty
			m.FsName = unescape(r[1])
		}
		mounts = append(mounts, m)
	}
	return mounts, lines.Err()
}

// unescape decodes the octal escapes (\040 is a space).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
