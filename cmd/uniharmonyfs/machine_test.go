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

	"github.com/uniharmony/uniharmonyfs/internal/demo"
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
		if u.daemon() != 0 { // else it ends by itself, and has more to say
			cmd.Process.Signal(syscall.SIGTERM)
		}
		<-ended
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
	always := func(call, what string) func(t *testing.T, u *user, disk string) func() {
		return func(t *testing.T, u *user, _ string) func() {
			detach := u.attach(call, what+":when=1+")
			return func() {
				if !detach() {
					t.Error("no fault was injected")
				}
			}
		}
	}
	for name, begin := range map[string]func(t *testing.T, u *user, disk string) (end func()){
		"no inodes": func(t *testing.T, u *user, disk string) func() {
			more := filepath.Join(disk, "more")
			os.Mkdir(more, 0o755)
			for i := 0; ; i++ {
				if err := os.WriteFile(filepath.Join(more, fmt.Sprint(i)), nil, 0o644); errors.Is(err, syscall.ENOSPC) {
					return func() { os.RemoveAll(more) }
				} else if err != nil {
					t.Fatal(err)
				}
			}
		},
		"over quota":    always("pwrite64,fallocate", "error=EDQUOT"),
		"broken writes": always("pwrite64", "error=EIO"),
		"no new files":  always("mkdirat,mkdir", "error=EROFS"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			disk := smallDisk(t, u, "size=256m,nr_inodes=4000")
			_, m := serve(t, u, files("full", 8, 30_000))
			want := contents(t, m)
			read := func(i int) error {
				name := m.Files[i].Path
				got, err := os.ReadFile(filepath.Join(u.path("mnt"), name))
				if err == nil && !bytes.Equal(got, want[name]) {
					t.Errorf("%s: wrong bytes", name)
				}
				return err
			}
			first := annexedFiles(m)
			u.must("mount", "--no-readahead", "--dataset", m.Dir, u.path("mnt"))
			u.waitForBranch()
			if err := read(first[0]); err != nil {
				t.Fatal(err)
			}
			pid := u.daemon()
			end := begin(t, u, disk)
			if err := read(first[1]); !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.EDQUOT) {
				t.Errorf("what is not here: %v", err)
			}
			if err := read(first[0]); err != nil {
				t.Errorf("what is cached: %v", err)
			}
			end()
			if u.daemon() != pid {
				t.Error("the daemon did not live")
			}
			var err error
			eventually(t, fmt.Sprintf("the disk is well again (%v)", err), func() bool { err = read(first[1]); return err == nil })
			for _, i := range first {
				if err := read(i); err != nil {
					t.Error(err)
				}
			}
			u.must("unmount", "--clean", u.path("mnt"))
		})
	}
}

// annexedFiles returns the indices of a dataset's annexed files.
func annexedFiles(m *demo.Made) (at []int) {
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
