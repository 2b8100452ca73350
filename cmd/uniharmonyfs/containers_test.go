package main_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// podman is one whose home, and whatever it starts, is in namespaces that go with each
// command.
type podman struct {
	u    *user
	root string // of its containers
	env  []string
}

// newPodman skips a test where podman runs no container: in a chroot, and where an
// administrator has forbidden it.
func newPodman(t *testing.T, u *user) *podman {
	t.Helper()
	if _, err := exec.LookPath("podman"); err != nil {
		t.Skip("skipped: podman is not installed")
	}
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root keeps apart what podman leaves")
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	write(t, u.path("containers.conf"), fmt.Sprintf(`[containers]
cgroups = "disabled"
default_ulimits = ["nofile=%d:%[1]d", "nproc=1000:1000"]
log_driver = "none"
netns = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
`, min(files.Max, 1024)))
	// Podman 4.3 waits twenty seconds for each container whose paths are too long for sockets.
	const home = "/run/podman"
	write(t, u.path("storage.conf"), `[storage]
driver = "vfs"
graphroot = "`+home+`/storage"
rootless_storage_path = "`+home+`/storage"
runroot = "`+home+`/runroot"
`)
	p := &podman{u: u, root: rootFS(t, u), env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_RUNTIME_DIR=" + home + "/run", "TMPDIR=" + home,
		"CONTAINERS_CONF=" + u.path("containers.conf"), "CONTAINERS_STORAGE_CONF=" + u.path("storage.conf"),
	}}
	if out, err := p.run(nil, "true"); err != nil {
		t.Skipf("skipped: podman runs no container here: %s", lastLine(out))
	}
	return p
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// args are those of podman that run a command in a container.
func (p *podman) args(options []string, command ...string) []string {
	args := append([]string{"podman", "run", "--rm"}, options...)
	return append(append(args, "--rootfs", p.root), command...)
}

// apart runs a command of the user's in namespaces that go with it, where what is
// unmounted here is unmounted, too.
func (p *podman) apart(args ...string) *exec.Cmd {
	cmd := exec.Command("unshare", append([]string{"--mount", "--propagation=slave", "--pid", "--fork", "--kill-child", "--mount-proc",
		"sh", "-c", apart + `setpriv --reuid=$0 --regid=$0 --clear-groups "$@"; exit $?`, fmt.Sprint(p.u.uid)}, args...)...)
	cmd.Dir, cmd.Env = p.u.dir, p.env
	return cmd
}

// apart is what is private there. Some runtimes refuse what is between both versions of
// cgroups.
const apart = `test ! -e /sys/fs/cgroup/unified || mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup
for dir in /run /dev/shm /var/tmp /var/lib/containers; do test ! -d $dir || mount -t tmpfs none $dir; done
mkdir -p /run/podman/run && chown -R $0:$0 /run/podman || exit 1
`

// run returns what a command in a container says, with what podman does if it fails.
func (p *podman) run(options []string, command ...string) (string, error) {
	return p.output(p.apart(p.args(options, command...)...))
}

// output is that of a command with podman.
func (p *podman) output(cmd *exec.Cmd) (string, error) {
	out, bad := p.file(), p.file()
	defer out.Close()
	defer bad.Close()
	cmd.Stdout, cmd.Stderr = out, bad
	err := cmd.Run()
	said := read(p.u.t, out.Name())
	if err != nil {
		said += read(p.u.t, bad.Name())
	}
	return said, err
}

func (p *podman) file() *os.File {
	f, err := os.CreateTemp(p.u.dir, "said-")
	if err != nil {
		p.u.t.Fatal(err)
	}
	return f
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// begun is a container with a script that waits for a word.
type begun struct {
	*exec.Cmd
	word string // the file
	out  string // the file of what it says
}

// wait is how a script waits for it.
const wait = "while test ! -e /word/said; do sleep 0.05; done; "

// begin returns when a script begins.
func (p *podman) begin(t *testing.T, options []string, script string) *begun {
	t.Helper()
	dir, err := os.MkdirTemp(p.u.dir, "word-")
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0o755)
	options = append(options, "-v", dir+":/word:ro")
	r := &begun{Cmd: p.apart(p.args(options, "sh", "-c", "echo begun; "+script)...), word: filepath.Join(dir, "said")}
	out := p.file()
	defer out.Close()
	r.Stdout, r.Stderr, r.out = out, out, out.Name()
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Process.Kill(); r.Wait() })
	eventually(t, "the container has begun", func() bool { return strings.Contains(read(t, r.out), "begun\n") })
	return r
}

// end says the word, and waits for the end.
func (r *begun) end(t *testing.T, code int) {
	t.Helper()
	write(t, r.word, "")
	if r.Wait(); r.ProcessState.ExitCode() != code {
		t.Errorf("the container ended with %v, not %d: %s", r.ProcessState, code, read(t, r.out))
	}
}

// A container lists a mount that it is given, and fetches what it reads. Others than
// its users cannot look, and nobody can write.
func TestPodman(t *testing.T) {
	t.Parallel()
	asBoth(t, func(t *testing.T, u *user) {
		p := newPodman(t, u)
		s, made := serve(t, u, files("one", 2, 20_000))
		mnt, look := u.path("mnt"), "ls /data; touch /data/new 2>/dev/null || echo read-only; sha256sum </data/"+oneImage
		want := fmt.Sprintf("README\ndataset_description.json\nsub-00\nread-only\n%x  -\n", sha256.Sum256(contents(t, made)[oneImage]))
		u.must("mount", "--no-readahead", "--dataset", s.GitURL(made), mnt)
		if n := s.Counts().Bytes; n != 0 {
			t.Errorf("before it is read, %d bytes were sent", n)
		}
		if out, err := p.run([]string{"-v", mnt + ":/data:ro"}, "sh", "-c", look); err != nil || out != want {
			t.Errorf("%v, it says %q", err, out)
		}
		if st := u.status(); st.Store.Objects != 1 {
			t.Errorf("%d objects are cached, not the one that was read", st.Store.Objects)
		}

		// One that is killed holds nothing.
		killed := p.begin(t, []string{"-v", mnt + ":/data:ro"}, "cd /data; "+wait)
		killed.Process.Kill()
		killed.Wait()
		u.must("unmount", mnt)

		// For one command.
		u.cache = u.ownDir("other")
		cmd := u.command(context.Background(), append([]string{"exec", "--dataset", s.GitURL(made), "--"}, p.args([]string{"-v", "{}:/data:ro"}, "sh", "-c", look)...)...)
		both := p.apart(cmd.Args...)
		both.Env = append(cmd.Env, p.env...)
		if out, err := p.output(both); err != nil || out != want {
			t.Errorf("%v, with exec it says %q", err, out)
		}
	})
}

// A mount that is unmounted while a container has it is there for that container until
// the daemon, or the container, ends.
func TestPodmanAndUnmount(t *testing.T) {
	t.Parallel()
	asBoth(t, func(t *testing.T, u *user) {
		p := newPodman(t, u)
		made := u.own(t, "one")
		dir := u.sharedDir()
		mnt := filepath.Join(dir, "mnt")
		u.must("mount", "--dataset", made, mnt)
		r := p.begin(t, []string{"-v", mnt + ":/data:ro"}, "ls /data; "+wait+"ls /data/sub-00 2>&1; cat /data/README 2>&1; exit 5")
		u.must("unmount", mnt)
		if entries, err := os.ReadDir(mnt); err != nil || len(entries) > 0 {
			t.Errorf("outside, %v, %v are there", entries, err)
		}
		if st := u.status(); len(st.Mounts) != 0 {
			t.Errorf("%+v", st.Mounts)
		}
		u.leaveDaemon()
		r.end(t, 5)
		if said := read(t, r.out); !strings.Contains(said, "sub-00\n") || !strings.Contains(said, "not connected") {
			t.Errorf("it says %q", said)
		}
	})
}

// A mount that is made after a container began comes, and goes, with rslave, and not
// without.
func TestPodmanAndLaterMounts(t *testing.T) {
	t.Parallel()
	asBoth(t, func(t *testing.T, u *user) {
		p := newPodman(t, u)
		made := u.own(t, "one")
		dir := u.sharedDir()
		mnt := filepath.Join(dir, "mnt")
		if err := os.Mkdir(mnt, 0o755); err != nil {
			t.Fatal(err)
		}
		os.Chown(mnt, int(u.uid), int(u.uid))
		with := p.begin(t, []string{"-v", dir + ":/data:ro,rslave"}, wait+"ls /data/mnt; while test -e /data/mnt/README; do sleep 0.05; done; echo gone")
		without := p.begin(t, []string{"-v", dir + ":/data:ro"}, wait+"ls /data/mnt")
		u.must("mount", "--dataset", made, mnt)
		without.end(t, 0)
		write(t, with.word, "")
		eventually(t, "it has looked", func() bool { return strings.Contains(read(t, with.out), "sub-00\n") })
		u.must("unmount", mnt)
		with.end(t, 0)
		if !strings.Contains(read(t, with.out), "sub-00") || strings.Contains(read(t, without.out), "sub-00") {
			t.Errorf("with rslave %q, without %q", read(t, with.out), read(t, without.out))
		}
	})
}

// What a container of root's is given of another user's mount must be open to others,
// which /etc/fuse.conf must allow.
func TestPodmanOfRoot(t *testing.T) {
	t.Parallel()
	u := execUser(t)
	u.becomeOrdinary()
	root := &user{t: t, dir: u.dir}
	p := newPodman(t, root)
	made := u.own(t, "one")
	mnt := u.path("mnt")
	conf := u.path("fuse.conf")
	write(t, conf, "user_allow_other\n")
	inside := p.args([]string{"-v", mnt + ":/data:ro"}, "ls", "/data")
	for _, c := range []struct {
		flag, conf string
		works      bool
		says       string
	}{
		{"--allow-other", "/dev/null", false, "user_allow_other"},
		{"--verify=auto", conf, false, "ermission denied"},
		{"--allow-other", conf, true, "sub-00"},
	} {
		cmd := u.command(context.Background(), "mount", "--dataset", made, c.flag, mnt)
		script := apart + `mount --bind ` + c.conf + ` /etc/fuse.conf
			setpriv --reuid=` + fmt.Sprint(u.uid) + ` --regid=` + fmt.Sprint(u.uid) + ` --clear-groups "$@" && ` + shellWords(inside)
		both := exec.Command("unshare", append([]string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "0"}, cmd.Args...)...)
		both.Env, both.Dir = append(cmd.Env, p.env...), u.dir
		if out, err := p.output(both); (err == nil) != c.works || !strings.Contains(out, c.says) {
			t.Errorf("%s, %s: %v, it says %s", c.flag, c.conf, err, out)
		}
	}
}

func shellWords(args []string) string {
	var quoted []string
	for _, a := range args {
		quoted = append(quoted, "'"+strings.ReplaceAll(a, "'", `'\''`)+"'")
	}
	return strings.Join(quoted, " ")
}

// sharedDir makes a directory where mounts come and go in other namespaces as they do here.
func (u *user) sharedDir() string {
	u.t.Helper()
	if os.Geteuid() != 0 {
		u.t.Skip("skipped: only root can make a directory whose mounts are shared")
	}
	dir := u.ownDir("shared")
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	if err := unix.Mount("", dir, "", unix.MS_SHARED, ""); err != nil {
		u.t.Fatal(err)
	}
	return dir
}

// Bubblewrap shows a mount to a command, and exec one for that command alone.
func TestBubblewrap(t *testing.T) {
	t.Parallel()
	asBoth(t, func(t *testing.T, u *user) {
		if _, err := exec.LookPath("bwrap"); err != nil {
			t.Skip("skipped: bubblewrap is not installed")
		}
		bwrap := []string{"bwrap", "--die-with-parent", "--unshare-pid", "--ro-bind", rootFS(t, u), "/", "--proc", "/proc", "--dev", "/dev", "--ro-bind"}
		if out, err := u.plain("bwrap", append(bwrap[1:], u.dir, "/data", "true")...).CombinedOutput(); err != nil {
			t.Skipf("skipped: bubblewrap runs nothing here: %s", lastLine(string(out)))
		}
		s, made := serve(t, u, files("one", 2, 20_000))
		look := []string{"/data", "sh", "-c", "ls /data; touch /data/new 2>/dev/null || echo read-only; sha256sum </data/" + oneImage}
		want := fmt.Sprintf("README\ndataset_description.json\nsub-00\nread-only\n%x  -\n", sha256.Sum256(contents(t, made)[oneImage]))
		mnt := u.path("mnt")
		u.must("mount", "--no-readahead", "--dataset", s.GitURL(made), mnt)
		if out, err := u.plain("bwrap", append(append(bwrap[1:], mnt), look...)...).Output(); err != nil || string(out) != want {
			t.Errorf("%v, it says %q", err, out)
		}
		if st := u.status(); st.Store.Objects != 1 {
			t.Errorf("%d objects are cached, not the one that was read", st.Store.Objects)
		}
		killed := u.plain("bwrap", append(append(bwrap[1:], mnt), "/data", "sh", "-c", "cd /data; echo in; exec sleep 300")...)
		out, err := killed.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := killed.Start(); err != nil {
			t.Fatal(err)
		}
		if n, err := out.Read(make([]byte, 3)); n != 3 {
			t.Error(n, err)
		}
		killed.Process.Kill()
		killed.Wait()
		u.must("unmount", mnt)
		if out := u.must(append(append(append([]string{"exec", "--dataset", s.GitURL(made), "--"}, bwrap...), "{}"), look...)...); out != want {
			t.Errorf("with exec it says %q", out)
		}
	})
}
