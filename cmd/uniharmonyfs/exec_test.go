package main_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// execs are what is left of commands on views: their directories, and mounts.
func (u *user) execs() (left []string) {
	u.t.Helper()
	left, err := filepath.Glob(filepath.Join(u.dir, "uniharmonyfs-exec-*"))
	if err != nil {
		u.t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		u.t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, u.dir+"/uniharmonyfs-exec-") {
			left = append(left, line)
		}
	}
	return left
}

// execUser has what exec makes in a directory of the test.
func execUser(t *testing.T) *user {
	u := newUser(t)
	u.env = append(u.env, "TMPDIR="+u.dir)
	t.Cleanup(func() {
		if left := u.execs(); len(left) > 0 {
			t.Errorf("left are %q", left)
		}
	})
	return u
}

// A command runs on a view of its own, with its own streams, arguments, environment, and
// exit code.
func TestExec(t *testing.T) {
	t.Parallel()
	u := execUser(t)
	s, made := serve(t, u, files("one", 3, 20_000))
	on := func(args ...string) []string { return append([]string{"exec", "--dataset", made.Dir}, args...) }

	out := u.must(on("--run", "1", "--", "sh", "-c", `cd "$UNIHARMONYFS_MOUNT" && pwd -P && find . -name "*.nii.gz" && test "$0" = "--in=$UNIHARMONYFS_MOUNT/sub-00" && test "$1" = --json`, "--in={}/sub-00", "--json")...)
	if dir, rest, _ := strings.Cut(out, "\n"); !strings.HasPrefix(dir, u.dir+"/uniharmonyfs-exec-") || rest != "./sub-00/anat/sub-00_run-001_T1w.nii.gz\n" {
		t.Errorf("it says\n%s", out)
	}
	if left := u.execs(); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	cmd := u.command(context.Background(), on("--", "sh", "-c", "cat; echo said >&2; exit 7")...)
	var said bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader("asked"), &said
	got, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 7 || string(got) != "asked" || said.String() != "said\n" {
		t.Errorf("%q, %q, %v", got, said.String(), err)
	}
	if r := u.run(on("--", "sh", "-c", "kill -KILL $$")...); r.code != 128+9 || r.errout != "" {
		t.Errorf("killed: %+v", r)
	}
	// What comes before -- is not the command, and what comes after it is nothing else.
	if r := u.run(on("--derivatives", "nothere", "--", "echo", "ran")...); r.code == 127 || r.code == 2 {
		t.Errorf("a flag's value is run: %+v", r)
	}
	if out := u.must(on("--", "echo", "--generate-bash-completion")...); out != "--generate-bash-completion\n" {
		t.Errorf("it says %q", out)
	}
	// Signals that are ignored stay so, as nohup wants it.
	nohup := u.plain("sh", append([]string{"-c", `trap "" HUP; exec "$0" "$@"`, binary}, on("--", "sh", "-c", `kill -HUP $PPID; kill -HUP $$; sleep 0.3; echo alive`)...)...)
	nohup.Env = u.command(context.Background()).Env
	if out, err := nohup.Output(); err != nil || string(out) != "alive\n" {
		t.Errorf("with nohup: %q, %v", out, err)
	}
	// What it read stays, and with --clean goes.
	u.must(on("--", "sh", "-c", "cat {}/sub-00/anat/*")...)
	if n := u.status().Store.Objects; n != 3 {
		t.Errorf("%d objects", n)
	}
	u.must(on("--clean", "--", "sh", "-c", "cat {}/sub-00/anat/*")...)
	if _, err := os.Stat(u.cache); err == nil {
		t.Error("the cache is left")
	}
	// Side by side they fetch each file once.
	s.ResetCounts()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { u.must(on("--no-readahead", "--", "sh", "-c", "cat {}/sub-00/anat/* | wc -c")...) })
	}
	all.Wait()
	if n := s.Counts().Bytes; n > made.Bytes() {
		t.Errorf("%d bytes were sent of %d", n, made.Bytes())
	}
}

// What cannot be run is told before anything is done, with the shell's codes.
func TestExecRefuses(t *testing.T) {
	t.Parallel()
	u := execUser(t)
	write(t, u.path("plain"), "no program\n")
	for _, c := range []struct {
		code int
		say  string
		args []string
	}{
		{2, "none is given", []string{"--"}},
		{2, "comes after --", []string{"ls"}},
		{2, "comes after --", nil},
		{2, "comes after --", []string{"ds000001", "--", "ls"}},
		{2, "no-such-flag", []string{"--no-such-flag", "--", "ls"}},
		{127, "the command nothere is not found", []string{"--", "nothere"}},
		{127, "is not found", []string{"--", u.path("nothere")}},
		{126, "cannot be run", []string{"--", u.path("plain")}},
		{126, "cannot be run", []string{"--", u.dir}},
		{4, "/nowhere", []string{"--dataset", "/nowhere", "--", "ls"}},
	} {
		u.fails(c.code, []string{c.say}, append([]string{"exec"}, c.args...)...)
	}
	if _, made := serve(t, u, files("one", 1, 100)); true {
		u.fails(3, []string{"nothing matches"}, "exec", "--dataset", made.Dir, "--sub", "none", "--", "ls")
		u.fails(127, []string{"is not found"}, "exec", "--dataset", made.Dir, "--", "{}/nothere")
		u.fails(126, []string{"cannot be run"}, "exec", "--dataset", made.Dir, "--", "{}/README")
	}
}

// A view that cannot be taken away keeps nobody waiting.
func TestExecWithAMountOverItsView(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can mount over something")
	}
	t.Parallel()
	u := execUser(t)
	_, made := serve(t, u, files("one", 1, 100))
	out := u.run("exec", "--dataset", made.Dir, "--", "sh", "-c", `mount -t tmpfs over {} && echo {}`)
	target := strings.TrimSpace(out.out)
	if out.code != 6 || !strings.Contains(out.errout, "cannot unmount "+target) {
		t.Errorf("%+v", out)
	}
	if err := syscall.Unmount(target, 0); err != nil {
		t.Error(err)
	}
	u.run("unmount", "--force", target) // unless who held it was faster
	eventually(t, "it is gone", func() bool { return len(u.execs()) == 0 })
}

// What whoever starts the daemon has open is not kept by it.
func TestDaemonInheritsNothing(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	_, made := serve(t, u, files("one", 1, 100))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := u.command(context.Background(), "list", "--dataset", made.Dir)
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if u.daemon() == 0 {
		t.Fatal("there is no daemon")
	}
	r.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the end of a pipe is still open: %v", err)
	}
}

// Signals are the command's. It ends as it wants, and the view after it.
func TestExecForwardsSignals(t *testing.T) {
	t.Parallel()
	u := execUser(t)
	_, made := serve(t, u, files("one", 1, 100))
	for s, name := range map[syscall.Signal]string{syscall.SIGTERM: "TERM", syscall.SIGINT: "INT", syscall.SIGHUP: "HUP", syscall.SIGUSR1: "USR1"} {
		cmd := u.command(context.Background(), "exec", "--dataset", made.Dir, "--", "sh", "-c",
			`trap "ls {} >/dev/null && echo caught; exit 9" `+name+`; echo ready; while :; do sleep 0.05; done`)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var word [6]byte
		if _, err := out.Read(word[:]); err != nil || string(word[:]) != "ready\n" {
			t.Fatalf("%q, %v", word, err)
		}
		cmd.Process.Signal(s)
		n, _ := out.Read(word[:])
		more := string(word[:n])
		for n > 0 && err == nil {
			n, err = out.Read(word[:])
			more += string(word[:n])
		}
		cmd.Wait()
		if cmd.ProcessState.ExitCode() != 9 || more != "caught\n" {
			t.Errorf("%s: %v, it says %q", name, cmd.ProcessState, more)
		}
	}
}

// Whoever is killed, nothing is left: neither the command, nor the view.
func TestExecThatIsKilled(t *testing.T) {
	t.Parallel()
	u := execUser(t)
	s, made := serve(t, u, files("one", 1, 100))
	u.must("exec", "--dataset", made.Dir, "--", "true") // what is known
	pidfile := u.path("pid")
	start := func() *exec.Cmd {
		os.Remove(pidfile)
		cmd := u.command(context.Background(), "exec", "--dataset", made.Dir, "--", "sh", "-c", `echo $$ > "$0.new" && mv "$0.new" "$0" && exec sleep 300`, pidfile)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the command runs", func() bool { _, err := os.Stat(pidfile); return err == nil })
		return cmd
	}
	pid := func() (pid int) {
		text, err := os.ReadFile(pidfile)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Sscan(string(text), &pid)
		return pid
	}
	gone := func() bool { return len(u.execs()) == 0 && syscall.Kill(pid(), 0) != nil }

	cmd := start()
	cmd.Process.Kill()
	cmd.Wait()
	eventually(t, "nothing is left of a program that was killed", gone)

	cmd = start()
	syscall.Kill(pid(), syscall.SIGKILL)
	if cmd.Wait(); cmd.ProcessState.ExitCode() != 128+9 || !gone() {
		t.Errorf("the command was killed: %v, left are %q", cmd.ProcessState, u.execs())
	}

	// The daemon is everybody's. Without it the command goes on, and is told in the end.
	os.Remove(pidfile)
	other := u.command(context.Background(), "exec", "--dataset", made.Dir, "--", "sh", "-c", `echo $$ > "$0.new" && mv "$0.new" "$0"; while test -e "$0"; do sleep 0.05; done`, pidfile)
	var said bytes.Buffer
	other.Stderr = &said
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the command runs", func() bool { _, err := os.Stat(pidfile); return err == nil })
	daemon := u.daemon()
	syscall.Kill(daemon, syscall.SIGKILL)
	eventually(t, "the daemon is gone", func() bool { return syscall.Kill(daemon, 0) != nil })
	time.Sleep(50 * time.Millisecond)
	os.Remove(pidfile)
	if other.Wait(); other.ProcessState.ExitCode() != 1 || !strings.Contains(said.String(), "the view went before the command ended") || len(u.execs()) > 0 {
		t.Errorf("%v, it says %q, left are %q", other.ProcessState, said.String(), u.execs())
	}

	// Before it runs, a signal ends it.
	gate := make(chan struct{})
	defer close(gate)
	asked := make(chan struct{}, 100)
	s.SetGitFault(func(publisher.Request) publisher.Fault {
		asked <- struct{}{}
		<-gate
		return nil
	})
	cmd = u.command(context.Background(), "exec", "--dataset", s.GitURL(made), "--", "true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	cmd.Process.Signal(syscall.SIGTERM)
	if cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("interrupted: %v", cmd.ProcessState)
	}
}

// A hundred commands side by side, as a pipeline starts them, bring each file once.
func TestHundredExecsAtOnce(t *testing.T) {
	u := execUser(t)
	s, made := serve(t, u, files("one", 10, 100_000))
	want := contents(t, made)
	var wg sync.WaitGroup
	failed := make([]string, 100)
	for n := range failed {
		wg.Go(func() {
			path := fmt.Sprintf("sub-00/anat/sub-00_run-%03d_T1w.nii.gz", n%10)
			out, err := u.command(t.Context(), "exec", "--no-readahead", "--dataset", s.GitURL(made), "--", "sha256sum", "{}/"+path).CombinedOutput()
			if sum, _, _ := strings.Cut(string(out), " "); err != nil || sum != fmt.Sprintf("%x", sha256.Sum256(want[path])) {
				failed[n] = fmt.Sprintf("%d: %v: %s", n, err, out)
			}
		})
	}
	wg.Wait()
	var bytes int64
	for path, content := range want {
		if strings.HasPrefix(path, "sub-") {
			bytes += int64(len(content))
		}
	}
	for _, f := range failed {
		if f != "" {
			t.Error(f)
		}
	}
	if sent := s.Counts().Bytes; sent != bytes {
		t.Errorf("%d bytes were sent, of %d", sent, bytes)
	}
}
