package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// An injection makes a system call of the daemon, or of a program it runs,
// fail, wait, or be its last: the n-th that a thread makes.
type injection struct {
	call string // as strace knows it
	what string // error=EIO, delay_enter=200000 (microseconds), signal=KILL
	n    int
}

func (in injection) String() string { return fmt.Sprintf("%s:%s:when=%d", in.call, in.what, in.n) }

// stepLimit bounds whatever a trial does. It is far more than any step takes.
const stepLimit = 60 * time.Second

// A trial does the same things again and again with a cache whose daemon is
// injected faults, and looks after each time whether what is promised holds.
type trial struct {
	*user
	server *publisher.Server
	made   *maker.Made
	want   map[string][]byte
	names  []string // of the annexed files; the last is the large one
	known  string   // a copy of a cache that knows the dataset
	mnt    string
	traces int

	pinned []string // names: the command said done

	mu       sync.Mutex // guards the following
	problems []string   // of this round
}

// newTrial makes a trial whose cache lies in a directory.
func newTrial(t *testing.T, where func(u *user) string) *trial {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("skipped: no strace on this machine")
	}
	u := newUser(t)
	d := files("trial", 10, 30_000)
	d.Files = append(d.Files, maker.File{Path: "sub-00/func/sub-00_task-rest_bold.nii.gz", Size: 2 << 20, Seed: 77, Annexed: true})
	server, m := serve(t, u, d)
	tr := &trial{user: u, server: server, made: m, want: contents(t, m), mnt: u.path("mnt"), known: u.path("known")}
	for _, f := range m.Files {
		if f.Annexed {
			tr.names = append(tr.names, f.Path)
		}
	}
	write(t, u.path("foreign/file"), "mine\n")
	if where != nil {
		u.cache = filepath.Join(where(u), "cache")
		t.Cleanup(u.leaveDaemon)
	}
	u.must(tr.mountArgs()...)
	u.waitForBranch()
	u.must("unmount", tr.mnt)
	u.leaveDaemon()
	tr.copyCache(u.cache, tr.known)
	return tr
}

// mountArgs has a budget that the large file fits in and not all of the others
// beside it.
func (tr *trial) mountArgs() []string {
	return []string{"mount", "--dataset", tr.made.Dir, "--budget", fmt.Sprint(2<<20 + 200<<10), "--timeout", "5s", tr.mnt}
}

func (tr *trial) copyCache(from, to string) {
	tr.t.Helper()
	// The directory itself may be where a disk is mounted below.
	if out, err := exec.Command("sh", "-c", `chmod -R u+rwX "$2" 2>/dev/null; rm -rf "$2" && cp -a "$1" "$2" && rm -f "$2/daemon.log"`, "sh", from, to).CombinedOutput(); err != nil {
		tr.t.Fatalf("cp: %v\n%s", err, out)
	}
}

func (tr *trial) problem(format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.problems = append(tr.problems, fmt.Sprintf(format, args...))
}

// begin starts a round without problems.
func (tr *trial) begin() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.problems, tr.pinned = nil, nil
}

// injected starts the daemon with faults. A daemon that does not get ready
// under them has ended when this returns. The function it returns waits for
// the end of the daemon, which somebody else brings about, and tells whether a
// fault was injected.
func (tr *trial) injected(in injection) (wait func() (fired bool)) {
	tr.t.Helper()
	tr.traces++
	trace := tr.path(fmt.Sprintf("trace%d", tr.traces))
	log, err := os.OpenFile(tr.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		tr.t.Fatal(err)
	}
	defer log.Close()
	cmd := tr.command(context.Background(), "daemon", "--cache", tr.cache, "--grace", "20s")
	strace, _ := exec.LookPath("strace")
	cmd.Args = append([]string{"strace", "-f", "-q", "-o", trace, "-e", "trace=" + in.call, "-e", "signal=kill", "-e", "inject=" + in.String()}, cmd.Args...)
	cmd.Path, cmd.Dir, cmd.Stderr = strace, "/", log
	out, err := cmd.StdoutPipe()
	if err != nil {
		tr.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tr.t.Fatal(err)
	}
	said := make(chan string, 1)
	go func() {
		line := make([]byte, 4096)
		n, _ := out.Read(line)
		said <- string(line[:n])
		io.Copy(io.Discard, out)
	}()
	select {
	case <-said:
	case <-time.After(stepLimit):
		tr.problem("the daemon neither starts nor says why not")
		tr.kill()
	}
	return func() bool {
		timer := time.AfterFunc(stepLimit, func() {
			tr.problem("the daemon does not end")
			tr.kill()
		})
		defer timer.Stop()
		cmd.Wait()
		seen, _ := os.ReadFile(trace)
		os.Remove(trace)
		return bytes.Contains(seen, []byte("INJECTED")) || bytes.Contains(seen, []byte("DELAYED")) || bytes.Contains(seen, []byte("killed by SIGKILL"))
	}
}

// log is what daemons under faults say.
func (tr *trial) log() string { return tr.path("injected.log") }

// kill ends the daemon as a power cut would.
func (tr *trial) kill() {
	if pid := tr.daemon(); pid > 0 {
		syscall.Kill(pid, syscall.SIGKILL)
		for range 1000 {
			if tr.daemon() != pid {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// attempt runs a command that may fail, but neither hangs nor ends in a way
// that is not documented.
func (tr *trial) attempt(args ...string) (code int) {
	tr.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stepLimit)
	defer cancel()
	out, err := tr.command(ctx, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		tr.t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	switch {
	case ctx.Err() != nil:
		tr.problem("%v: it hangs", args)
		syscall.Kill(tr.daemon(), syscall.SIGQUIT) // its stacks go to the log
	case code < 0 || code > 7:
		tr.problem("%v: exit %d: %s", args, code, tail(out, 500))
	case code != 0 && len(bytes.TrimSpace(out)) == 0:
		tr.problem("%v: exit %d without a word", args, code)
	}
	return code
}

// errnos are those that a reader may see.
var errnos = []error{syscall.EIO, syscall.ENOSPC, syscall.EINTR, syscall.ETIMEDOUT, syscall.ENOTCONN, syscall.ECONNABORTED}

// read reads n bytes of a file from offset at on, -1 for all.
func (tr *trial) read(name string, at int64, n int) (err error) {
	done := make(chan error, 1)
	want := tr.want[name][at:]
	if n >= 0 {
		want = want[:n]
	}
	go func() {
		f, err := os.Open(filepath.Join(tr.mnt, name))
		if err != nil {
			done <- err
			return
		}
		defer f.Close()
		got, err := io.ReadAll(io.NewSectionReader(f, at, int64(len(want))))
		if err == nil && len(got) != len(want) {
			err = fmt.Errorf("%d bytes instead of %d, and no error", len(got), len(want))
		} else if !bytes.Equal(got, want[:len(got)]) {
			err = errors.New("wrong bytes")
		}
		done <- err
	}()
	select {
	case err = <-done:
	case <-time.After(stepLimit):
		tr.problem("reading %s hangs", name)
		syscall.Kill(tr.daemon(), syscall.SIGQUIT)
		err = <-done
	}
	for _, ok := range errnos {
		if err == nil || errors.Is(err, ok) {
			return err
		}
	}
	// The next daemon takes away the mount of one that was killed.
	if !errors.Is(err, syscall.ENOENT) || tr.mounted() {
		tr.problem("reading %s: %v", name, err)
	}
	return err
}

func (tr *trial) mounted() bool {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	return bytes.Contains(mounts, []byte(" "+tr.mnt+" "))
}

// script does what people do. What cannot be done is left out.
func (tr *trial) script() {
	if tr.attempt(tr.mountArgs()...) != 0 {
		return
	}
	last := len(tr.names) - 1
	tr.read(tr.names[last], 0, 352)
	for _, name := range tr.names[:3] {
		tr.read(name, 0, -1)
	}
	if tr.attempt("pin", filepath.Join(tr.mnt, tr.names[3])) == 0 {
		tr.pinned = append(tr.pinned, tr.names[3])
	}
	tr.attempt("evict", filepath.Join(tr.mnt, tr.names[0]))
	tr.read(tr.names[0], 0, -1)
	tr.read(tr.names[last], 1<<20, 70_000)
	tr.read(tr.names[last], 0, -1) // makes others go
	tr.read(tr.names[5], 0, -1)
	tr.attempt("pin", filepath.Join(tr.mnt, tr.names[6]))
	tr.attempt("unpin", filepath.Join(tr.mnt, tr.names[6]))
	os.RemoveAll(tr.path("target"))
	tr.attempt("get", "--dataset", tr.made.Dir, "--run", "001,002", tr.path("target"))
	tr.target()
}

// target sees that get left nothing that is half or wrong.
func (tr *trial) target() {
	filepath.WalkDir(tr.path("target"), func(p string, e iofs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") {
			return nil
		}
		name, _ := filepath.Rel(tr.path("target"), p)
		if got, err := os.ReadFile(p); err != nil || !bytes.Equal(got, tr.want[name]) {
			tr.problem("get left %s with %d bytes of %d, or others (%v)", name, len(got), len(tr.want[name]), err)
		}
		return nil
	})
}

// objects hashes whatever the cache shows as verified. No daemon runs.
func (tr *trial) objects() {
	root := filepath.Join(tr.cache, "objects")
	filepath.WalkDir(root, func(p string, e iofs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		key, err := annex.ParseFileName(e.Name())
		if err != nil || filepath.Base(filepath.Dir(p)) != e.Name() {
			return nil // not an object's place
		}
		data, err := os.ReadFile(p)
		if err != nil {
			tr.problem("object %s: %v", e.Name(), err)
			return nil
		}
		h, want, ok := key.NewHash()
		if !ok {
			return nil
		}
		h.Write(data)
		if got := fmt.Sprintf("%x", h.Sum(nil)); got != want {
			tr.problem("object %s of %d bytes does not match its key", e.Name(), len(data))
		}
		return nil
	})
}

// onDisk sums the blocks of what the budget is for.
func (tr *trial) onDisk() (sum int64) {
	for _, dir := range []string{"objects", "partial"} {
		filepath.WalkDir(filepath.Join(tr.cache, dir), func(_ string, e iofs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				if info, err := e.Info(); err == nil {
					sum += info.Sys().(*syscall.Stat_t).Blocks * 512
				}
			}
			return nil
		})
	}
	return sum
}

// slack is what a file system may give to files that are being written, and
// take back later (XFS, beyond their ends), and a small file that cannot be
// removed takes.
const slack = 256 << 10

// books sees that the daemon's figures become those of the disk; while there
// are faults, that they are not much less and nothing is reserved for nobody.
func (tr *trial) books(when string, faults bool) {
	var s store
	var disk int64
	for range 200 {
		disk = tr.onDisk()
		s = tr.status().Store
		if s.Reserved == 0 && s.Used == disk && disk == tr.onDisk() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	if faults && s.Used+s.Reserved+slack >= disk && (s.Reserved == 0 || len(s.Transfers) > 0) {
		return
	}
	tr.problem("%s the books say %d bytes and %d reserved, the disk has %d", when, s.Used, s.Reserved, disk)
}

var crashed = regexp.MustCompile(`(?m)^(panic: .*|fatal error: .*|unexpected fault address.*|SIGBUS.*|goroutine \d+ .*)`)

// should runs a command that has no reason to fail.
func (tr *trial) should(args ...string) string {
	tr.t.Helper()
	r := tr.run(args...)
	if r.code != 0 {
		tr.problem("afterwards %v: exit %d %s", args, r.code, r.errout)
	}
	return r.out
}

// healthy starts without faults and sees that everything is well.
func (tr *trial) healthy() {
	for _, path := range []string{tr.log(), filepath.Join(tr.cache, "daemon.log")} {
		if log, _ := os.ReadFile(path); crashed.Match(log) {
			at := crashed.FindIndex(log)[0]
			tr.problem("the daemon crashed: %s", log[at:min(len(log), at+1500)])
		}
	}
	tr.objects()
	if r := tr.run(tr.mountArgs()...); r.code != 0 {
		tr.problem("afterwards nothing can be mounted: exit %d %s", r.code, r.errout)
		return
	}
	cached := "\n" + tr.should("list", "--dataset", tr.made.Dir, "--cached") + "\n"
	for _, name := range tr.pinned {
		if !strings.Contains(cached, "\n"+name+"\n") {
			tr.problem("%s was pinned and is not here", name)
		}
	}
	for name := range tr.want {
		if err := tr.read(name, 0, -1); err != nil {
			tr.problem("afterwards %s cannot be read: %v", name, err)
		}
	}
	tr.books("afterwards", false)
	if s := tr.status().Store; s.Used > s.Budget {
		tr.problem("afterwards %d bytes are used of %d", s.Used, s.Budget)
	}
	var s store
	for range 50 { // the kernel closes files a moment after their readers
		tr.should("evict", tr.mnt)
		if s = tr.status().Store; s.Used == s.Pinned {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if s.Used != s.Pinned {
		tr.problem("%d bytes are pinned, %d stay", s.Pinned, s.Used)
	}
	tr.books("after eviction", false)
	tr.should("unmount", tr.mnt)
	if r := tr.run("clean", "--all", "--pins"); r.code != 0 {
		tr.problem("afterwards the cache cannot be cleaned: exit %d %s", r.code, r.errout)
	}
	if _, err := os.Stat(tr.cache); !os.IsNotExist(err) {
		tr.problem("the cache is still there: %v", err)
	}
	tr.leaveDaemon()
	if got, _ := os.ReadFile(tr.path("foreign/file")); string(got) != "mine\n" {
		tr.problem("a foreign file was changed")
	}
}

// endings are how a round's daemon ends.
var endings = []string{"clean", "stop", "kill"}

// round does everything once under an injection, with a cache that knows the
// dataset or none, an ending and, unless zero, a second injection at the next
// start.
func (tr *trial) round(in, again injection, fresh bool, ending string) (fired bool, problems []string) {
	tr.begin()
	os.Remove(tr.log())
	if fresh {
		os.RemoveAll(tr.cache)
	} else {
		tr.copyCache(tr.known, tr.cache)
	}
	wait := tr.injected(in)
	first := tr.daemon()
	tr.script()
	if first != 0 && tr.daemon() == first && in.what != "signal=KILL" {
		tr.books("under faults", true)
	}
	switch ending {
	case "clean":
		tr.attempt("unmount", "--clean", tr.mnt)
	case "kill":
		tr.kill()
	}
	tr.end()
	fired = wait()
	if again.call != "" && tr.exists() {
		wait := tr.injected(again)
		tr.attempt(tr.mountArgs()...)
		tr.kill()
		wait()
		tr.end()
	}
	tr.healthy()
	return fired, tr.problems
}

func (tr *trial) exists() bool {
	_, err := os.Stat(filepath.Join(tr.cache, "CACHEDIR.TAG"))
	return err == nil
}

// end stops a daemon that runs, and takes away a mount that is left. A mount
// is left where the daemon was killed; its next daemon takes it away, too, but
// not if nobody mounts there again.
func (tr *trial) end() {
	if pid := tr.daemon(); pid > 0 {
		syscall.Kill(pid, syscall.SIGTERM)
		deadline := time.Now().Add(stepLimit)
		for tr.daemon() == pid {
			if time.Now().After(deadline) {
				tr.problem("the daemon does not end at SIGTERM")
				syscall.Kill(pid, syscall.SIGQUIT)
				time.Sleep(time.Second)
				tr.kill()
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}
