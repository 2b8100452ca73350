package main_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// faults are what can go wrong at a system call.
var faults = []struct {
	call  string
	whats []string
}{
	{"openat", []string{"error=EMFILE", "error=EIO", "error=EACCES", "error=ENOSPC", "error=ENOMEM", "signal=KILL"}},
	{"fsync", []string{"error=EIO", "error=ENOSPC", "delay_enter=300000", "signal=KILL"}},
	{"fdatasync", []string{"error=EIO", "signal=KILL"}},
	{"renameat", []string{"error=EIO", "error=ENOSPC", "error=EPERM", "delay_enter=300000", "signal=KILL"}},
	{"renameat2", []string{"error=EIO", "signal=KILL"}},
	{"unlinkat", []string{"error=EPERM", "error=EIO", "error=EBUSY", "delay_enter=300000", "signal=KILL"}},
	{"pwrite64", []string{"error=ENOSPC", "error=EIO", "error=EDQUOT", "delay_enter=300000", "signal=KILL"}},
	{"write", []string{"signal=KILL"}}, // the Go runtime's own may not fail
	{"fallocate", []string{"error=ENOSPC", "error=EOPNOTSUPP", "signal=KILL"}},
	{"ftruncate", []string{"error=EIO", "error=ENOSPC", "signal=KILL"}},
	{"mkdirat", []string{"error=ENOSPC", "error=EIO", "signal=KILL"}},
	{"linkat", []string{"error=EPERM", "signal=KILL"}},
}

// disks are where a cache lies.
var disks = map[string]func(t *testing.T, u *user) string{
	"ext4": func(t *testing.T, u *user) string { return loopDisk(t, u, 192<<20, "mkfs.ext4", "-q", "-b", "4096") },
	"xfs":  func(t *testing.T, u *user) string { return loopDisk(t, u, 320<<20, "mkfs.xfs", "-q") },
}

// loopDisk mounts a file system of its own.
func loopDisk(t *testing.T, u *user, size int64, mkfs ...string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can mount a file system")
	}
	if _, err := exec.LookPath(mkfs[0]); err != nil {
		t.Skip("skipped: no ", mkfs[0])
	}
	image, disk := u.path("image"), u.path("disk")
	write(t, image, "")
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs[0], append(mkfs[1:], image)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	os.Mkdir(disk, 0o755)
	if out, err := exec.Command("mount", "-o", "loop", image, disk).CombinedOutput(); err != nil {
		t.Skipf("skipped: cannot mount %s: %s", mkfs[0], out)
	}
	t.Cleanup(func() { takeAway(t, u, disk) })
	return disk
}

// takeAway unmounts a disk that a user's cache lies on.
func takeAway(t *testing.T, u *user, disk string) {
	u.leave()
	for range 200 {
		if syscall.Unmount(disk, 0) == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%s stays mounted", disk)
	syscall.Unmount(disk, syscall.MNT_DETACH)
}

// seed is printed so that a run can be had again (UNIHARMONYFS_TEST_SEED). The
// short form has always the same: what it says of a change is the change's. The
// long form goes elsewhere each time.
func seed(t testing.TB) uint64 {
	s := uint64(1)
	if long() {
		s = uint64(time.Now().UnixNano()) % 1_000_000
	}
	if v, err := strconv.ParseUint(os.Getenv("UNIHARMONYFS_TEST_SEED"), 10, 64); err == nil {
		s = v
	}
	t.Logf("seed: UNIHARMONYFS_TEST_SEED=%d", s)
	return s
}

// long tells whether hours may be taken.
func long() bool { return os.Getenv("UNIHARMONYFS_TEST_LONG") != "" }

// Whatever system call fails, is slow or is the last one: bytes are right or
// an error came, nothing hangs, and with the next start all is well.
// UNIHARMONYFS_TEST_INJECT=CALL:WHAT:N[:ENDING] does one round.
func TestFaultsAtEverySystemCall(t *testing.T) {
	if one := os.Getenv("UNIHARMONYFS_TEST_INJECT"); one != "" {
		oneRound(t, strings.Split(one, ":"))
		return
	}
	for disk := range disks {
		t.Run(disk, func(t *testing.T) {
			t.Parallel()
			if long() {
				everyCall(t, newTrial(t, func(u *user) string { return disks[disk](t, u) }))
			} else {
				someCalls(t, newTrial(t, func(u *user) string { return disks[disk](t, u) }), 30*time.Second)
			}
		})
	}
}

func oneRound(t *testing.T, f []string) {
	tr := newTrial(t, nil)
	n, _ := strconv.Atoi(f[2])
	ending := "stop"
	if len(f) > 3 {
		ending = f[3]
	}
	fired, problems := tr.round(injection{f[0], f[1], n}, injection{}, len(f) > 4, ending)
	t.Logf("fired: %v", fired)
	for _, p := range problems {
		t.Error(p)
	}
}

// someCalls samples the matrix for a while.
func someCalls(t *testing.T, tr *trial, d time.Duration) {
	rng := rand.New(rand.NewPCG(seed(t), 1))
	rounds, fired := 0, 0
	for deadline := time.Now().Add(d); time.Now().Before(deadline); {
		f := faults[rng.IntN(len(faults))]
		in := injection{f.call, f.whats[rng.IntN(len(f.whats))], 1 + rng.IntN(1<<rng.IntN(6))}
		if tr.report(t, in, rng) {
			fired++
		}
		rounds++
	}
	t.Logf("%d rounds, in %d of them a fault", rounds, fired)
	if fired == 0 {
		t.Error("nothing was injected")
	}
}

// everyCall goes through the matrix: the first call, the second, until none
// fires, in some order.
func everyCall(t *testing.T, tr *trial) {
	rng := rand.New(rand.NewPCG(seed(t), 2))
	until := time.Now().Add(longTime(t))
	var all []injection
	for _, f := range faults {
		for _, w := range f.whats {
			all = append(all, injection{f.call, w, 0})
		}
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	rounds := 0
	for n := 1; len(all) > 0; n++ {
		var rest []injection
		for _, in := range all {
			in.n = n
			if time.Now().After(until) {
				t.Logf("%d rounds; stopped at the %d-th call of each", rounds, n)
				return
			}
			rounds++
			if tr.report(t, in, rng) {
				rest = append(rest, in)
			}
		}
		all = rest
	}
	t.Logf("%d rounds: every call", rounds)
}

// report does a round and says what went wrong in it, and whether it fired.
func (tr *trial) report(t *testing.T, in injection, rng *rand.Rand) bool {
	var again injection
	if in.what == "signal=KILL" && rng.IntN(2) == 0 {
		f := faults[rng.IntN(len(faults))]
		again = injection{f.call, "signal=KILL", 1 + rng.IntN(8)}
	}
	fresh, ending := rng.IntN(4) == 0, endings[rng.IntN(len(endings))]
	fired, problems := tr.round(in, again, fresh, ending)
	for _, p := range problems {
		t.Errorf("%v (new cache: %v; end: %s; then %v): %s", in, fresh, ending, again, p)
	}
	if len(problems) > 0 {
		// What is left of it must not be taken for the next round's.
		tr.end()
		exec.Command("umount", "-l", tr.mnt).Run()
	}
	return fired
}

// longTime is how long a test of many rounds may take when hours may be taken.
func longTime(t testing.TB) time.Duration {
	d, err := time.ParseDuration(os.Getenv("UNIHARMONYFS_TEST_LONG"))
	if err != nil {
		d = time.Hour
	}
	return d
}

// A disk that somebody else fills after the mount: who reads gets right bytes
// or an error, what is cached goes on, and with space all is well.
func TestDiskThatFillsUnderAMount(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can mount a small disk")
	}
	tr := newTrial(t, func(u *user) string {
		disk := u.path("disk")
		os.Mkdir(disk, 0o755)
		if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=256m"); err != nil {
			t.Skip("skipped: cannot mount a tmpfs: ", err)
		}
		t.Cleanup(func() { takeAway(t, u, disk) })
		return disk
	})
	filler := filepath.Join(filepath.Dir(tr.cache), "filler")
	for _, left := range []int64{0, 64 << 10, 1 << 20} {
		tr.begin()
		tr.copyCache(tr.known, tr.cache)
		tr.must(tr.mountArgs()...)
		cached := tr.names[1]
		if err := tr.read(cached, 0, -1); err != nil {
			t.Fatal(err)
		}
		eventually(t, "nothing is under way", func() bool { return tr.status().Store.Reserved == 0 })
		fill(t, filler, left)
		tr.script()
		if err := tr.read(cached, 0, -1); err != nil {
			if list := tr.must("list", "--dataset", tr.made.Dir, "--cached"); strings.Contains(list, cached) {
				tr.problem("a cached file cannot be read: %v", err)
			}
		}
		tr.attempt("unpin", filepath.Join(tr.mnt, tr.names[3]))
		tr.attempt("unmount", tr.mnt)
		tr.end()
		os.Remove(filler)
		tr.pinned = nil
		tr.healthy()
		for _, p := range tr.problems {
			t.Errorf("%d bytes free: %s", left, p)
		}
	}
}

// fill takes the space of a disk but so much.
func fill(t *testing.T, path string, left int64) {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &st); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("fallocate", "-l", fmt.Sprint(int64(st.Bavail)*st.Bsize-left), path).CombinedOutput(); err != nil {
		t.Fatalf("fallocate: %v %s", err, out)
	}
}
