package fs

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	// maxWaiting is how many readers may wait for content before others are
	// held up behind them. The kernel reads ahead in the background, and its
	// default of 12 would let a few cold files stop all that are there.
	maxWaiting = 512
	// readAheadKiB is what the kernel reads ahead; it offers only 128 by
	// itself.
	readAheadKiB = "1024"
)

// A Mounted is a view that is being served. Its methods may be called by any
// goroutine.
type Mounted struct {
	fs       *fileSystem
	target   string // as mountinfo has it
	device   string
	attached atomic.Bool // the mount can still be seen at target
	server   *fuse.Server
	done     chan struct{}
}

// Mount mounts root at o.Target and serves it in goroutines of its own until
// it is unmounted, by whomever. When it returns, the kernel is ready.
//
// Errors wrap [ErrNoFUSE], [ErrNoFusermount], [ErrNotPermitted], [ErrTarget]
// or [ErrStale] where one of these is the reason.
func Mount(root *Part, o Options) (*Mounted, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.FsName == "" {
		o.FsName = fsSubtype
	}
	if o.Device != nil {
		return serveDevice(root, o)
	}
	target, err := resolve(o.Target)
	if err != nil {
		return nil, err
	}
	s := newFileSystem(root, o)
	fd, err := attach(target, &o)
	if err != nil {
		return nil, err
	}
	server, err := fuse.NewServer(s, fmt.Sprintf("/dev/fd/%d", fd), s.mountOptions())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: the kernel and this program found no common protocol: %w", ErrNoFUSE, err),
			unmount(target, true))
	}
	m := &Mounted{fs: s, target: target, server: server, done: make(chan struct{})}
	top, ok, err := topMount(target)
	if err != nil || !ok || !top.ours() {
		err = errors.Join(fmt.Errorf("%w: %s does not appear in mountinfo", ErrNotMounted, target), err, unmount(target, true))
		go server.Serve() // nobody asks: it ends with the mount
		return nil, err
	}
	m.device = top.Device
	m.attached.Store(true)
	m.tune(o.ObjectDir)
	m.serve()
	return m, nil
}

// serveDevice is Mount of a connection that is mounted.
func serveDevice(root *Part, o Options) (*Mounted, error) {
	defer o.Device.Close()
	if err := isFUSE(o.Device); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	fd, err := unix.FcntlInt(o.Device.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	// The kernel's first message waits in a connection that was just mounted. Of one that
	// is served already, a second server would answer messages that it does not know.
	if err := waits(fd); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	s := newFileSystem(root, o)
	server, err := fuse.NewServer(s, fmt.Sprintf("/dev/fd/%d", fd), s.mountOptions()) // fd is the server's, also after an error
	if err != nil {
		return nil, fmt.Errorf("%w: the kernel and this program found no common protocol: %w", ErrNoFUSE, err)
	}
	if server.KernelSettings().Major == 0 { // what waited was not the first message
		err := errors.Join(fmt.Errorf("%w: %w", ErrTarget, errServed), letGo(fd))
		runtime.KeepAlive(server) // till here fd is its own
		return nil, err
	}
	m := &Mounted{fs: s, target: o.Target, server: server, done: make(chan struct{})}
	m.tune(o.ObjectDir)
	m.serve()
	return m, nil
}

// letGo lets go of a connection whose descriptor a server has that is not used: it has
// nothing there from now on.
func letGo(fd int) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	return unix.Dup3(int(null.Fd()), fd, unix.O_CLOEXEC)
}

var errServed = errors.New("the connection is served already, or not mounted")

// firstMessage is how long the kernel's first message may take, in milliseconds.
const firstMessage = 1000

// waits is an error unless a message waits in a connection.
func waits(fd int) error {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, firstMessage)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case n == 0 || fds[0].Revents&unix.POLLIN == 0 || fds[0].Revents&unix.POLLERR != 0:
			return errServed
		default:
			return nil
		}
	}
}

// isFUSE is an error for a file that is no FUSE device.
func isFUSE(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	const major, minor = 10, 229 // in linux/Documentation/admin-guide/devices.txt
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(major, minor) {
		return errors.New("what was given is no descriptor of /dev/fuse")
	}
	return nil
}

// serve answers the kernel until the connection ends.
func (m *Mounted) serve() {
	go func() {
		m.server.Serve()
		m.attached.Store(m.attached.Load() && m.visible())
		close(m.done)
	}()
}

// mountOptions are what the connection is set up with.
func (s *fileSystem) mountOptions() *fuse.MountOptions {
	o := &fuse.MountOptions{
		Name:                 fsSubtype,
		MaxWrite:             maxRead,
		MaxBackground:        maxWaiting,
		DisableXAttrs:        true,
		DisableSplice:        true,
		EnableSymlinkCaching: true,
		ExtraCapabilities:    fuse.CAP_READDIRPLUS_AUTO,
		Debug:                s.Debug,
		Logger:               slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn),
		PanicHandler: func(what any) fuse.Status {
			s.Log.Error("panic while serving", "panic", what, "stack", string(debug.Stack()))
			return fuse.EIO
		},
	}
	depth := 0
	if s.ObjectDir != "" && unix.Geteuid() == 0 {
		depth = stackDepth(s.ObjectDir)
	}
	if s.Layer && depth > 1 { // the kernel would put nothing over it
		depth = 0
	}
	if o.MaxStackDepth = depth; depth == 0 {
		o.DisabledCapabilities = fuse.CAP_PASSTHROUGH
	}
	return o
}

// tune does what makes reading faster but is not needed.
func (m *Mounted) tune(objects string) {
	if objects != "" {
		if err := m.fs.modes.probe(objects); err != nil {
			m.fs.Log.Debug("no passthrough", "reason", err)
		}
	}
	if m.device == "" {
		return
	}
	name := "/sys/class/bdi/" + m.device + "/read_ahead_kb"
	if err := os.WriteFile(name, []byte(readAheadKiB), 0); err != nil {
		m.fs.Log.Debug("the kernel's read-ahead stays as it is", "reason", err)
	}
}

// Target returns where the view is mounted, as [MountInfo] has it.
func (m *Mounted) Target() string { return m.target }

// Done is closed when the connection to the kernel has ended: everything is
// closed then, and nothing is served any more.
func (m *Mounted) Done() <-chan struct{} { return m.done }

// Wait returns when Done is closed.
func (m *Mounted) Wait() { <-m.done }

// Passthrough reports whether the kernel reads complete files by itself.
func (m *Mounted) Passthrough() bool { return m.fs.modes.possible }

// Revoke declares what was served of the content of a node wrong, in the part at a path
// of the mount: the kernel
// forgets what it keeps of it, and as long as somebody has the file open for the kernel
// to read by itself, nobody else can open it. It waits for reads of it that are
// under way, so the caller must hold nothing that these need.
func (m *Mounted) Revoke(path string, n int) {
	p := m.fs.parts.of(path)
	if p == nil { // nobody can have looked at it
		return
	}
	at := node{p, n}
	m.fs.modes.spoil(at.id())
	if st := m.server.InodeNotify(at.id(), 0, 0); !st.Ok() && st != fuse.ENOENT {
		m.fs.Log.Warn("the kernel keeps wrong content", "path", path, "node", n, "reason", st)
	}
}

// Relist has the kernel ask again for what is listed at the root: members came.
func (m *Mounted) Relist() {
	if st := m.server.InodeNotify(fuse.FUSE_ROOT_ID, 0, 0); !st.Ok() && st != fuse.ENOENT {
		m.fs.Log.Warn("the kernel keeps an old listing", "reason", st)
	}
}

// Forget forgets the views of parts that nobody looked at since a time, and returns the
// paths of all that are forgotten. Each is entered again when somebody looks.
func (m *Mounted) Forget(since time.Time) (paths []string) { return m.fs.parts.forget(since) }

// OpenFiles returns how many openings of files there are.
func (m *Mounted) OpenFiles() int { return m.fs.handles.count() }

// Unmount takes the view away. It fails, and changes nothing, with an error
// that wraps EBUSY when a process has a file open in it or its working
// directory there, or when something else is mounted over it. Without a
// mount it does nothing. The end of the connection follows soon: see Done.
func (m *Mounted) Unmount() error {
	var err error
	for wait := 5 * time.Millisecond; wait < 100*time.Millisecond; wait *= 2 {
		if err = m.unmount(false); !errors.Is(err, unix.EBUSY) {
			return err
		}
		// A desktop that looks at each new mount, or a process that just
		// ended, is often gone in an instant.
		select {
		case <-m.done:
			return nil
		case <-time.After(wait):
		}
	}
	return err
}

// Detach takes the view away from its target at once, or does nothing where somebody else
// mounted it; what is open there goes
// on being served. Done is closed when the last of it is closed.
func (m *Mounted) Detach() error { return m.unmount(true) }

func (m *Mounted) unmount(lazy bool) error {
	if !m.attached.Load() {
		return nil
	}
	top, ok, err := topMount(m.target)
	switch {
	case err != nil:
		return err
	case ok && top.Device == m.device && top.ours():
		err = unmount(m.target, lazy)
	case m.visible():
		return fmt.Errorf("unmount %s: %w: something else is mounted over it", m.target, unix.EBUSY)
	}
	if err == nil {
		m.attached.Store(false)
	}
	return err
}

// visible reports whether the mount is at its target, possibly below another.
// A device number is not given to another mount as long as one has it.
func (m *Mounted) visible() bool {
	all, err := ListMounts()
	return err != nil || slices.ContainsFunc(all, func(i MountInfo) bool {
		return i.Device == m.device && i.Target == m.target
	})
}
