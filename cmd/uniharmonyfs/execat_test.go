package main_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// needNamespaces skips a test where no namespaces can be had: by ordinary users in a chroot,
// and where an administrator has forbidden it; by root where / is no mount point.
func needNamespaces(t *testing.T, u *user) {
	t.Helper()
	who, flags := "ordinary users", []string{"--user", "--mount", "true"}
	if u.uid == 0 && os.Geteuid() == 0 {
		who, flags = "root", flags[1:]
	}
	if out, err := u.plain("unshare", flags...).CombinedOutput(); err != nil {
		t.Skipf("skipped: this system gives %s no namespaces: %s", who, bytes.TrimSpace(out))
	}
}

// asBoth runs a test as this user and, where that is root, as an ordinary one.
func asBoth(t *testing.T, test func(t *testing.T, u *user)) {
	t.Run("this user", func(t *testing.T) {
		u := execUser(t)
		needNamespaces(t, u)
		test(t, u)
	})
	t.Run("an ordinary user", func(t *testing.T) {
		u := execUser(t)
		u.becomeOrdinary()
		needNamespaces(t, u)
		test(t, u)
	})
}

// A view at a path of the command's own is there for it and what it starts, and for
// nobody else; the command is the user that it was.
func TestExecAt(t *testing.T) {
	asBoth(t, func(t *testing.T, u *user) {
		made := u.own(t, "one")
		at := u.path("data")
		if err := os.Mkdir(at, 0o777); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(at, "below"), "what is there without the view\n")
		rights := `grep -E "^Cap(Inh|Prm|Eff|Amb)" /proc/self/status; id -u; id -g`
		args := []string{"exec", "--dataset", made, "--at", at, "--", "sh", "-c"}
		here, err := u.plain("sh", "-c", rights).Output()
		if err != nil {
			t.Fatal(err)
		}
		if inside := u.must(append(args, rights)...); inside != string(here) {
			t.Errorf("inside it is\n%s\nand without\n%s", inside, here)
		}
		out := u.must(append(args, `test "$UNIHARMONYFS_MOUNT" = "$0" && ls "$0" && cat {}/sub-00/anat/* | wc -c`, at)...)
		if out != "README\ndataset_description.json\nsub-00\n10000\n" {
			t.Errorf("it says\n%s", out)
		}
		// Who stands there stands in the view.
		standing := u.command(context.Background(), "exec", "--dataset", made, "--at", ".", "--", "ls", ".")
		standing.Dir = at
		if out, err := standing.CombinedOutput(); err != nil || string(out) != "README\ndataset_description.json\nsub-00\n" {
			t.Errorf("from there: %q, %v", out, err)
		}
		cmd := u.command(context.Background(), append(args, `echo ready; read line; exit 5`)...)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		ready, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ready.Read(make([]byte, 6))
		if entries, err := os.ReadDir(at); err != nil || len(entries) != 1 || entries[0].Name() != "below" {
			t.Errorf("others see %v, %v", entries, err)
		}
		if st := u.status(); len(st.Mounts) != 1 || !strings.HasPrefix(st.Mounts[0].Target, "/proc/") || !strings.HasSuffix(st.Mounts[0].Target, "/root"+at) {
			t.Errorf("%+v", st.Mounts)
		}
		fmt.Fprintln(in)
		if cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
			t.Errorf("%v", cmd.ProcessState)
		}

		// What the command has started may outlive it, and keeps nobody waiting.
		left := u.path("left")
		u.must(append(args, `(while ! test -e "$0"; do sleep 0.05; done; ls {} >"$0.saw") >/dev/null 2>&1 &`, left)...)
		write(t, left, "")
		eventually(t, "what was started ends", func() bool { _, err := os.Stat(left + ".saw"); return err == nil })

		u.fails(6, []string{"cannot mount at " + u.path("nowhere"), "--at"}, "exec", "--dataset", made, "--at", u.path("nowhere"), "--", "true")
		u.fails(6, []string{"not a directory"}, "exec", "--dataset", made, "--at", filepath.Join(at, "below"), "--", "true")
		u.fails(127, []string{"is not found"}, append(args[:6:6], "{}/nothere")...)
		u.fails(3, []string{"nothing matches"}, "exec", "--dataset", made, "--sub", "none", "--at", at, "--", "true")

		// With --clean the cache goes.
		u.must("exec", "--clean", "--dataset", made, "--at", at, "--", "sh", "-c", "cat {}/sub-00/anat/* >/dev/null")
		if _, err := os.Stat(u.cache); err == nil {
			t.Error("the cache is left")
		}
	})
}

// own makes a dataset of the user's own, with content in it.
func (u *user) own(t *testing.T, name string) string {
	t.Helper()
	return u.ownOf(t, files(name, 1, 20_000))
}

func (u *user) ownOf(t *testing.T, d maker.Dataset) string {
	t.Helper()
	_, made := serve(t, u, d)
	if u.uid != 0 {
		err := filepath.WalkDir(made.Dir, func(path string, _ os.DirEntry, err error) error {
			if err == nil {
				err = os.Lchown(path, int(u.uid), int(u.uid))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return made.Dir
}

// plain is a command of the user's that is not this program.
func (u *user) plain(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = u.command(context.Background()).SysProcAttr
	return cmd
}

// Whoever is killed, the namespace goes, and the view with it.
func TestExecAtThatIsKilled(t *testing.T) {
	asBoth(t, func(t *testing.T, u *user) {
		made := u.own(t, "one")
		at := u.path("data")
		if err := os.Mkdir(at, 0o777); err != nil {
			t.Fatal(err)
		}
		for _, whom := range []string{"the program", "the command", "the daemon"} {
			cmd := u.command(context.Background(), "exec", "--dataset", made, "--at", at, "--", "sh", "-c", `echo $$; exec sleep 300`)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			text := make([]byte, 20)
			n, err := out.Read(text)
			var pid int
			if _, err2 := fmt.Sscan(string(text[:n]), &pid); err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			gone := func() bool { return syscall.Kill(pid, 0) != nil }
			switch whom {
			case "the program":
				cmd.Process.Kill()
				cmd.Wait()
			case "the command":
				syscall.Kill(pid, syscall.SIGKILL)
				if cmd.Wait(); cmd.ProcessState.ExitCode() != 128+9 {
					t.Errorf("%v", cmd.ProcessState)
				}
			case "the daemon":
				syscall.Kill(u.daemon(), syscall.SIGKILL)
				eventually(t, "the daemon is gone", func() bool { return u.daemon() == 0 })
				if _, err := os.ReadDir(fmt.Sprintf("/proc/%d/root%s", pid, at)); err == nil {
					t.Error("its view is still read")
				}
				cmd.Process.Signal(syscall.SIGTERM)
				cmd.Wait()
			}
			eventually(t, whom+" was killed, and nothing is left", func() bool {
				return gone() && (u.daemon() == 0 || len(u.status().Mounts) == 0)
			})
		}
	})
}

// Without fusermount3 an ordinary user still has views for commands.
func TestExecWithoutFusermount(t *testing.T) {
	u := execUser(t)
	u.becomeOrdinary()
	needNamespaces(t, u)
	made := u.own(t, "one")
	u.must("list", "--dataset", made) // a daemon that sees what others see
	hidden := exec.Command("unshare", "--mount", "sh", "-c", `
		for f in $(which -a fusermount3); do mount --bind /dev/null "$(readlink -f "$f")"; done
		exec setpriv --reuid=`+fmt.Sprint(u.uid)+` --regid=`+fmt.Sprint(u.uid)+` --clear-groups "$@"`, "sh", binary,
		"exec", "--dataset", made, "--", "sh", "-c", `ls {}; id -u`)
	hidden.Env = u.command(context.Background()).Env
	var said bytes.Buffer
	hidden.Stderr = &said
	out, err := hidden.Output()
	if err != nil || string(out) != "README\ndataset_description.json\nsub-00\n"+fmt.Sprint(u.uid)+"\n" {
		t.Errorf("%q, %q, %v", out, said.String(), err)
	}
}

// A connection that somebody else has mounted is served, as programs that make
// containers pass it: /dev/fd/N in place of the target, and -f after it.
func TestMountOfADescriptor(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can mount here without fusermount3")
	}
	t.Parallel()
	u := newUser(t)
	_, made := serve(t, u, files("one", 1, 20_000))
	at := u.path("container")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("fuse", at, "fuse", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", device.Fd())); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(at, unix.MNT_DETACH)
	cmd := u.command(context.Background(), "mount", "--dataset", made.Dir, "/dev/fd/3", "-f")
	cmd.ExtraFiles = []*os.File{device}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is served", func() bool {
		out, err := exec.Command("cat", filepath.Join(at, "sub-00/anat/sub-00_run-000_T1w.nii.gz")).Output()
		return err == nil && len(out) == 10_000
	})
	// It is served once.
	twice := u.command(context.Background(), "mount", "--dataset", made.Dir, "--run", "0", "/dev/fd/3")
	twice.ExtraFiles = []*os.File{device}
	if out, _ := twice.CombinedOutput(); twice.ProcessState.ExitCode() != 6 || !strings.Contains(string(out), "served already") {
		t.Errorf("a second time: %v: %s", twice.ProcessState, out)
	}
	if out, err := exec.Command("ls", at).CombinedOutput(); err != nil || !strings.Contains(string(out), "README") {
		t.Errorf("after that: %s, %v", out, err)
	}
	device.Close()
	if err := unix.Unmount(at, 0); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, said.String())
	}

	// When the daemon goes, nobody waits for it.
	if device, err = os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("fuse", at, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", device.Fd())); err != nil {
		t.Fatal(err)
	}
	cmd = u.command(context.Background(), "mount", "--dataset", made.Dir, "/dev/fd/3", "-f")
	cmd.ExtraFiles = []*os.File{device}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	device.Close()
	eventually(t, "it is served", func() bool { return exec.Command("ls", at+"/sub-00").Run() == nil })
	syscall.Kill(u.daemon(), syscall.SIGKILL)
	cmd.Wait()
	eventually(t, "it is dead", func() bool { return exec.Command("ls", at).Run() != nil })

	plain, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	bad := u.command(context.Background(), "mount", "--dataset", made.Dir, "/dev/fd/3")
	bad.ExtraFiles = []*os.File{plain}
	if out, _ := bad.CombinedOutput(); bad.ProcessState.ExitCode() != 6 || !strings.Contains(string(out), "no descriptor of /dev/fuse") {
		t.Errorf("%v: %s", bad.ProcessState, out)
	}
	unmounted, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unmounted.Close()
	bad = u.command(context.Background(), "mount", "--dataset", made.Dir, "/dev/fd/3")
	bad.ExtraFiles = []*os.File{unmounted}
	if out, _ := bad.CombinedOutput(); bad.ProcessState.ExitCode() != 6 || !strings.Contains(string(out), "not mounted") {
		t.Errorf("%v: %s", bad.ProcessState, out)
	}
	u.fails(6, []string{"no such descriptor"}, "mount", "--dataset", made.Dir, "/dev/fd/99")
	u.fails(2, []string{"no descriptor"}, "mount", "--dataset", made.Dir, "/dev/fd/x")
}
