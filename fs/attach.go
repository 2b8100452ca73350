package fs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Why a view could not be mounted or unmounted; errors of Mount, Unmount and
// DetachStale wrap these and say what to do.
var (
	ErrNoFUSE       = errors.New("this system offers no FUSE")
	ErrNoFusermount = errors.New("the program fusermount3 is missing")
	ErrNotPermitted = errors.New("mounting is not permitted")
	ErrTarget       = errors.New("unusable mount target")
	ErrStale        = errors.New("the target is a dead mount") // its daemon is gone: see DetachStale
	ErrNotMounted   = errors.New("not mounted")
)

// resolve returns the target as mountinfo will show it.
func resolve(target string) (string, error) {
	abs, err := filepath.Abs(target)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrTarget, err)
	}
	real, err := filepath.EvalSymlinks(abs)
	var st os.FileInfo
	if err == nil {
		st, err = os.Stat(real)
	}
	if err == nil {
		top, ok, infoErr := topMount(real)
		if infoErr != nil {
			return "", infoErr // without it nothing could be unmounted safely
		}
		if ok && top.ours() && top.Dead() {
			err = unix.ENOTCONN
		}
	}
	switch {
	case errors.Is(err, unix.ENOTCONN):
		return "", fmt.Errorf("%w: %s: detach it first (fusermount3 -uz %[2]s)", ErrStale, abs)
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrTarget, err)
	case !st.IsDir():
		return "", fmt.Errorf("%w: %s is not a directory", ErrTarget, abs)
	}
	return real, nil
}

// attach mounts an unserved connection at target and returns its descriptor:
// with mount(2) where that is permitted, else through fusermount3.
func attach(target string, o *Options) (fd int, err error) {
	if err := checkDevice(); err != nil {
		return -1, err
	}
	if unix.Geteuid() == 0 {
		fd, err = attachDirect(target, o)
		if err == nil || !errors.Is(err, unix.EPERM) {
			return fd, err
		}
	}
	return attachHelper(target, o)
}

func checkDevice() error {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		return unix.Close(fd)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: /dev/fuse: %w: an administrator can allow it with \"chmod 666 /dev/fuse\"; "+
			"a container needs --device /dev/fuse --cap-add SYS_ADMIN", ErrNotPermitted, err)
	}
	return fmt.Errorf("%w: /dev/fuse: %w: try \"modprobe fuse\" as root; "+
		"a container needs --device /dev/fuse --cap-add SYS_ADMIN", ErrNoFUSE, err)
}

// CanMount reports whether this process may mount, or fusermount3 is there to do it.
func CanMount() bool {
	_, err := findFusermount()
	return err == nil || unix.Geteuid() == 0
}

func findFusermount() (path string, err error) {
	if path, err = exec.LookPath("fusermount3"); err != nil {
		path, err = exec.LookPath("/usr/bin/fusermount3")
	}
	return path, err
}

// Attach mounts a connection that nobody serves yet at o.Target, in the namespaces of this
// process, which needs the right to: for [Options.Device] of another process.
func Attach(o Options) (*os.File, error) {
	target, err := resolve(o.Target)
	if err == nil {
		err = checkDevice()
	}
	if err != nil {
		return nil, err
	}
	fd, err := attachDirect(target, &o)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "/dev/fuse"), nil
}

func attachDirect(target string, o *Options) (int, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("%w: /dev/fuse: %w", ErrNoFUSE, err)
	}
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,max_read=%d,default_permissions",
		fd, unix.Geteuid(), unix.Getegid(), maxRead)
	if o.AllowOther {
		data += ",allow_other"
	}
	flags := uintptr(unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV)
	if o.writable {
		flags &^= unix.MS_RDONLY
	}
	err = unix.Mount(o.FsName, target, "fuse."+fsSubtype, flags, data)
	switch {
	case err == nil:
		return fd, nil
	case errors.Is(err, unix.ENODEV):
		err = fmt.Errorf("%w: mount: %w: try \"modprobe fuse\"", ErrNoFUSE, err)
	case errors.Is(err, unix.EPERM):
		err = fmt.Errorf("%w: mount: %w", ErrNotPermitted, err)
	default:
		err = fmt.Errorf("mount %s: %w", target, err)
	}
	unix.Close(fd)
	return -1, err
}

// attachHelper mounts through fusermount3, which runs as root, mounts and
// sends the descriptor back over a socket.
func attachHelper(target string, o *Options) (int, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "fusermount"), os.NewFile(uintptr(pair[1]), "fusermount")
	defer ours.Close()
	access := "ro"
	if o.writable {
		access = "rw"
	}
	opts := fmt.Sprintf("%s,nosuid,nodev,default_permissions,max_read=%d,subtype=%s,fsname=%s",
		access, maxRead, fsSubtype, optionEscape.Replace(o.FsName))
	if o.AllowOther {
		opts += ",allow_other"
	}
	err = fusermount(theirs, "-o", opts, "--", target)
	theirs.Close()
	if err != nil {
		return -1, err
	}
	return receiveDescriptor(ours)
}

var optionEscape = strings.NewReplacer(`\`, `\\`, ",", `\,`)

// fusermount runs the helper program; comm, if any, is its descriptor 3.
func fusermount(comm *os.File, args ...string) error {
	path, err := findFusermount()
	if err != nil {
		return fmt.Errorf("%w: install the package fuse3, or run as root", ErrNoFusermount)
	}
	var said bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/bin:/bin", "_FUSE_COMMFD=3"}
	cmd.Stderr = &said
	if comm != nil {
		cmd.ExtraFiles = []*os.File{comm}
	}
	err = cmd.Run()
	text := strings.TrimSpace(said.String())
	switch {
	case err == nil:
		return nil
	case strings.Contains(strings.ToLower(text), unix.EBUSY.Error()): // the only way it tells
		return fmt.Errorf("%w (%s)", unix.EBUSY, text)
	case text == "":
		text = err.Error()
	}
	return fmt.Errorf("%w: %s", ErrNotPermitted, text)
}

func receiveDescriptor(from *os.File) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(from.Fd()), make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fusermount3 sent no descriptor: %w", err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) != 1 {
		return -1, fmt.Errorf("fusermount3 sent no descriptor (%d messages, %v)", len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return -1, fmt.Errorf("fusermount3 sent %d descriptors (%v)", len(fds), err)
	}
	return fds[0], nil
}

// unmount unmounts what is on top at target. The error wraps EBUSY when it is
// in use, which it cannot be when lazy.
func unmount(target string, lazy bool) error {
	flags, args := unix.UMOUNT_NOFOLLOW, []string{"-u"}
	if lazy {
		flags, args = flags|unix.MNT_DETACH, []string{"-u", "-z"}
	}
	err := unix.Unmount(target, flags)
	if errors.Is(err, unix.EPERM) {
		err = fusermount(nil, append(args, "--", target)...)
	}
	var no syscall.Errno
	if errors.As(err, &no) {
		return fmt.Errorf("unmount %s: %w", target, err)
	}
	return err
}

// DetachStale takes away a mount of this file system whose daemon is gone,
// also when it is in use. It does not look at whether the daemon is gone: that
// is for the caller, who knows the daemon's lock. It fails with
// [ErrNotMounted] when something else, or nothing, is mounted at target, an
// absolute path without symbolic links as in [MountInfo].
func DetachStale(target string) error {
	top, ok, err := topMount(target)
	if err != nil {
		return err
	}
	if !ok || !top.ours() {
		return fmt.Errorf("%w: nothing of ours at %s", ErrNotMounted, target)
	}
	return unmount(target, true)
}
