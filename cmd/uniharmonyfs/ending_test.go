package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// running is a command that has been started.
type running struct {
	*exec.Cmd
	out  bytes.Buffer // what it says, on both
	done chan error
}

func (u *user) start(args ...string) *running {
	u.t.Helper()
	r := &running{Cmd: u.command(context.Background(), args...), done: make(chan error, 1)}
	r.Stdout, r.Stderr = &r.out, &r.out
	if err := r.Start(); err != nil {
		u.t.Fatal(err)
	}
	go func() { r.done <- r.Wait() }()
	u.t.Cleanup(func() { r.Process.Kill() })
	return r
}

// ends waits for the command's end and returns its exit code.
func (r *running) ends(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-r.done:
		return r.ProcessState.ExitCode()
	case <-time.After(within):
		t.Fatalf("%v has not ended after %v", r.Args[1:], within)
		return -1
	}
}

// atWork returns what the user's daemon says it is at work for.
func (u *user) atWork() []string {
	client := u.socket()
	resp, err := client.Get("http://cache/v1/hello")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var h struct{ Work []string }
	json.NewDecoder(resp.Body).Decode(&h)
	return h.Work
}

// otherVersion builds the program with another version.
func otherVersion(t *testing.T, u *user) (run func(args ...string) result) {
	t.Helper()
	updated := u.path("updated")
	if out, err := exec.Command("go", "build", "-ldflags", "-X main.version=9.9", "-o", updated, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return func(args ...string) result {
		cmd := u.command(context.Background(), args...)
		cmd.Path = updated
		var out, errout bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errout
		cmd.Run()
		return result{cmd.ProcessState.ExitCode(), out.String(), errout.String()}
	}
}

// A daemon that works for somebody is not replaced by a command of another
// version, which says what it does.
func TestOtherVersionCutsNothingOff(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	server, m := serve(t, u, files("worked", 12, 200_000))
	other := otherVersion(t, u)
	u.must("list", "--dataset", m.Dir, "--count")
	before := u.daemon()
	server.SetLink(publisher.Link{Rate: 300 << 10})
	get := u.start("get", "--dataset", m.Dir, u.path("target"))
	eventually(t, "the download runs", func() bool { return server.Counts().Requests > 0 })
	r := other("list", "--dataset", m.Dir, "--count")
	if r.code != 1 || !strings.Contains(r.errout, "at work for: get") {
		t.Errorf("exit %d, want 1 and what is at work\n%s%s", r.code, r.out, r.errout)
	}
	if u.daemon() != before {
		t.Error("the daemon was replaced")
	}
	// Programs of a version before ask for the end without looking.
	client := u.socket()
	resp, err := client.Post("http://cache/v1/stop", "", nil)
	if err != nil || resp.StatusCode != 409 {
		t.Errorf("stop: %v, %v", resp, err)
	}
	server.SetLink(publisher.Link{})
	if code := get.ends(t, time.Minute); code != 0 {
		t.Errorf("the download: exit %d\n%s", code, get.out.String())
	}
	if r := other("list", "--dataset", m.Dir, "--count"); r.code != 0 {
		t.Errorf("when it is done: exit %d\n%s", r.code, r.errout)
	}
	if u.daemon() == before {
		t.Error("the daemon without work was not replaced")
	}
}

// A mount that gets ready while its daemon stops is not reported as done: it is
// made anew by the next daemon, or refused.
func TestMountIsNotReportedByAnEndingDaemon(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	_, m := serve(t, u, demo.Dataset())
	u.must("list", "--dataset", m.Dir, "--count")
	first := u.daemon()
	detach := u.attach("mount", "delay_enter=1500000")
	mount := u.start("mount", "--dataset", m.Dir, u.path("mnt"))
	eventually(t, "it is about to be mounted", func() bool {
		trace, _ := os.ReadFile(u.path("attached"))
		return bytes.Contains(trace, []byte("mount("))
	})
	syscall.Kill(first, syscall.SIGTERM)
	code := mount.ends(t, time.Minute)
	detach()
	if code == 0 {
		if _, err := os.ReadFile(u.path("mnt/README")); err != nil {
			t.Errorf("it is reported as done: %v\n%s", err, mount.out.String())
		}
		if u.daemon() == first {
			t.Error("the daemon was told to stop and has not")
		}
	} else if !strings.Contains(mount.out.String(), "stop") {
		t.Errorf("exit %d\n%s", code, mount.out.String())
	}
	t.Log(mount.out.String())
}

// A daemon that is told to stop, once or more, does so within a bound, whatever
// is under way, and who waits for it is told.
func TestDaemonEndsWhenTold(t *testing.T) {
	t.Parallel()
	for _, signals := range [][]syscall.Signal{
		{syscall.SIGTERM}, {syscall.SIGINT, syscall.SIGINT}, {syscall.SIGHUP, syscall.SIGTERM}, {syscall.SIGSTOP, syscall.SIGTERM, syscall.SIGCONT},
	} {
		t.Run(fmt.Sprint(signals), func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			server, m := serve(t, u, files("told", 12, 200_000))
			u.must("mount", "--dataset", m.Dir, u.path("mnt"))
			u.waitForBranch()
			server.SetLink(publisher.Link{Rate: 50 << 10})
			get := u.start("get", "--dataset", m.Dir, u.path("target"))
			reader := exec.Command("cat", filepath.Join(u.path("mnt"), m.Files[annexedFiles(m)[11]].Path))
			reader.Start()
			eventually(t, "something is under way", func() bool { return len(u.status().Mounts) == 1 && server.Counts().Requests > 1 })
			pid := u.daemon()
			began := time.Now()
			for _, s := range signals {
				syscall.Kill(pid, s)
			}
			if code := get.ends(t, 30*time.Second); code != 1 || !strings.Contains(get.out.String(), "stop") {
				t.Errorf("the download: exit %d\n%s", code, get.out.String())
			}
			eventually(t, "the daemon has ended", func() bool { return syscall.Kill(pid, 0) != nil || u.daemon() != pid })
			t.Log(time.Since(began))
			ended := make(chan struct{})
			go func() { reader.Wait(); close(ended) }()
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				t.Error("a reader hangs")
				reader.Process.Kill()
			}
			if table, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(table), u.path("mnt")) {
				t.Error("it is still mounted")
			}
			// What was begun goes on.
			server.SetLink(publisher.Link{})
			u.must("get", "--dataset", m.Dir, u.path("target"))
		})
	}
}

// holdGit makes the daemons of a user run git through a script that waits, in
// fetches that name word, as long as a file is there.
func holdGit(t *testing.T, u *user, word string) (waits func() bool, release func()) {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	hold, held := u.path("hold"), u.path("held")
	write(t, hold, "")
	script := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in *%s*) case \" $* \" in *\" fetch \"*) touch %s; while [ -e %s ]; do sleep 0.05; done;; esac;; esac\nexec %s \"$@\"\n", word, held, hold, git)
	write(t, u.path("bin/git"), script)
	os.Chmod(u.path("bin/git"), 0o755)
	u.env = append(u.env, "PATH="+u.path("bin")+":"+os.Getenv("PATH"))
	release = func() { os.Remove(hold) }
	t.Cleanup(release)
	return func() bool { _, err := os.Stat(held); return err == nil }, release
}

// Whoever waits for another's clone can leave at once, and a clean that waits
// for it is in nobody's way.
func TestNobodyWaitsForAnothersClone(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	slow, other := small(t, u, "slow-one"), small(t, u, "other")
	waits, release := holdGit(t, u, "slow-one")
	release()
	u.must("list", "--dataset", slow.Dir, "--count")
	u.leaveDaemon()
	clone := u.status().Datasets[0]
	two := strings.TrimSpace(git(t, "-C", slow.Dir, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit-tree", "main^{tree}", "-p", "main", "-m", "two"))
	git(t, "-C", slow.Dir, "tag", "two", two)
	os.Remove(u.path("held"))
	write(t, u.path("hold"), "")

	first := u.start("mount", "--dataset", slow.Dir, "--version", "two", u.path("first"))
	eventually(t, "it clones", waits)
	second := u.start("mount", "--dataset", slow.Dir, "--version", "two", u.path("second"))
	clean := u.start("clean", clone)
	eventually(t, "all are at work", func() bool {
		return len(u.atWork()) == 3
	})
	// Others go on.
	u.must("mount", "--dataset", other.Dir, u.path("mnt"))
	u.must("unmount", u.path("mnt"))
	u.must("status")
	second.Process.Signal(os.Interrupt)
	if code := second.ends(t, 10*time.Second); code != 130 {
		t.Errorf("interrupted: exit %d\n%s", code, second.out.String())
	}
	release()
	if code := first.ends(t, time.Minute); code != 0 {
		t.Errorf("the first: exit %d\n%s", code, first.out.String())
	}
	if code := clean.ends(t, time.Minute); code != 1 || !strings.Contains(clean.out.String(), "mounted at "+u.path("first")) {
		t.Errorf("clean: exit %d\n%s", code, clean.out.String())
	}
	if got, err := os.ReadFile(u.path("first/README")); err != nil || len(got) == 0 {
		t.Errorf("README: %q, %v", got, err)
	}
	u.must("unmount", u.path("first"))
	u.must("clean", clone)
}

// Removing a clone that a request reads waits for that, and what opens it
// meanwhile finds it whole or clones anew.
func TestCleanWhileOthersOpen(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	m := small(t, u, "opened")
	u.must("list", "--dataset", m.Dir, "--count")
	clone := u.status().Datasets[0]
	for range 8 {
		var all []*running
		for range 3 {
			all = append(all, u.start("list", "--dataset", m.Dir, "--count"))
		}
		clean := u.start("clean", clone)
		for _, r := range all {
			if code := r.ends(t, time.Minute); code != 0 {
				t.Errorf("list: exit %d\n%s", code, r.out.String())
			}
		}
		if code := clean.ends(t, time.Minute); code != 0 && code != 3 {
			t.Errorf("clean: exit %d\n%s", code, clean.out.String())
		}
	}
	if n := strings.TrimSpace(u.must("list", "--dataset", m.Dir, "--count")); n == "0" || n == "" {
		t.Errorf("%q files", n)
	}
}

// What a download reads is not removed from under it.
func TestCleanWaitsForADownload(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	server, m := serve(t, u, files("downloaded", 12, 100_000))
	u.must("list", "--dataset", server.GitURL(m), "--count")
	clone := u.status().Datasets[0]
	server.SetLink(publisher.Link{Rate: 300 << 10})
	get := u.start("get", "--jobs", "1", "--fetcher", "native", "--dataset", server.GitURL(m), u.path("target"))
	eventually(t, "the download runs", func() bool { return server.Counts().Requests > 0 })
	clean := u.start("clean", clone)
	select {
	case err := <-clean.done:
		t.Error("the clone is gone, and the download goes on")
		clean.done <- err
	case err := <-get.done:
		get.done <- err
	}
	if code := get.ends(t, time.Minute); code != 0 {
		t.Errorf("the download: exit %d\n%s", code, get.out.String())
	}
	if code := clean.ends(t, time.Minute); code != 0 && !strings.Contains(clean.out.String(), "target") {
		t.Errorf("clean: exit %d, and not why\n%s", code, clean.out.String())
	}
}
