//go:build defects

package main_test

// What is promised and does not hold yet. Each moves to its place, out of the
// reach of the build tag, with its mend.

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

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
