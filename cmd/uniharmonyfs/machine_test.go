package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// attach injects faults into the daemon that runs, until the returned function
// is called, which tells whether one was injected.
func (u *user) attach(call, what string) (detach func() (fired bool)) {
	u.t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		u.t.Skip("skipped: no strace on this machine")
	}
	trace := u.path("attached")
	cmd := exec.Command(strace, "-f", "-o", trace, "-p", fmt.Sprint(u.daemon()), "-e", "trace="+call, "-e", "signal=kill", "-e", "inject="+call+":"+what)
	says, err := cmd.StderrPipe()
	if err != nil {
		u.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	// It says "attached" for each thread, in a line of its own.
	said := make([]byte, 1000)
	n, _ := says.Read(said)
	if !bytes.Contains(said[:n], []byte("attached")) {
		cmd.Process.Kill()
		cmd.Wait()
		u.t.Skipf("skipped: processes cannot be traced on this machine: %s", said[:n])
	}
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, says)
		close(ended)
	}()
	return func() bool {
		for over := false; !over; {
			if u.daemon() != 0 { // else it ends by itself, and has more to say
				cmd.Process.Signal(syscall.SIGTERM)
				u.run("status") // it heeds the signal when the daemon does something
			}
			select {
			case <-ended:
				over = true
			case <-time.After(200 * time.Millisecond):
			}
		}
		cmd.Wait()
		seen, _ := os.ReadFile(trace)
		return bytes.Contains(seen, []byte("INJECTED")) || bytes.Contains(seen, []byte("killed by SIGKILL"))
	}
}

// smallDisk mounts a tmpfs for a user's cache.
func smallDisk(t *testing.T, u *user, options string) (disk string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can mount a small disk")
	}
	disk = u.path("disk")
	os.Mkdir(disk, 0o755)
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, options); err != nil {
		t.Skip("skipped: cannot mount a tmpfs: ", err)
	}
	u.cache = filepath.Join(disk, "cache")
	t.Cleanup(func() { takeAway(t, u, disk) })
	return disk
}

// A cache's disk that takes nothing more, whatever the reason: what is not
// here cannot be read, what is cached can, the daemon lives, and when the disk
// is well again so is everything.
func TestDiskThatTakesNothing(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]diskFault{
		"no inodes":     noInodes,
		"over quota":    always("pwrite64,fallocate", "error=EDQUOT"),
		"broken writes": always("pwrite64", "error=EIO"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			underDiskFault(t, begin)
		})
	}
}

// A diskFault makes the disk of a user's cache fail until end is called.
type diskFault func(t *testing.T, u *user, disk string) (end func())

// always makes a system call of the daemon fail.
func always(call, what string) diskFault {
	return func(t *testing.T, u *user, _ string) func() {
		detach := u.attach(call, what+":when=1+")
		return func() {
			if !detach() {
				t.Error("no fault was injected")
			}
		}
	}
}

func noInodes(t *testing.T, u *user, disk string) (end func()) {
	more := filepath.Join(disk, "more")
	os.Mkdir(more, 0o755)
	for i := 0; ; i++ {
		if err := os.WriteFile(filepath.Join(more, fmt.Sprint(i)), nil, 0o644); errors.Is(err, syscall.ENOSPC) {
			return func() { os.RemoveAll(more) }
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func underDiskFault(t *testing.T, begin diskFault) {
	u := newUser(t)
	disk := smallDisk(t, u, "size=256m,nr_inodes=4000")
	_, m := serve(t, u, files("full", 8, 30_000))
	tr := &trial{user: u, made: m, want: contents(t, m), mnt: u.path("mnt")}
	at := annexedFiles(m)
	read := func(i int) error { return tr.read(m.Files[at[i]].Path, 0, -1) }
	u.must("mount", "--no-readahead", "--dataset", m.Dir, u.path("mnt"))
	u.waitForBranch()
	if err := read(0); err != nil {
		t.Fatal(err)
	}
	pid := u.daemon()
	end := begin(t, u, disk)
	if err := read(1); err == nil {
		t.Error("a file came to a disk that takes nothing")
	}
	if err := read(0); err != nil {
		t.Errorf("what is cached: %v", err)
	}
	if u.daemon() != pid {
		t.Error("the daemon did not live")
	}
	end()
	eventually(t, "the disk is well again", func() bool { return read(1) == nil })
	for i := range at {
		if err := read(i); err != nil {
			t.Error(err)
		}
	}
	u.must("unmount", "--clean", u.path("mnt"))
	for _, p := range tr.problems {
		t.Error(p)
	}
}

// annexedFiles returns the indices of a dataset's annexed files.
func annexedFiles(m *maker.Made) (at []int) {
	for i, f := range m.Files {
		if f.Annexed {
			at = append(at, i)
		}
	}
	return at
}

// A cache on a disk that fails and becomes read-only, as ext4 does: what is
// cached can be read, the daemon lives and ends, and when the disk is mounted
// again so is everything.
func TestCacheBecomesReadOnly(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	_, m := serve(t, u, files("readonly", 8, 30_000))
	want := contents(t, m)
	disk := loopDisk(t, u, 192<<20, "mkfs.ext4", "-q", "-b", "4096")
	u.cache = filepath.Join(disk, "cache")
	at := annexedFiles(m)
	path := func(i int) string { return filepath.Join(u.path("mnt"), m.Files[at[i]].Path) }
	mount := []string{"mount", "--no-readahead", "--dataset", m.Dir, u.path("mnt")}
	u.must(mount...)
	u.waitForBranch()
	u.must("pin", path(0))
	unix.Sync()
	pid := u.daemon()
	if out, err := exec.Command("mount", "-o", "remount,abort", disk).CombinedOutput(); err != nil {
		t.Skipf("skipped: this ext4 cannot be made to fail: %s", out)
	}
	if _, err := os.ReadFile(path(1)); err == nil {
		t.Error("a file came to a disk that is read-only")
	}
	if got, err := os.ReadFile(path(0)); err != nil || !bytes.Equal(got, want[m.Files[at[0]].Path]) {
		t.Errorf("what is cached: %d bytes, %v", len(got), err)
	}
	if u.daemon() != pid {
		t.Error("the daemon did not live")
	}
	u.run("unmount", u.path("mnt"))
	u.leaveDaemon()
	eventually(t, "the disk is in nobody's use", func() bool { return syscall.Unmount(disk, 0) == nil })
	if out, err := exec.Command("mount", "-o", "loop", u.path("image"), disk).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	u.must(mount...)
	if list := u.must("list", "--dataset", m.Dir, "--cached"); !strings.Contains(list, m.Files[at[0]].Path) {
		t.Error("what was pinned is gone")
	}
	readers(t, u.path("mnt"), want, 4)()
	u.must("unmount", u.path("mnt"))
	u.leaveDaemon()
}

// A daemon that may open no more files: reads fail and recover, and nothing
// that is cached or pinned is lost.
func TestNoDescriptorsLeft(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	server, m := serve(t, u, files("descriptors", 60, 20_000))
	want := contents(t, m)
	at := annexedFiles(m)
	path := func(i int) string { return filepath.Join(u.path("mnt"), m.Files[at[i]].Path) }
	u.must("mount", "--no-readahead", "--dataset", m.Dir, u.path("mnt"))
	u.must("pin", filepath.Dir(path(0)))
	u.waitForBranch()
	before := u.status().Store
	asked := server.Counts().Requests
	var was unix.Rlimit
	if err := unix.Prlimit(u.daemon(), unix.RLIMIT_NOFILE, nil, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(u.daemon(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: was.Max}, nil); err != nil {
		t.Fatal(err)
	}
	var held []*os.File
	failed := 0
	for i := range at {
		f, err := os.Open(path(i))
		if err == nil {
			held = append(held, f)
			_, err = f.ReadAt(make([]byte, 100), 0)
		}
		if err != nil {
			failed++
			if !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
				t.Errorf("%v, want EIO", err)
			}
		}
	}
	for _, f := range held {
		f.Close()
	}
	if err := unix.Prlimit(u.daemon(), unix.RLIMIT_NOFILE, &was, nil); err != nil {
		t.Fatal(err)
	}
	if failed == 0 {
		t.Error("the limit was not reached")
	}
	eventually(t, "files can be opened again", func() bool { _, err := os.ReadFile(path(len(at) - 1)); return err == nil })
	readers(t, u.path("mnt"), want, 4)()
	if s := u.status().Store; s.Objects != before.Objects || s.Pinned != before.Pinned {
		t.Errorf("before %d objects, %d bytes pinned; then %d and %d", before.Objects, before.Pinned, s.Objects, s.Pinned)
	}
	if n := server.Counts().Requests; n != asked {
		t.Errorf("%d files were fetched again", n-asked)
	}
}

// A machine whose clocks stand elsewhere after a start: what was used last is
// still known, and the dates of files are those of their commit.
func TestClocksThatJump(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	if out, err := exec.Command("unshare", "-T", "--monotonic", "1000", "--fork", "true").CombinedOutput(); err != nil {
		t.Skipf("skipped: no time namespaces on this machine: %s", out)
	}
	_, m := serve(t, u, large("clocks", 5, 200<<10))
	at := annexedFiles(m)
	path := func(i int) string { return filepath.Join(u.path("mnt"), m.Files[at[i]].Path) }
	read := func(i int) {
		t.Helper()
		if _, err := os.ReadFile(path(i)); err != nil {
			t.Fatal(err)
		}
	}
	mount := []string{"mount", "--no-readahead", "--budget", "800KiB", "--dataset", m.Dir, u.path("mnt")}

	// A year later than the next.
	year := fmt.Sprint(365 * 24 * 3600)
	cmd := u.command(t.Context())
	unshare, _ := exec.LookPath("unshare")
	cmd.Path, cmd.Args = unshare, []string{"unshare", "-T", "--monotonic", year, "--boottime", year, "--fork", binary, "daemon", "--cache", u.cache, "--grace", "1m"}
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	io.ReadFull(said, make([]byte, len("ready\n")))
	first := u.daemon()
	u.must(mount...)
	if u.daemon() != first || first == 0 {
		t.Fatal("another daemon serves the mount")
	}
	for i := range 3 {
		read(i)
	}
	u.must("unmount", u.path("mnt"))
	u.leaveDaemon()

	u.must(mount...)
	read(0)
	read(3)
	read(4) // one has to go: 1 was used longest ago
	cached := u.must("list", "--dataset", m.Dir, "--cached")
	for i, want := range []bool{true, false, true, true, true} {
		if strings.Contains(cached, m.Files[at[i]].Path) != want {
			t.Errorf("file %d is cached: %v\n%s", i, !want, cached)
		}
	}
	st, err := os.Stat(path(0))
	if err != nil {
		t.Fatal(err)
	}
	if made := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC); !st.ModTime().Equal(made) {
		t.Errorf("dated %v, committed %v", st.ModTime(), made)
	}
}
