package beneath

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// resolve opens a name without following any link. With O_PATH a link at the
// end is opened itself.
func (d *Dir) resolve(name string, flags int, perm uint32) (int, error) {
	flags |= unix.O_CLOEXEC | unix.O_NOFOLLOW
	if !d.walk {
		return again(func() (int, error) {
			return unix.Openat2(d.fd, name, &unix.OpenHow{
				Flags: uint64(flags), Mode: uint64(perm),
				Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
			})
		})
	}
	dir := d.fd
	for {
		part, rest, more := strings.Cut(name, "/")
		open := flags
		if more {
			open = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		}
		fd, err := again(func() (int, error) { return unix.Openat(dir, part, open, perm) })
		if errors.Is(err, unix.ENOTDIR) && isLink(dir, part) {
			err = unix.ELOOP // as openat2 says
		}
		if dir != d.fd {
			unix.Close(dir)
		}
		if err != nil || !more {
			return fd, err
		}
		dir, name = fd, rest
	}
}

// again repeats what a signal interrupted.
func again(open func() (int, error)) (fd int, err error) {
	for {
		if fd, err = open(); !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func isLink(dir int, name string) bool {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK
}

func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
