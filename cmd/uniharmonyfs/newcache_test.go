package main_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A power cut soon after a cache was made, when not all of its files are on the
// disk: the cache is taken for what it is, and goes on.
func TestPowerCutOfANewCache(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	_, m := serve(t, u, files("new", 4, 30_000))
	disk := loopDisk(t, u, 192<<20, "mkfs.ext4", "-q", "-b", "4096")
	u.cache = filepath.Join(disk, "cache")
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	u.waitForBranch()
	u.must("pin", u.path("mnt/sub-00"))
	// Nothing more gets to the disk, as with a power cut.
	if out, err := exec.Command("mount", "-o", "remount,abort", disk).CombinedOutput(); err != nil {
		t.Skipf("skipped: this ext4 cannot be made to fail: %s", out)
	}
	u.run("unmount", u.path("mnt"))
	u.leaveDaemon()
	eventually(t, "the disk is in nobody's use", func() bool { return syscall.Unmount(disk, 0) == nil })
	if out, err := exec.Command("mount", "-o", "loop", u.path("image"), disk).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	if list := u.must("list", "--dataset", m.Dir, "--cached"); !strings.Contains(list, "sub-00/anat") {
		t.Error("what was pinned is gone")
	}
	readers(t, u.path("mnt"), contents(t, m), 2)()
	u.must("unmount", u.path("mnt"))
	u.leaveDaemon()
}

// A disk that takes no new directories: who reads gets an error, and no wait
// without end.
func TestDiskWithoutNewFiles(t *testing.T) {
	t.Parallel()
	underDiskFault(t, always("mkdirat,mkdir", "error=EROFS"))
}

// The first commands of a new user come side by side: there is no cache yet, and
// no daemon.
func TestFirstCommandsSideBySide(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	_, m := serve(t, u, files("first", 2, 3000))
	for n := range 5 {
		first := &user{t: t, dir: u.dir, cache: u.path(fmt.Sprintf("home-%d/.cache/uniharmonyfs", n))}
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				if r := first.run("list", "--dataset", m.Dir, "--count"); r.code != 0 {
					t.Errorf("exit %d: %s%s", r.code, r.out, r.errout)
				}
			})
		}
		all.Wait()
		log, err := os.ReadFile(filepath.Join(first.cache, "daemon.log"))
		if served := bytes.Count(log, []byte("msg=start ")); err != nil || served != 1 {
			t.Errorf("%d daemons served, %v\n%s", served, err, log)
		}
		first.leaveDaemon()
	}
}
