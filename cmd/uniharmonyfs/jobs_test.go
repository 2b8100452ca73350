package main_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/place"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// cgroup is a control group of the test's, as batch systems make them for jobs.
type cgroup struct {
	t    *testing.T
	path string
	dir  *os.File
}

// newCgroup makes a control group, where this process may.
func newCgroup(t *testing.T) *cgroup {
	t.Helper()
	at := cgroupFS(t)
	dir, err := os.MkdirTemp(at, "uniharmonyfs-test-")
	if err != nil {
		t.Skip("skipped: no control group can be made here: ", err)
	}
	g := &cgroup{t: t, path: dir}
	if g.dir, err = os.Open(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.kill()
		eventually(t, "the control group goes", func() bool { return os.Remove(dir) == nil })
		g.dir.Close()
	})
	return g
}

// cgroupFS is where version 2 of the control groups is mounted: it is here, where it is
// not yet.
func cgroupFS(t *testing.T) string {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); strings.Contains(line, " - cgroup2 ") && f[3] == "/" {
			return f[4]
		}
	}
	at := t.TempDir()
	if err := unix.Mount("none", at, "cgroup2", 0, ""); err != nil {
		t.Skip("skipped: no control groups here: ", err)
	}
	t.Cleanup(func() { unix.Unmount(at, unix.MNT_DETACH) })
	return at
}

// has a command run in the group.
func (g *cgroup) has(cmd *exec.Cmd) *exec.Cmd {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(g.dir.Fd())
	return cmd
}

// kill kills all that is in the group at once.
func (g *cgroup) kill() {
	if err := os.WriteFile(filepath.Join(g.path, "cgroup.kill"), []byte("1"), 0); err != nil {
		g.t.Error(err)
	}
}

func (g *cgroup) processes() string {
	procs, err := os.ReadFile(filepath.Join(g.path, "cgroup.procs"))
	if err != nil {
		g.t.Fatal(err)
	}
	return string(procs)
}

// work is a shell that runs on a view and is told what to do a line at a time.
type work struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errout *os.File
}

// said is what the program itself has said so far.
func (w *work) said() string {
	out, err := os.ReadFile(w.errout.Name())
	if err != nil {
		w.t.Fatal(err)
	}
	return string(out)
}

// exec runs exec in a control group; nil is none.
func (u *user) exec(t *testing.T, in *cgroup, args ...string) *work {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	w := &work{t: t, cmd: u.command(ctx, append(append([]string{"exec"}, args...), "--", "sh", "-c", `cd "$UNIHARMONYFS_MOUNT"; echo ready; while read line; do eval "$line" 2>&1; echo "-- $?"; done`)...)}
	if in != nil {
		in.has(w.cmd)
	}
	var err error
	if w.errout, err = os.CreateTemp(t.TempDir(), ""); err != nil {
		t.Fatal(err)
	}
	defer w.errout.Close()
	w.cmd.Stderr = w.errout
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.out = bufio.NewReader(out)
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.in.Close(); w.cmd.Wait() })
	if line, err := w.out.ReadString('\n'); err != nil || line != "ready\n" {
		w.cmd.Wait()
		t.Fatalf("%q, %v: %s", line, err, w.said())
	}
	return w
}

// does returns what a line brings; it is to succeed.
func (w *work) does(line string) (out string) {
	w.t.Helper()
	fmt.Fprintln(w.in, line)
	for {
		said, err := w.out.ReadString('\n')
		if err != nil {
			w.t.Fatalf("%s: %v after %q", line, err, out)
		}
		if code, ended := strings.CutPrefix(said, "-- "); ended {
			if code != "0\n" {
				w.t.Errorf("%s: it ends with %s after %q", line, strings.TrimSpace(code), out)
			}
			return out
		}
		out += said
	}
}

func (w *work) ends() {
	w.t.Helper()
	w.in.Close()
	if err := w.cmd.Wait(); err != nil {
		w.t.Errorf("%v: %s", err, w.said())
	}
}

// daemons are the processes of all daemons of the user, with their control groups.
func (u *user) daemons() (in []string) {
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range procs {
		cmd, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		if bytes.HasPrefix(cmd, []byte(binary+"\x00daemon\x00--cache\x00"+u.dir+"/")) {
			in = append(in, filepath.Base(p))
		}
	}
	return in
}

// rooms are what is left of commands that had a cache of their own.
func (u *user) rooms() []string {
	left, err := filepath.Glob(filepath.Join(u.dir, "uniharmonyfs-job-*"))
	if err != nil {
		u.t.Fatal(err)
	}
	return left
}

// jobUser is one whose commands leave nothing.
func jobUser(t *testing.T, u *user) {
	t.Cleanup(func() {
		if left := u.rooms(); len(left) > 0 {
			t.Errorf("left are %q", left)
		}
		if left := u.daemons(); len(left) > 1 { // the usual one has a moment
			t.Errorf("left are the daemons %q", left)
		}
	})
}

const first, second = "sub-00/anat/sub-00_run-000_T1w.nii.gz", "sub-00/anat/sub-00_run-001_T1w.nii.gz"

// Two jobs on one machine disturb each other in nothing, whatever of them is killed, and
// bring only what the other does not have.
func TestJobsInTwoControlGroups(t *testing.T) {
	asBoth(t, func(t *testing.T, u *user) {
		jobUser(t, u)
		one, two := newCgroup(t), newCgroup(t)
		s, made := serve(t, u, files("one", 3, 20_000))
		sum := func(path string) string { return contentSum(t, made, path) + "  " + path + "\n" }
		with := []string{"--dataset", s.GitURL(made)}
		a := u.exec(t, one, with...)
		if got := a.does("sha256sum " + first); got != sum(first) {
			t.Errorf("%q", got)
		}
		git := asked(s)
		b := u.exec(t, two, with...)
		if n := git(); n != 0 {
			t.Errorf("%d requests for the list of files", n)
		}
		host, _ := os.Hostname()
		said := fmt.Sprintf("is served by process %d on the host %s: it belongs to the control group /%s", u.daemon(), host, filepath.Base(one.path))
		if !strings.Contains(b.said(), said) {
			t.Errorf("it does not say %q: %s", said, b.said())
		}
		if got := b.does("sha256sum " + first); got != sum(first) || s.Counts().Bytes != 0 {
			t.Errorf("%q; %d bytes more were sent", got, s.Counts().Bytes)
		}
		for _, pid := range u.daemons() {
			in := one
			if strings.Contains(cmdline(pid), "/uniharmonyfs-job-") {
				in = two
			}
			if !strings.Contains("\n"+in.processes(), "\n"+pid+"\n") {
				t.Errorf("process %s is in another control group", pid)
			}
		}
		// The job's own end of what it has open is no end of it for the other.
		b.does("exec 3<" + first)
		one.kill()
		a.cmd.Wait()
		if got := b.does("sha256sum " + first + " " + second + "; sha256sum <&3"); got != sum(first)+sum(second)+contentSum(t, made, first)+"  -\n" {
			t.Errorf("%q", got)
		}
		b.ends()
		// When the program alone is killed, its daemon clears up.
		b = u.exec(t, two, with...)
		b.cmd.Process.Kill()
		b.cmd.Wait()
		eventually(t, "nothing is left", func() bool { return len(u.rooms()) == 0 && len(u.daemons()) == 0 })
		// What was killed all at once, the next one clears up.
		b = u.exec(t, two, with...)
		b.does("cat " + second + " | wc -c")
		two.kill()
		b.cmd.Wait()
		u.exec(t, nil, with...).ends()
		if left := append(u.rooms(), u.execs()...); len(left) > 0 {
			t.Errorf("left are %q", left)
		}
	})
}

func cmdline(pid string) string {
	raw, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
	return strings.ReplaceAll(string(raw), "\x00", " ")
}

// A connection that a container's program has mounted is served by a daemon of the
// container, whoever else serves the cache.
func TestMountOfADescriptorInAnotherControlGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can mount here without fusermount3")
	}
	u := execUser(t)
	jobUser(t, u)
	one, two := newCgroup(t), newCgroup(t)
	made := u.own(t, "one")
	a := u.exec(t, one, "--dataset", made)
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
	cmd := two.has(u.command(t.Context(), "mount", "--dataset", made, "/dev/fd/3", "-f"))
	cmd.ExtraFiles = []*os.File{device}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	device.Close()
	reads := func() bool {
		out, err := exec.Command("sha256sum", filepath.Join(at, first)).Output()
		return err == nil && len(out) > 0
	}
	eventually(t, "it is served", reads)
	one.kill()
	a.cmd.Wait()
	if !reads() {
		t.Error("it ended with the other's control group")
	}
	if err := unix.Unmount(at, 0); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(said.String(), "cache of its own") {
		t.Errorf("%v: %s", err, said.String())
	}
}

// A mount is not made by a daemon that may go before it, and says whose that is; one that
// has nothing to do makes way.
func TestMountInAnotherControlGroup(t *testing.T) {
	u := execUser(t)
	one, two := newCgroup(t), newCgroup(t)
	made := u.own(t, "one")
	mount := func(in *cgroup) (string, error) {
		out, err := in.has(u.command(t.Context(), "mount", "--dataset", made, u.path("mnt"))).CombinedOutput()
		return string(out), err
	}
	if out, err := one.has(u.command(t.Context(), "list", "--dataset", made)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	idle := fmt.Sprint(u.daemon())
	if out, err := mount(two); err != nil || !strings.Contains("\n"+two.processes(), fmt.Sprintf("\n%d\n", u.daemon())) {
		t.Fatalf("beside the idle daemon %s: %v: %s", idle, err, out)
	}
	out, err := mount(one)
	if said := fmt.Sprintf("is served by process %d on the host ", u.daemon()); err == nil || !strings.Contains(out, said) || !strings.Contains(out, "uniharmonyfs exec") || !strings.Contains(out, "--cache DIR") {
		t.Errorf("beside a mount: %v: %s", err, out)
	}
	if _, err := os.ReadFile(filepath.Join(u.path("mnt"), first)); err != nil {
		t.Error(err)
	}
	// What mounts nothing may ask any.
	if out, err := one.has(u.command(t.Context(), "status")).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	u.must("unmount", u.path("mnt"))
}

// A command in other namespaces has a daemon there; a mount there is refused.
func TestDaemonInAnotherNamespace(t *testing.T) {
	asBoth(t, func(t *testing.T, u *user) {
		jobUser(t, u)
		made := u.own(t, "one")
		u.must("mount", "--dataset", made, u.path("mnt"))
		in := func(args ...string) *exec.Cmd {
			flags := []string{"--mount"}
			if u.uid != 0 {
				flags = append(flags, "--user", "--map-root-user")
			}
			cmd := u.plain("unshare", append(append(flags, binary), args...)...)
			cmd.Env = u.command(context.Background()).Env
			return cmd
		}
		if out, err := in("mount", "--dataset", made, u.path("other")).CombinedOutput(); err == nil || !strings.Contains(string(out), "namespace") || !strings.Contains(string(out), fmt.Sprintf("process %d ", u.daemon())) {
			t.Errorf("%v: %s", err, out)
		}
		out, err := in("exec", "--dataset", made, "--", "sh", "-c", "cat {}/"+first+" | wc -c").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "cache of its own") || !strings.HasSuffix(string(out), "\n10000\n") {
			t.Errorf("%v: %s", err, out)
		}
		u.must("unmount", u.path("mnt"))
	})
}

// A daemon in a mount namespace goes when nobody else is in that any more, and not before.
func TestDaemonOfAVanishedNamespace(t *testing.T) {
	asBoth(t, func(t *testing.T, u *user) {
		made := u.own(t, "one")
		flags := []string{"--mount"}
		if u.uid != 0 {
			flags = append(flags, "--user", "--map-root-user")
		}
		cmd := u.plain("unshare", append(flags, "sh", "-c", `
			"$0" daemon --cache "$1" --look 50ms >"$1.said" & # it goes on without this shell
			while ! grep -q ready "$1.said"; do sleep 0.05; done
			"$0" mount --dataset "$2" "$3" >/dev/null || exit
			echo mounted
			read line
			cat "$3/`+first+`" | wc -c`, binary, u.cache, made, u.path("mnt"))...)
		cmd.Env = u.command(context.Background()).Env
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		if said, err := lines.ReadString('\n'); err != nil || said != "mounted\n" {
			cmd.Wait()
			t.Fatalf("%q, %v", said, err)
		}
		time.Sleep(time.Second) // twenty looks
		fmt.Fprintln(in)
		if said, err := lines.ReadString('\n'); err != nil || said != "10000\n" {
			t.Errorf("%q, %v", said, err)
		}
		cmd.Wait()
		eventually(t, "the daemon goes", func() bool { return u.daemon() == 0 })
	})
}

// A cache that is served on another host is refused at once, by name, and borrowed from
// by commands.
func TestDaemonOnAnotherHost(t *testing.T) {
	u := execUser(t)
	jobUser(t, u)
	s, made := serve(t, u, files("one", 3, 20_000))
	with := []string{"--dataset", s.GitURL(made)}
	w := u.exec(t, nil, with...)
	w.does("cat " + first + " | wc -c")
	w.ends()
	u.end()
	lock, err := os.OpenFile(filepath.Join(u.cache, "lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	away := place.Here()
	away.Host, away.Boot, away.PID, away.Job = "node17", "another", 4711, "Slurm job 99"
	said, err := json.Marshal(away)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(when time.Time) {
		lock.Truncate(0)
		if _, err := lock.WriteAt(said, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(lock.Name(), when, when); err != nil {
			t.Fatal(err)
		}
	}
	words := []string{"process 4711 of Slurm job 99 on the host node17", "--cache DIR"}
	for _, c := range []struct {
		name string
		lock int
		when time.Time
	}{
		{"locked", unix.LOCK_EX, time.Now().Add(-time.Hour)},
		{"where locks do not reach other hosts", unix.LOCK_UN, time.Now()},
	} {
		if err := unix.Flock(int(lock.Fd()), c.lock); err != nil {
			t.Fatal(err)
		}
		sign(c.when)
		u.fails(1, words, "list", "--dataset", s.GitURL(made))
		u.fails(1, words, "mount", "--dataset", s.GitURL(made), u.path("mnt"))
		u.fails(1, words, "status")
		git := asked(s)
		w := u.exec(t, nil, append(with, "--offline")...)
		if got := w.does("sha256sum " + first); got != contentSum(t, made, first)+"  "+first+"\n" || git() != 0 {
			t.Errorf("%s: %q", c.name, got)
		}
		w.ends()
		if !strings.Contains(w.said(), words[0]) {
			t.Errorf("%s: it says %s", c.name, w.said())
		}
	}
	// One that is silent has gone, as one does whose host is switched off.
	sign(time.Now().Add(-time.Hour))
	u.must(append([]string{"list"}, with...)...)
}

// end ends the user's daemon.
func (u *user) end() {
	if pid := u.daemon(); pid > 0 {
		syscall.Kill(pid, syscall.SIGTERM)
		eventually(u.t, "the daemon ends", func() bool { return u.daemon() != pid })
	}
}

// What is borrowed is right: what nobody vouches for is hashed, what is wrong is fetched,
// and what the other cache does with its files changes nothing for who reads them.
func TestBorrowedContent(t *testing.T) {
	u := execUser(t)
	jobUser(t, u)
	one, two := newCgroup(t), newCgroup(t)
	s, made := serve(t, u, files("one", 2, 20_000))
	with := []string{"--dataset", s.GitURL(made)}
	a := u.exec(t, one, with...)
	a.does("cat " + first + " " + second + " | wc -c")
	b := u.exec(t, two, with...)
	before := s.Counts().Bytes
	b.does("exec 3<" + first + "; head -c 10 <&3 | wc -c")
	// A link to it and its end are changes of the other's.
	object := objectOf(t, u, made, first)
	if err := os.Link(object, u.path("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(object); err != nil {
		t.Fatal(err)
	}
	if got := b.does("head -c 100000 <&3 | sha256sum"); got != contentSumFrom(t, made, first, 10)+"  -\n" || s.Counts().Bytes != before {
		t.Errorf("%q", got)
	}
	// A file that was changed there is another one.
	object = objectOf(t, u, made, second)
	content, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	content[5000] ^= 1
	os.Remove(object)
	if err := os.WriteFile(object, content, 0o444); err != nil {
		t.Fatal(err)
	}
	if got := b.does("sha256sum " + second); got != contentSum(t, made, second)+"  "+second+"\n" || s.Counts().Bytes == before {
		t.Errorf("%q", got)
	}
	b.ends()
	a.ends()
}

// contentSumFrom is the SHA-256 of a file of a made dataset, from a byte on.
func contentSumFrom(t *testing.T, made *maker.Made, path string, from int) string {
	t.Helper()
	return fmt.Sprintf("%x", sha256.Sum256(contents(t, made)[path][from:]))
}

func contentSum(t *testing.T, made *maker.Made, path string) string {
	return contentSumFrom(t, made, path, 0)
}

// objectOf is the file of a key in the user's cache.
func objectOf(t *testing.T, u *user, made *maker.Made, path string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(u.cache, "objects", "*", "*", made.Find(path).Key.FileName(), "*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%q, %v", found, err)
	}
	return found[0]
}

// --progress tells on a terminal what is fetched and who waits for it, and leaves nothing
// there.
func TestExecTellsWhatIsWaitedFor(t *testing.T) {
	u := execUser(t)
	s, made := serve(t, u, files("one", 2, 4<<20))
	s.SetFault(publisher.Always(publisher.Slow(500_000)))
	said := u.onTerminal("exec", "--progress", "--no-readahead", "--dataset", made.Dir, "--allow-address", "127.0.0.1", "--", "sha256sum", "{}/"+first)
	if !strings.Contains(said, contentSum(t, made, first)) || !regexp.MustCompile(`0 of 4 files cached; fetching 1 file, \d+ KiB of 2.0 MiB; waiting: \d reader`).MatchString(said) {
		t.Errorf("%q", said)
	}
	if i := strings.LastIndex(said, "\r\x1b[K"); i < 0 || strings.Contains(said[i:], "cached;") {
		t.Errorf("its last line is left: %q", said)
	}
	// Without a terminal, or the flag, there is none.
	if r := u.run("exec", "--progress", "--dataset", made.Dir, "--", "sleep", "1"); r.errout != "" {
		t.Errorf("%q", r.errout)
	}
	if said := u.onTerminal("exec", "--dataset", made.Dir, "--", "sleep", "1"); strings.Contains(said, "files cached") {
		t.Errorf("%q", said)
	}
}
