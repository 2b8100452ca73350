package main_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// hashes are those of all files below some directories.
func hashes(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			h := sha256.New()
			_, err = io.Copy(h, f)
			found[path] = fmt.Sprintf("%x", h.Sum(nil))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

const madeImage = "sub-00/anat/sub-00_run-000_T1w.nii.gz"

// What a command writes over a view is in the directory that was given for it, is listed,
// and is there for the next command; what is below stays as it is.
func TestExecWritable(t *testing.T) {
	asBoth(t, func(t *testing.T, u *user) {
		made := u.own(t, "one")
		dir := u.path("written")
		on := func(script string) []string {
			return []string{"exec", "--dataset", made, "--writable", dir, "--", "sh", "-ec", "cd {}; " + script}
		}
		u.must(on("true")...)
		if out := u.must("changes", dir); out != "" {
			t.Errorf("nothing was written, and changed is\n%s", out)
		}
		before := hashes(t, made)
		u.must(on(`
			mkdir -p derivatives/tool/empty; echo new >derivatives/tool/out
			echo more >>README
			printf X | dd of=` + madeImage + ` bs=1 seek=5000 conv=notrunc 2>/dev/null
			echo other >t; mv t dataset_description.json
			test "$(id -u):$(id -g)" = "$(stat -c %u:%g README)"`)...)
		if after := hashes(t, made); !maps.Equal(after, before) {
			t.Errorf("the dataset was %v, and is %v", before, after)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "files/README")); string(text) != "made for a test\nmore\n" {
			t.Errorf("it wrote %q, %v", text, err)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "files", madeImage)); len(text) != 10_000 || text[5000] != 'X' {
			t.Errorf("%d bytes, %v", len(text), err)
		}
		want := "changed  README\nchanged  dataset_description.json\ncreated  derivatives/tool/empty/\ncreated  derivatives/tool/out\nchanged  " + madeImage + "\n"
		if out := u.must("changes", dir); out != want {
			t.Errorf("changed is\n%s", out)
		}
		// The next one goes on there.
		out := u.must(on(`cat README derivatives/tool/out; rm -r sub-00 derivatives; mkdir sub-00; echo again >sub-00/new; rm README; ls`)...)
		if out != "made for a test\nmore\nnew\ndataset_description.json\nsub-00\n" {
			t.Errorf("it sees\n%s", out)
		}
		want = "deleted  README\nchanged  dataset_description.json\ndeleted  " + madeImage + "\ncreated  sub-00/new\n"
		if out := u.must("changes", dir); out != want {
			t.Errorf("changed is\n%s", out)
		}
		// Another selection of the same version is the same files.
		u.must("exec", "--dataset", made, "--run", "0", "--writable", dir, "--", "test", "-e", "{}/sub-00/new")
		var first struct{ Path, Change string }
		if err := json.NewDecoder(strings.NewReader(u.must("changes", "--json", dir))).Decode(&first); err != nil || first.Path != "README" || first.Change != "deleted" {
			t.Errorf("%+v, %v", first, err)
		}
		// What the view had is not known everywhere: then what replaced something is new.
		if r := u.run("changes", "--cache", u.path("none"), dir); !strings.Contains(r.out, "created  dataset_description.json\n") || !strings.Contains(r.out, "changed  sub-00/\n") || !strings.Contains(r.errout, "not known") {
			t.Errorf("%+v", r)
		}
		u.run("clean", "--all", "--cache", u.path("none"))
		if out := u.must("exec", "--dataset", made, "--", "sh", "-c", `cat {}/README; wc -c <{}/`+madeImage); out != "made for a test\n10000\n" {
			t.Errorf("without it the view is\n%s", out)
		}
		u.fails(7, nil, on("exit 7")...)
	})
}

// A directory takes what is written over one version, by one command at a time, and holds
// nothing else.
func TestExecWritableRefuses(t *testing.T) {
	asBoth(t, func(t *testing.T, u *user) {
		made, other := u.own(t, "one"), u.ownOf(t, files("two", 2, 100))
		dir := u.path("written")
		writes := func(dataset, dir string) []string {
			return []string{"exec", "--dataset", dataset, "--writable", dir, "--", "true"}
		}
		cmd := u.command(context.Background(), "exec", "--dataset", made, "--writable", dir, "--", "sh", "-c", "echo ready; read line")
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
		u.fails(6, []string{"another command writes there"}, writes(made, dir)...)
		in.Close()
		cmd.Wait()
		u.must(writes(made, dir)...)
		// What the command has started still writes there.
		flag := u.path("flag")
		u.must("exec", "--dataset", made, "--writable", dir, "--", "sh", "-c", `(while ! test -e "$0"; do sleep 0.05; done) >/dev/null 2>&1 &`, flag)
		u.fails(6, []string{"something that it has started"}, writes(made, dir)...)
		write(t, flag, "")
		eventually(t, "it is free", func() bool { return u.run(writes(made, dir)...).code == 0 })

		u.fails(6, []string{"was written over " + made, "--version", "another directory"}, writes(other, dir)...)
		os.WriteFile(u.path("full"), nil, 0o666)
		u.fails(6, []string{"cannot write to", "not a directory"}, writes(made, u.path("full"))...)
		os.Mkdir(u.path("mine"), 0o777)
		os.Chmod(u.path("mine"), 0o777)
		write(t, u.path("mine/thing"), "")
		u.fails(6, []string{`it holds "thing"`, "empty or new"}, writes(made, u.path("mine"))...)
		u.fails(6, []string{"inside the dataset"}, writes(made, filepath.Join(made, "w"))...)
		u.fails(6, []string{"inside the cache"}, writes(made, filepath.Join(u.cache, "w"))...)
		u.fails(6, []string{"the cache", "lies inside it"}, writes(made, u.dir)...)
		u.fails(6, []string{"what the view hides"}, "exec", "--dataset", made, "--at", u.path("mine"), "--writable", u.path("mine/w"), "--", "true")
		u.fails(6, []string{"no such file", "empty or new"}, writes(made, u.path("no/where"))...)
		u.fails(2, []string{"is not the DIR"}, "changes", u.path("mine"))
		u.fails(2, []string{"takes the DIR"}, "changes")
		// What was made for nothing is not left.
		u.fails(3, []string{"nothing matches"}, "exec", "--dataset", made, "--sub", "none", "--writable", u.path("new"), "--", "true")
		for _, path := range []string{u.path("new"), u.path("mine/w"), filepath.Join(made, "w")} {
			if _, err := os.Stat(path); err == nil {
				t.Errorf("%s is left", path)
			}
		}
	})
}

// Whoever is killed, nothing is mounted any more, and what was written is there.
func TestExecWritableThatIsKilled(t *testing.T) {
	asBoth(t, func(t *testing.T, u *user) {
		made, dir := u.own(t, "one"), u.path("written")
		for _, whom := range []string{"the program", "the command", "the daemon"} {
			cmd := u.command(context.Background(), "exec", "--dataset", made, "--writable", dir, "--", "sh", "-c", `echo "$0" >{}/out; echo $$; exec sleep 300`, whom)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			pid := 0
			if _, err := fmt.Fscan(out, &pid); err != nil {
				t.Fatal(err)
			}
			switch whom {
			case "the program":
				cmd.Process.Kill()
			case "the command":
				syscall.Kill(pid, syscall.SIGKILL)
			case "the daemon":
				syscall.Kill(u.daemon(), syscall.SIGKILL)
				eventually(t, "the daemon is gone", func() bool { return u.daemon() == 0 })
				cmd.Process.Signal(syscall.SIGTERM)
			}
			cmd.Wait()
			eventually(t, whom+" was killed, and nothing is left", func() bool {
				left := u.execs()
				if whom == "the program" { // it could not remove what it had made
					for _, l := range left {
						os.Remove(l)
					}
				}
				return syscall.Kill(pid, 0) != nil && len(left) == 0 && (u.daemon() == 0 || len(u.status().Mounts) == 0)
			})
			if text, err := os.ReadFile(filepath.Join(dir, "files/out")); string(text) != whom+"\n" {
				t.Errorf("it wrote %q, %v", text, err)
			}
		}
	})
}

// onOverlay mounts an overlay of two directories of the test's.
func onOverlay(t *testing.T, u *user, name string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can mount an overlay for others")
	}
	for _, dir := range []string{"lower", "upper", "work", ""} {
		path := filepath.Join(u.path(name), dir)
		if err := os.MkdirAll(path, 0o777); err != nil {
			t.Fatal(err)
		}
		os.Chmod(path, 0o777)
	}
	at := u.path(name)
	if err := unix.Mount("overlay", at, "overlay", 0, fmt.Sprintf("lowerdir=%s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", at)); err != nil {
		t.Skip("skipped: no overlay can be mounted here: ", err)
	}
	t.Cleanup(func() { takeAway(t, u, at) })
	return at
}

// The kernel puts no overlay over one that is over one: where it reads cached files
// through an overlay by itself, as in containers, it does not do so below another.
func TestExecWritableWithTheCacheOnAnOverlay(t *testing.T) {
	u := execUser(t)
	u.cache = filepath.Join(onOverlay(t, u, "container"), "cache")
	_, made := serve(t, u, files("one", 1, 20_000))
	out := u.must("exec", "--dataset", made.Dir, "--writable", u.path("written"), "--", "sh", "-ec",
		`wc -c <{}/`+madeImage+`; echo more >>{}/README; grep -o "{} .* - overlay " /proc/self/mountinfo | grep -o overlay`)
	if out != "10000\noverlay\n" {
		t.Errorf("it says\n%s", out)
	}
}

// A directory to write to is at its place in the view, also where that is read-only, and
// where there are derivatives in the dataset; none of it counts as written over the view.
func TestExecOutput(t *testing.T) {
	asBoth(t, func(t *testing.T, u *user) {
		d := files("one", 1, 20_000)
		d.Files = append(d.Files, maker.File{Path: "derivatives/old/dataset_description.json", Data: []byte(`{"Name":"old","BIDSVersion":"1.10.0"}`)})
		made := u.ownOf(t, d)
		out, comma := u.path("out"), u.path("out, too")
		on := func(args ...string) []string {
			return append([]string{"exec", "--dataset", made, "--derivatives=old", "--output", "tool=" + out, "--output", "other=" + comma}, args...)
		}
		said := u.must(on("--", "sh", "-ec", `cd {}; echo one >derivatives/tool/f; echo two >derivatives/other/f; ls derivatives; cat derivatives/old/*; ls; ! touch here 2>/dev/null; wc -c <`+madeImage)...)
		if said != "old\nother\ntool\n"+`{"Name":"old","BIDSVersion":"1.10.0"}`+"README\ndataset_description.json\nderivatives\nsub-00\n10000\n" {
			t.Errorf("it says\n%s", said)
		}
		for path, want := range map[string]string{out: "one\n", comma: "two\n"} {
			if text, err := os.ReadFile(filepath.Join(path, "f")); string(text) != want {
				t.Errorf("%s has %q, %v", path, text, err)
			}
		}
		dir := u.path("written")
		said = u.must(on("--writable", dir, "--", "sh", "-ec", `cd {}; cat derivatives/tool/f; echo more >>derivatives/tool/f; echo new >derivatives/new`)...)
		if said != "one\n" {
			t.Errorf("it says\n%s", said)
		}
		if said := u.must("changes", dir); said != "created  derivatives/new\n" {
			t.Errorf("changed is\n%s", said)
		}
		u.fails(2, []string{"NAME=DIR"}, "exec", "--dataset", made, "--output", "a/b="+out, "--", "true")
		u.fails(6, []string{"inside the dataset"}, "exec", "--dataset", made, "--output", "a="+made, "--", "true")
	})
}

// needHelper skips a test where fuse-overlayfs is missing.
func needHelper(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("fuse-overlayfs"); err != nil {
		t.Skip("skipped: no fuse-overlayfs on this machine")
	}
}

// helpers are the processes of fuse-overlayfs that write in a directory.
func helpers(dir string) (pids []string) {
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range procs {
		cmd, _ := os.ReadFile(p + "/cmdline")
		if !strings.Contains(string(cmd), "fuse-overlayfs\x00") {
			continue
		}
		fds, _ := filepath.Glob(p + "/fd/*")
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, dir) {
				pids = append(pids, filepath.Base(p))
				break
			}
		}
	}
	return pids
}

// Where the kernel puts no overlay, as with what is written on one, fuse-overlayfs does;
// it ends with the command.
func TestExecWritableWithFuseOverlayfs(t *testing.T) {
	needHelper(t)
	asBoth(t, func(t *testing.T, u *user) {
		made := u.own(t, "one")
		dir := filepath.Join(onOverlay(t, u, "container"), "written")
		t.Cleanup(func() { eventually(t, "no helper is left", func() bool { return len(helpers(dir)) == 0 }) })
		on := func(script string) []string {
			return []string{"exec", "--dataset", made, "--writable", dir, "--output", "tool=" + u.path("out"), "--", "sh", "-ec", "cd {}; " + script}
		}
		before := hashes(t, made)
		out := u.must(on(`
			mkdir -p derivatives/mine; echo new >derivatives/mine/out; echo out >derivatives/tool/f
			echo more >>README; echo other >t; mv t dataset_description.json
			wc -c <` + madeImage + `; rm -r sub-00; mkdir sub-00; echo again >sub-00/new`)...)
		if out != "10000\n" {
			t.Errorf("it says\n%s", out)
		}
		if after := hashes(t, made); !maps.Equal(after, before) {
			t.Errorf("the dataset was %v, and is %v", before, after)
		}
		want := "changed  README\nchanged  dataset_description.json\ncreated  derivatives/mine/out\ndeleted  " + madeImage + "\ncreated  sub-00/new\n"
		if out := u.must("changes", dir); out != want {
			t.Errorf("changed is\n%s", out)
		}
		if out := u.must(on(`cat README derivatives/tool/f; rm README; ls . sub-00`)...); out != "made for a test\nmore\nout\n.:\ndataset_description.json\nderivatives\nsub-00\n\nsub-00:\nnew\n" {
			t.Errorf("it sees\n%s", out)
		}
		if out := u.must("changes", dir); !strings.HasPrefix(out, "deleted  README\n") {
			t.Errorf("changed is\n%s", out)
		}
		cmd := u.command(context.Background(), on(`echo last >last; echo ready; exec sleep 300`)...)
		ready, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ready.Read(make([]byte, 6))
		if len(helpers(dir)) == 0 {
			t.Error("there is no fuse-overlayfs")
		}
		cmd.Process.Kill()
		cmd.Wait()
		eventually(t, "nothing is left of a program that was killed", func() bool {
			for _, l := range u.execs() {
				os.Remove(l)
			}
			return len(helpers(dir)) == 0 && len(u.status().Mounts) == 0
		})
		if text, err := os.ReadFile(filepath.Join(dir, "files/last")); string(text) != "last\n" {
			t.Errorf("it wrote %q, %v", text, err)
		}

		// Without it there is nothing to be done, and what to do is said.
		bin := u.path("bin")
		os.Mkdir(bin, 0o755)
		for _, name := range []string{"git", "sh", "true"} {
			path, err := exec.LookPath(name)
			if err != nil {
				t.Fatal(err)
			}
			os.Symlink(path, filepath.Join(bin, name))
		}
		u.env = append(u.env, "PATH="+bin)
		u.fails(6, []string{"cannot write to " + dir, "fuse-overlayfs is missing", "apt-get install fuse-overlayfs"}, on("true")...)
		other := filepath.Join(u.path("container"), "other")
		u.fails(6, []string{"cannot write to " + other, "the kernel's overlayfs refuses", "another file system"}, "exec", "--dataset", made, "--writable", other, "--", "true")
	})
}

// A directory on FUSE is refused, also by its name.
func TestExecWritableOnFUSE(t *testing.T) {
	needHelper(t)
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can mount something for others")
	}
	u := execUser(t)
	made := u.own(t, "one")
	for _, dir := range []string{"lower", "upper", "work", "fuse"} {
		os.Mkdir(u.path(dir), 0o777)
	}
	if out, err := exec.Command("fuse-overlayfs", "-o", fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", u.path("lower"), u.path("upper"), u.path("work")), u.path("fuse")).CombinedOutput(); err != nil {
		t.Skipf("skipped: %v: %s", err, out)
	}
	t.Cleanup(func() { takeAway(t, u, u.path("fuse")) })
	u.fails(6, []string{"it lies on FUSE", "local disk"}, "exec", "--dataset", made, "--writable", u.path("fuse/written"), "--", "true")
	if _, err := os.Stat(u.path("fuse/written")); err == nil {
		t.Error("what was made for nothing is left")
	}
	// What is only shown there may lie anywhere.
	u.must("exec", "--dataset", made, "--output", "tool="+u.path("fuse/out"), "--", "touch", "{}/derivatives/tool/f")
	if _, err := os.Stat(u.path("fuse/out/f")); err != nil {
		t.Error(err)
	}
}

// noNamespaces runs a program as an ordinary user whom the kernel gives none.
const noNamespaces = `
import ctypes, errno, os, struct, sys
new_user, errno_, allow = 0x10000000, 0x50000, 0x7fff0000
clone, unshare, clone3 = {"x86_64": (56, 272, 435), "aarch64": (220, 97, 435)}[os.uname().machine]
code = [(0x20, 0, 0, 0), (0x15, 0, 1, clone3), (0x06, 0, 0, errno_ | errno.ENOSYS), (0x15, 1, 0, clone), (0x15, 0, 3, unshare),
        (0x20, 0, 0, 16), (0x45, 0, 1, new_user), (0x06, 0, 0, errno_ | errno.EPERM), (0x06, 0, 0, allow)]
text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *c) for c in code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(text)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(22, 2, ctypes.c_ulong(ctypes.addressof(program)), 0, 0):
    sys.exit("no filter: " + os.strerror(ctypes.get_errno()))
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
os.execv(sys.argv[2], sys.argv[2:])
`

// Where an ordinary user can have no namespaces, the daemon keeps what is written, with
// fusermount3 and fuse-overlayfs; without these nothing can be, and it is said.
func TestExecWritableWithoutNamespaces(t *testing.T) {
	u := execUser(t)
	u.becomeOrdinary()
	needNamespaces(t, u)
	made, dir := u.own(t, "one"), u.path("written")
	filtered := func(args ...string) *exec.Cmd {
		cmd := exec.Command("python3", append([]string{"-c", noNamespaces, fmt.Sprint(u.uid), binary}, args...)...)
		cmd.Env = u.command(context.Background()).Env
		return cmd
	}
	t.Run("with fusermount3", func(t *testing.T) {
		needHelper(t)
		cmd := filtered("exec", "--dataset", made, "--writable", dir, "--", "sh", "-ec", "cd {}; echo more >>README; cat README; exit 5")
		if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 5 || string(out) != "made for a test\nmore\n" {
			t.Errorf("%v: %s", cmd.ProcessState, out)
		}
		if out := u.must("changes", dir); out != "changed  README\n" {
			t.Errorf("changed is\n%s", out)
		}
		eventually(t, "nothing is left", func() bool { return len(helpers(dir)) == 0 && len(u.execs()) == 0 })
		cmd = filtered("exec", "--dataset", made, "--output", "a="+u.path("out"), "--", "true")
		if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 6 || !strings.Contains(string(out), "gives no namespaces") {
			t.Errorf("%v: %s", cmd.ProcessState, out)
		}
	})
	t.Run("without", func(t *testing.T) {
		// In a namespace of the user's, fusermount3 has no rights.
		os.Mkdir(u.path("at"), 0o777)
		for words, at := range map[string][]string{"gives no namespaces": {"--at", u.path("at")}, "mounting is not permitted": nil} {
			args := slices.Concat([]string{"--user", "--map-current-user", "--keep-caps", "sh", "-c", `echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"`, "sh", binary,
				"exec", "--cache", u.path("other"), "--dataset", made, "--writable", u.path("new")}, at, []string{"--", "true"})
			cmd := u.plain("unshare", args...)
			cmd.Env = u.command(context.Background()).Env
			out, err := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != 6 || !strings.Contains(string(out), words) {
				t.Errorf("%v: exit %d, %v: %s", at, code, err, out)
			}
		}
		if _, err := os.Stat(u.path("new")); err == nil {
			t.Error("what was made for nothing is left")
		}
	})
}

// A mount that is written to is so for everybody that may look at it, and unmounting
// takes all of it away; also for an ordinary user, by fuse-overlayfs.
func TestMountWritable(t *testing.T) {
	asBothMounting(t, func(t *testing.T, u *user) {
		made, dir, mnt := u.own(t, "one"), u.path("written"), u.path("mnt")
		before := hashes(t, made)
		mount := []string{"mount", "--dataset", made, "--writable", dir, mnt}
		script := func(s string) string {
			out, err := u.plain("sh", "-ec", "cd "+mnt+"; "+s).CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
			return string(out)
		}
		u.must(mount...)
		script(`echo more >>README; mkdir -p derivatives; echo new >derivatives/out; rm -r sub-00; mkdir sub-00`)
		if out := u.must("changes", dir); out != "changed  README\ncreated  derivatives/out\ndeleted  "+madeImage+"\n" {
			t.Errorf("changed is\n%s", out)
		}
		if !strings.Contains(u.must("status"), "written files are kept in "+dir) {
			t.Errorf("it says\n%s", u.must("status"))
		}
		if out := u.must("status", filepath.Join(mnt, madeImage)); !strings.Contains(out, madeImage) {
			t.Errorf("it says\n%s", out)
		}
		// Others may look at it where they may at a mount that is read-only.
		if os.Geteuid() == 0 {
			os.Chmod(u.dir, 0o755)
			look := exec.Command("ls", mnt)
			look.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
			if out, err := look.CombinedOutput(); err == nil {
				t.Errorf("others see %s", out)
			}
		}
		u.fails(6, []string{"another command"}, "mount", "--dataset", made, "--writable", dir, u.path("other"))
		// In use it stays as it is.
		cmd := u.plain("sh", "-c", "cd "+mnt+" && echo ready && exec sleep 300")
		ready, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ready.Read(make([]byte, 6))
		u.fails(6, []string{"in use"}, "unmount", mnt)
		script(`echo still >still`)
		u.must("unmount", "--force", mnt)
		cmd.Process.Kill()
		cmd.Wait()
		if at := mountsAt(t, mnt); len(at) > 0 {
			t.Errorf("mounted is %q", at)
		}
		eventually(t, "the directory is free", func() bool { return u.run(mount...).code == 0 })
		if out := script(`ls; cat still README`); out != "README\ndataset_description.json\nderivatives\nstill\nsub-00\nstill\nmade for a test\nmore\n" {
			t.Errorf("it shows\n%s", out)
		}
		if after := hashes(t, made); !maps.Equal(after, before) {
			t.Errorf("the dataset was %v, and is %v", before, after)
		}
		u.must("unmount", "--clean", mnt)
		if at := mountsAt(t, mnt); len(at) > 0 {
			t.Errorf("mounted is %q", at)
		}
		if _, err := os.Stat(u.cache); err == nil {
			t.Error("the cache is left")
		}
		eventually(t, "no helper is left", func() bool { return len(helpers(dir)) == 0 })
		u.fails(2, []string{"one dataset"}, "mount", "--catalog", made, "--writable", dir, mnt)
		u.fails(2, []string{"one dataset"}, "mount", "--dataset", made, "--writable", dir, "/dev/fd/0")
		u.fails(6, []string{"inside the dataset"}, "mount", "--dataset", made, "--writable", made+"/w", mnt)
	})
}

// asBothMounting is asBoth for mounts that others see.
func asBothMounting(t *testing.T, test func(t *testing.T, u *user)) {
	for name, ordinary := range map[string]bool{"this user": false, "an ordinary user": true} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			if ordinary {
				u.becomeOrdinary()
			}
			if u.uid != 0 || os.Geteuid() != 0 {
				needHelper(t)
			}
			test(t, u)
		})
	}
}

// mountsAt are the lines of mountinfo of what is mounted at a path.
func mountsAt(t *testing.T, path string) (lines []string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, " "+path+" ") {
			lines = append(lines, line)
		}
	}
	return lines
}

// Whatever of a mount is killed, or taken away by others, nothing of it stays, and what
// was written is there.
func TestMountWritableThatIsKilled(t *testing.T) {
	asBothMounting(t, func(t *testing.T, u *user) {
		made, dir, mnt := u.own(t, "one"), u.path("written"), u.path("mnt")
		mount := []string{"mount", "--dataset", made, "--writable", dir, mnt}
		u.must(mount...)
		if out, err := u.plain("touch", filepath.Join(mnt, "f")).CombinedOutput(); err != nil {
			t.Fatalf("%s, %v", out, err)
		}
		syscall.Kill(u.daemon(), syscall.SIGKILL)
		eventually(t, "the daemon is gone", func() bool { return u.daemon() == 0 })
		eventually(t, "no helper is left", func() bool { return len(helpers(dir)) == 0 })
		u.must(mount...)
		if at := mountsAt(t, mnt); len(at) != 1 {
			t.Errorf("mounted is %q", at)
		}
		if out, err := u.plain("ls", mnt).CombinedOutput(); string(out) != "README\ndataset_description.json\nf\nsub-00\n" {
			t.Errorf("it shows %s, %v", out, err)
		}
		if pids := helpers(dir); len(pids) > 0 {
			for _, p := range pids {
				pid, _ := strconv.Atoi(p)
				syscall.Kill(pid, syscall.SIGKILL)
			}
			eventually(t, "the view goes with what was over it", func() bool { return len(u.status().Mounts) == 0 && len(mountsAt(t, mnt)) == 0 })
			u.must(mount...)
		}
		// Who takes it away by other means takes away all of it.
		if out, err := u.plain("fusermount3", "-u", mnt).CombinedOutput(); err != nil {
			if out, err := exec.Command("umount", mnt).CombinedOutput(); err != nil {
				t.Error(string(out), err)
			}
			t.Logf("fusermount3: %s", out)
		}
		eventually(t, "the view goes, too", func() bool { return len(u.status().Mounts) == 0 })
		u.must(mount...)
		syscall.Kill(u.daemon(), syscall.SIGTERM)
		eventually(t, "all has ended", func() bool { return u.daemon() == 0 && len(mountsAt(t, mnt)) == 0 && len(helpers(dir)) == 0 })
	})
}
