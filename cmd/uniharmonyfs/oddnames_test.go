package main_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// oddNames are names that git and Linux take.
var oddNames = []string{
	"sub-01/anat/sub-01_acq-a_T1w.nii\xff", "sub-01/anat/\xc3\x28_T1w.nii", "sub-01/anat/sub-01_T1w\u009b31m.nii", "sub-01/anat/iin.\u202ew1T_10-bus",
	"sub-01/anat/a\u0085b", "sub-01/anat/\u2067x\u2069", "sub-01/anat/-rf", "sub-01/anat/a b", `sub-01/anat/a\b`, "sub-01/anat/žluť",
}

func oddRepository(t *testing.T, u *user) string {
	t.Helper()
	repo := plainRepository(t, u, "odd")
	for _, name := range oddNames {
		write(t, filepath.Join(repo, name), "x")
	}
	git(t, "-C", repo, "add", ".")
	git(t, "-C", repo, "commit", "--quiet", "-m", "odd")
	return repo
}

// terminal returns the two ends of a terminal: the person's and the program's.
func terminal(t testing.TB) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("skipped: no terminal can be made: ", err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Skip("skipped: no terminal can be made: ", err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("skipped: no terminal can be made: ", err)
	}
	return master, slave
}

// onTerminal runs a command whose output is a terminal.
func (u *user) onTerminal(args ...string) string {
	u.t.Helper()
	master, slave := terminal(u.t)
	cmd := u.command(u.t.Context(), args...)
	cmd.Stdout, cmd.Stderr = slave, slave
	said := make(chan string, 1)
	go func() {
		var b strings.Builder
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			b.Write(buf[:n])
			if err != nil {
				said <- b.String()
				return
			}
		}
	}()
	if err := cmd.Run(); err != nil {
		u.t.Error(err)
	}
	slave.Close()
	return <-said
}

func TestListTellsNamesExactly(t *testing.T) {
	u := newUser(t)
	repo := oddRepository(t, u)
	args := []string{"list", "--dataset", repo}
	plain := lines(u.must(args...))
	zero := strings.Split(strings.TrimSuffix(u.must(append(args, "-0")...), "\x00"), "\x00")
	var exact []string
	for _, line := range lines(u.must(append(args, "--json")...)) {
		var f struct{ Path, Path_base64 string }
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatal(err)
		}
		if f.Path_base64 != "" {
			raw, err := base64.StdEncoding.DecodeString(f.Path_base64)
			if err != nil || !strings.Contains(f.Path, "\ufffd") {
				t.Errorf("%s: %v", line, err)
			}
			f.Path = string(raw)
		}
		exact = append(exact, f.Path)
	}
	for how, list := range map[string][]string{"list": plain, "-0": zero, "--json": exact} {
		for _, name := range oddNames {
			if !slices.Contains(list, name) {
				t.Errorf("%s does not have %q", how, name)
			}
		}
	}
	for _, more := range [][]string{nil, {"-l"}, {"--tree"}} {
		said := u.onTerminal(append(args, more...)...)
		if !strings.Contains(said, "žluť") {
			t.Errorf("%v says:\n%q", more, said)
		}
		for _, bad := range []string{"\u009b", "\u0085", "\u202e", "\u2067", "\u2069", "\x9b"} {
			if strings.Contains(strings.ToValidUTF8(said, "?"), bad) {
				t.Errorf("%v writes %q to a terminal:\n%q", more, bad, said)
			}
		}
	}
	said := u.onTerminal("list", "--dataset", repo, "--explain", oddNames[2], "--explain", oddNames[3])
	if strings.ContainsAny(said, "\u009b\u202e") {
		t.Errorf("--explain writes:\n%q", said)
	}
	u.must("get", "--dataset", repo, u.path("target"))
	u.must("mount", "--dataset", repo, u.path("mnt"))
	var status struct {
		Paths []struct{ Path, Path_base64 string }
	}
	if err := json.Unmarshal([]byte(u.must("status", "--json", u.path("mnt/sub-01/anat"))), &status); err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, p := range status.Paths {
		if raw, err := base64.StdEncoding.DecodeString(p.Path_base64); err != nil {
			t.Error(err)
		} else if len(raw) > 0 {
			p.Path = string(raw)
		}
		told = append(told, p.Path)
	}
	shown := u.must("status", u.path("mnt/sub-01/anat"))
	for _, name := range oddNames {
		if !slices.Contains(told, name) {
			t.Errorf("status --json does not have %q", name)
		}
		if !strings.Contains(shown, " "+name+"\n") {
			t.Errorf("status does not have %q", name)
		}
	}
	if said := u.onTerminal("status", u.path("mnt/sub-01/anat")); strings.ContainsAny(said, "\u009b\u202e") {
		t.Errorf("status writes to a terminal:\n%q", said)
	}
	for _, name := range oddNames {
		for _, root := range []string{"target", "mnt"} {
			if got, err := os.ReadFile(filepath.Join(u.path(root), name)); string(got) != "x" {
				t.Errorf("%q of %s: %q, %v", name, root, got, err)
			}
		}
	}
}

// A filter file may be a pipe, and nobody waits for one for ever.
func TestFilterFileThatIsAPipe(t *testing.T) {
	u := newUser(t)
	repo := plainRepository(t, u, "repo")
	fifo := u.path("fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := u.command(t.Context(), "list", "--dataset", repo, "--bids-filter-file", fifo)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for range 1000 { // until it listens to signals, and waits
		if wchan, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", cmd.Process.Pid)); len(wchan) > 0 {
			time.Sleep(10 * time.Millisecond)
		}
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
			if code := cmd.ProcessState.ExitCode(); code != 130 && code != -1 {
				t.Errorf("exit %d", code)
			}
			goto ended
		default:
		}
	}
	cmd.Process.Kill()
	<-ended
	t.Error("SIGTERM does not end it")
ended:
	if r := u.run("list", "--dataset", repo, "--bids-filter-file", "/dev/zero"); r.code != 2 || !strings.Contains(r.errout, "16 MiB") {
		t.Errorf("exit %d: %s", r.code, r.errout)
	}
	piped := u.command(t.Context(), "list", "--dataset", repo, "--bids-filter-file", "/dev/stdin")
	piped.Stdin = strings.NewReader(`{"t1w": {}}`)
	if out, err := piped.Output(); err != nil || !strings.Contains(string(out), "sub-01_T1w.nii.gz") {
		t.Errorf("from a pipe: %s, %v", out, err)
	}
}

// A target that a request cannot name is refused, and no other is made.
func TestTargetsThatAreNoText(t *testing.T) {
	u := newUser(t)
	repo := oddRepository(t, u)
	for _, command := range []string{"get", "mount"} {
		u.fails(2, []string{"UTF-8"}, command, "--dataset", repo, u.path("target\xff"))
	}
	if found, _ := filepath.Glob(u.path("target*")); len(found) > 0 {
		t.Errorf("made: %q", found)
	}
	// Nor may a link lead to one: it could not be unmounted by its name.
	if err := os.Mkdir(u.path("real\xff"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(u.path("real\xff"), u.path("link")); err != nil {
		t.Fatal(err)
	}
	u.fails(6, []string{"cannot mount", "UTF-8"}, "mount", "--dataset", repo, u.path("link"))
	for i, name := range []string{"target\ufffd", `target\ufffd`, "žluť"} {
		u.must("get", "--dataset", repo, u.path(name))
		if _, err := os.Stat(filepath.Join(u.path(name), "README")); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// What cannot be shown is named exactly, also by the index.
func TestHiddenNamesAreToldExactly(t *testing.T) {
	u := newUser(t)
	repo := plainRepository(t, u, "odd")
	const name = "sub-01/anat/out\xff"
	if err := os.Symlink("/etc/passwd", filepath.Join(repo, name)); err != nil {
		t.Fatal(err)
	}
	git(t, "-C", repo, "add", ".")
	git(t, "-C", repo, "commit", "--quiet", "-m", "odd")
	for range 2 { // from git, and from the index of a daemon before
		var m control.MountInfo
		if err := json.Unmarshal([]byte(u.must("mount", "--json", "--dataset", repo, u.path("mnt"))), &m); err != nil {
			t.Fatal(err)
		}
		if len(m.Hidden) != 1 || m.Hidden[0].Path != name {
			t.Errorf("hidden: %q", m.Hidden)
		}
		u.must("unmount", u.path("mnt"))
		u.leaveDaemon()
	}
}
