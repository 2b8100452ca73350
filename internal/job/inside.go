package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	uhfs "github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/upper"
)

// Inside is the process that becomes a command in namespaces of its own. It mounts a
// connection called name at a path, hands it over at descriptor 3, waits there for the
// word that the view is served, puts over it what belongs there, and is the command from
// then on. What else is open, it keeps: the upper directory's lock.
func Inside(at, name string, over upper.Stack, args []string) error {
	parent := os.Getppid()
	file := os.NewFile(3, "exec")
	conn, err := net.FileConn(file)
	if err != nil {
		return err
	}
	file.Close()
	word := conn.(*net.UnixConn)
	wd, err := os.Getwd()
	var device *os.File
	if err == nil {
		device, err = mountInside(at, name)
	}
	if err != nil {
		fmt.Fprint(word, err)
		return &Exit{Code: 1}
	}
	_, _, err = word.WriteMsgUnix([]byte("mounted"), unix.UnixRights(int(device.Fd())), nil)
	device.Close()
	if err != nil {
		return err
	}
	// A signal is the command's, or the end of what has not become it.
	signal.Reset()
	if _, err := io.ReadFull(word, make([]byte, 1)); err != nil {
		return &Exit{Code: 1} // exec has gone, or told why there is no view
	}
	word.Close()
	// What follows is of the thread that becomes the command, and what it starts dies with it.
	runtime.LockOSThread()
	if !over.Empty() {
		if _, err := over.Mount(at, uhfs.Over{Target: at, FsName: name}); err != nil {
			return err
		}
	}
	// Who stands where the view is now stands in it.
	if wd == at || strings.HasPrefix(wd, strings.TrimSuffix(at, "/")+"/") {
		if err := os.Chdir(wd); err != nil {
			return advice.New(advice.Failed, "the working directory is not in the view", err, "run it from a directory that is, or is elsewhere")
		}
	}
	// It dies with exec, and is the user that it was, without the rights that mounting takes.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	if os.Getppid() != parent {
		return &Exit{Code: 1}
	}
	if os.Geteuid() != 0 {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		if err := unix.Capset(&header, &make([]unix.CapUserData, 2)[0]); err != nil {
			return err
		}
	}
	path, err := exec.LookPath(args[0])
	if err == nil {
		err = syscall.Exec(path, args, os.Environ())
	}
	return CannotRun(args[0], err)
}

// mountInside mounts at a path, for this namespace only.
func mountInside(at, name string) (*os.File, error) {
	// What others mount meanwhile, as home directories are, comes in; nothing goes out.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); errors.Is(err, unix.EINVAL) {
		return nil, errors.New("/ is no mount point, as in a plain chroot: bind the directory onto itself before (mount --bind)")
	} else if err != nil {
		return nil, fmt.Errorf("the namespace cannot be made one's own: %w", err)
	}
	return uhfs.Attach(uhfs.Options{Target: at, FsName: name, AllowOther: true})
}

// Aside is a command that waits in namespaces of its own, where a connection is mounted.
type Aside struct {
	Cmd    *exec.Cmd
	Device *os.File // the connection
	word   *net.UnixConn
}

// StartAside starts a command in namespaces of its own, where a connection called name
// is mounted at a path. insideArgs are those with which this program calls [Inside], and
// keeps are files that the command keeps open. The calling goroutine is locked to its
// thread, with which the command dies.
func StartAside(at, name string, over upper.Stack, insideArgs, args []string, keeps ...*os.File) (a *Aside, err error) {
	refuse := func(err error) error {
		if !over.Empty() {
			return advice.New(advice.CannotMount, "cannot put anything over a view for one command", err, "ask the administrator for user namespaces, or run it as root: uniharmonyfs doctor tells what this system lacks")
		}
		return advice.New(advice.CannotMount, "cannot mount at "+at+" for one command", err, "without --at the view is mounted elsewhere, and {} is where", "fuse3 brings fusermount3, with which ordinary users can mount")
	}
	self, err := Program()
	if err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "inside"), os.NewFile(uintptr(pair[1]), "exec")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	stack, err := json.Marshal(over)
	if err != nil {
		return nil, err
	}
	a = &Aside{word: conn.(*net.UnixConn)}
	a.Cmd = exec.Command(self, slices.Concat(insideArgs, []string{at, name, string(stack)}, args)...)
	a.Cmd.Stdin, a.Cmd.Stdout, a.Cmd.Stderr, a.Cmd.ExtraFiles = os.Stdin, os.Stdout, os.Stderr, append([]*os.File{theirs}, keeps...)
	a.Cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWNS}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		a.Cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		a.Cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		a.Cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
		a.Cmd.SysProcAttr.AmbientCaps = append([]uintptr{unix.CAP_SYS_ADMIN}, upper.Rights...)
	}
	a.Cmd.Env = append(os.Environ(), "UNIHARMONYFS_MOUNT="+at)
	if err := a.Cmd.Start(); err != nil {
		a.word.Close()
		return nil, refuse(fmt.Errorf("this system gives no namespaces: %w", err))
	}
	theirs.Close()
	text, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	n, m, _, _, err := a.word.ReadMsgUnix(text, oob)
	if err == nil && m == 0 {
		err = errors.New(strings.ToValidUTF8(string(text[:n]), "?"))
	}
	var fds []int
	if err == nil {
		fds, err = rights(oob[:m])
	}
	if err != nil {
		a.Stop()
		return nil, refuse(err)
	}
	a.Device = os.NewFile(uintptr(fds[0]), "/dev/fuse")
	return a, nil
}

func rights(oob []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return nil, errors.Join(errors.New("no connection was handed over"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err == nil && len(fds) != 1 {
		err = errors.New("no connection was handed over")
	}
	return fds, err
}

// GoOn lets the command run.
func (a *Aside) GoOn() error {
	a.Device.Close()
	_, err := a.word.Write([]byte{1})
	return errors.Join(err, a.word.Close())
}

// Stop ends what has not become the command.
func (a *Aside) Stop() {
	a.word.Close()
	if a.Device != nil {
		a.Device.Close()
	}
	a.Cmd.Process.Kill()
	a.Cmd.Wait()
}
