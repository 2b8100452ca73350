package main_test

import (
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// container is what a stand-in for Apptainer does, in the order in which that does it:
// the container's root is read-only, a connection of /dev/fuse is mounted in it, and the
// program of --fusemount has that at descriptor 3, named after its arguments, and -f. It
// has no input, no variable but PATH, and / as its directory. At the command's end it is
// sent SIGTERM and waited for; then everything in the container is killed.
type container struct {
	Root    string   // its root directory
	Binds   []string // directories that are there in the container, too
	Kind    string   // container, container-daemon, host or host-daemon
	Program []string // without the mount point, which is /data
	Command []string
	NoProc  bool   // its /proc is not mounted
	Lost    bool   // the program starts in a directory that was removed
	Home    string // of the user, in the container's list of users
}

// standIn is the variable that makes the test binary the stand-in.
const standIn = "UNIHARMONYFS_TEST_CONTAINER"

func (c container) daemon() bool { return strings.HasSuffix(c.Kind, "-daemon") }
func (c container) inside() bool { return strings.HasPrefix(c.Kind, "container") }

// command returns the stand-in, to be run by the tests' own user.
func (c container) command(t *testing.T, u *user) *exec.Cmd {
	t.Helper()
	if out, err := u.plain("unshare", "--mount", "true").CombinedOutput(); os.Geteuid() == 0 && u.uid == 0 && err != nil {
		t.Skipf("skipped: this system gives no namespaces: %s", lastLine(string(out)))
	}
	c.Root = rootFS(t, u)
	for _, dir := range c.Binds {
		if err := os.MkdirAll(filepath.Join(c.Root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if c.Home != "" {
		write(t, filepath.Join(c.Root, "etc/passwd"), fmt.Sprintf("me:x:%d:%[1]d::%s:/bin/sh\n", u.uid, c.Home))
	}
	if c.Kind == "" {
		c.Kind = "container"
	}
	said, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	mine := u.path("stand-in") // which an ordinary user can run
	if err := os.Link(self, mine); err != nil && !errors.Is(err, os.ErrExist) {
		data, err := os.ReadFile(self)
		if err == nil {
			err = os.WriteFile(mine, data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := u.plain(mine)
	cmd.Dir = u.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), standIn + "=" + string(said)}
	return cmd
}

// rootFS makes the root of a container that has a shell, the program, and nothing else.
func rootFS(t *testing.T, u *user) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("skipped: busybox is not installed: Debian's busybox-static")
	}
	f, err := elf.Open(busybox)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Skip("skipped: this busybox needs libraries: Debian's busybox-static does not")
		}
	}
	root, err := os.MkdirTemp(u.dir, "root-")
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(root, 0o755)
	for _, dir := range []string{"bin", "data", "dev", "etc", "fuse", "proc", "sys", "tmp", "word", base} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{busybox: "busybox", binary: "uniharmonyfs"} {
		if err := os.Link(from, filepath.Join(root, "bin", to)); err != nil {
			data, err := os.ReadFile(from)
			if err == nil {
				err = os.WriteFile(filepath.Join(root, "bin", to), data, 0o755)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"cat", "echo", "false", "id", "ls", "pwd", "sh", "sha256sum", "sleep", "test", "touch", "true", "wc"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"", "etc"} { // where containers' programs make more
		if err := os.Chown(filepath.Join(root, dir), int(u.uid), int(u.uid)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// runStandIn is the stand-in: first outside the container, then in it.
func runStandIn(said string) int {
	var c container
	err := json.Unmarshal([]byte(said), &c)
	code := 1
	if err == nil && os.Getpid() == 1 {
		code, err = c.run()
	} else if err == nil {
		code, err = c.start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stand-in:", err)
	}
	return code
}

// start makes the container's namespaces, and runs programs of the kind host.
func (c container) start() (code int, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 1, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "inside"), os.NewFile(uintptr(pair[1]), "outside")
	runtime.LockOSThread()
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	cmd := exec.Command(self)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdin, os.Stdout, os.Stderr, []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	if id := os.Getuid(); id != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		same := []syscall.SysProcIDMap{{ContainerID: id, HostID: id, Size: 1}}
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = same, same
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_CHROOT}
	}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	theirs.Close()
	var program *exec.Cmd
	if !c.inside() {
		device, err := receive(ours)
		if err == nil {
			program, err = c.program(device, os.Getenv("PATH"))
		}
		if err != nil {
			cmd.Process.Kill()
			cmd.Wait()
			return 1, err
		}
	}
	ours.Close() // it goes on
	cmd.Wait()
	stop(program)
	return cmd.ProcessState.ExitCode(), nil
}

// program starts the program that serves; one that is a daemon has ended when it does.
func (c container) program(device *os.File, path string) (*exec.Cmd, error) {
	defer device.Close()
	os.Setenv("PATH", path)
	args := append(c.Program[:len(c.Program):len(c.Program)], "/dev/fd/3")
	if !c.daemon() {
		args = append(args, "-f")
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = []string{"PATH=" + path, "APPTAINER_MESSAGELEVEL=0"}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, []*os.File{device}
	if c.daemon() {
		return nil, cmd.Run()
	}
	return cmd, cmd.Start()
}

// stop ends a program that serves, and says how it ended unless that is well.
func stop(program *exec.Cmd) {
	if program == nil {
		return
	}
	program.Process.Signal(syscall.SIGTERM)
	if program.Wait(); !program.ProcessState.Success() {
		fmt.Fprintln(os.Stderr, "stand-in: the program ended with", program.ProcessState)
	}
}

// run is the container.
func (c container) run() (code int, err error) {
	bad := []error{unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "")}
	mount := func(from, to, kind string, flags uintptr, data string) {
		if err := unix.Mount(from, filepath.Join(c.Root, to), kind, flags, data); err != nil {
			bad = append(bad, fmt.Errorf("mount %s: %w", to, err))
		}
	}
	mount(c.Root, "", "", unix.MS_BIND, "")
	mount("/dev", "dev", "", unix.MS_BIND|unix.MS_REC, "")
	if !c.NoProc {
		mount("proc", "proc", "proc", unix.MS_NOSUID|unix.MS_NODEV, "")
	}
	for _, dir := range c.Binds {
		mount(dir, dir, "", unix.MS_BIND, "")
	}
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return 1, err
	}
	mount("fuse", "fuse", "fuse", unix.MS_NOSUID|unix.MS_NODEV,
		fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d", device.Fd(), syscall.S_IFDIR, os.Getuid(), os.Getgid()))
	mount(filepath.Join(c.Root, "fuse"), "data", "", unix.MS_BIND, "")
	where := "/"
	if c.Lost {
		lost := filepath.Join(c.Root, "lost")
		bad = append(bad, os.Mkdir(lost, 0o755), os.Chdir(lost), os.Remove(lost))
		where = "."
	}
	mount("", "", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
	if err := errors.Join(append(bad, unix.Chroot(c.Root), os.Chdir(where))...); err != nil {
		return 1, err
	}
	outside := os.NewFile(3, "outside")
	if !c.inside() {
		if err := send(outside, device); err != nil {
			return 1, err
		}
		device.Close()
		outside.Read(make([]byte, 1)) // till the program serves
	}
	outside.Close()
	runtime.LockOSThread() // what it starts has the rights that this thread has
	if os.Getuid() != 0 {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		if err := unix.Capset(&header, &make([]unix.CapUserData, 2)[0]); err != nil {
			return 1, err
		}
	}
	var program *exec.Cmd
	if c.inside() {
		if program, err = c.program(device, "/bin"); err != nil {
			return 1, err
		}
	}
	cmd := exec.Command(c.Command[0], c.Command[1:]...)
	cmd.Env = []string{"PATH=/bin", "HOME=/nowhere"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		return 1, err
	}
	stop(program)
	return cmd.ProcessState.ExitCode(), nil
}

func send(to, f *os.File) error {
	conn, err := net.FileConn(to)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, _, err = conn.(*net.UnixConn).WriteMsgUnix([]byte{0}, unix.UnixRights(int(f.Fd())), nil)
	return err
}

func receive(from *os.File) (*os.File, error) {
	conn, err := net.FileConn(from)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.(*net.UnixConn).ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.Join(errors.New("there is no descriptor"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), "/dev/fuse"), nil
}
