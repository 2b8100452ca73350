package main_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// A disk that somebody else fills in the middle: the download stops with what
// is whole, and with more space the same command goes on.
func TestDiskFullInTheMiddle(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can mount a small disk")
	}
	u := newUser(t)
	server, m := serve(t, u, files("filling", 40, 200_000))
	server.SetLink(publisher.Link{Rate: 4 << 20})
	disk := u.path("disk")
	os.Mkdir(disk, 0o755)
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=16m"); err != nil {
		t.Skip("skipped: cannot mount a tmpfs: ", err)
	}
	defer syscall.Unmount(disk, syscall.MNT_DETACH)
	target := filepath.Join(disk, "target")
	get := []string{"get", "--dataset", m.Dir, target}
	r := make(chan result, 1)
	go func() { r <- u.run(get...) }()
	sent(t, server, 1<<20)
	filler := filepath.Join(disk, "filler")
	if out, err := exec.Command("dd", "if=/dev/zero", "of="+filler, "bs=4k").CombinedOutput(); err == nil {
		t.Fatalf("the disk is not full: %s", out)
	}
	first := <-r
	if first.code != 5 || !strings.Contains(first.errout, "no space left after ") || !strings.Contains(first.errout, "it continues") {
		t.Errorf("exit %d\n%s", first.code, first.errout)
	}
	t.Log(first.errout)
	want := contents(t, m)
	there := 0
	filepath.WalkDir(target, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, _ := filepath.Rel(target, p)
		if got, err := os.ReadFile(p); err != nil || !bytes.Equal(got, want[name]) {
			t.Errorf("%s is not whole: %d bytes, %v", name, len(got), err)
		}
		there++
		return nil
	})
	if there == 0 || there == len(want) {
		t.Errorf("%d of %d files are there", there, len(want))
	}
	u.fails(5, []string{"do not fit"}, get...)
	os.Remove(filler)
	u.must(get...)
	sameTree(t, target, want)
	if got, total := server.Counts().Bytes, annexedBytes(m); got > total+16*512<<10 {
		t.Errorf("%d bytes sent for %d", got, total)
	}
}

// A file that is larger than the budget does not keep the others away.
func TestGetWithATinyBudget(t *testing.T) {
	u := newUser(t)
	d := files("tiny", 10, 20_000)
	d.Files = append(d.Files, maker.File{Path: "sub-00/anat/sub-00_run-99_T2w.nii.gz", Size: 5 << 20, Seed: 99, Annexed: true})
	_, m := serve(t, u, d)
	u.fails(7, []string{"T2w.nii.gz: ", "no space", "budget"}, "get", "--budget", "1MiB", "--dataset", m.Dir, u.path("target"))
	want := contents(t, m)
	delete(want, "sub-00/anat/sub-00_run-99_T2w.nii.gz")
	sameTree(t, u.path("target"), want)
}

// --hardlink shares the cache's files: read-only, and nothing is ever written
// through them.
func TestHardlinksNeverWriteIntoTheCache(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, demo.Dataset())
	get := []string{"get", "--hardlink", "--dataset", m.Dir, "--suffix", "T1w", u.path("target")}
	u.must(get...)
	image := filepath.Join(u.path("target"), "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz")
	var st syscall.Stat_t
	if err := syscall.Stat(image, &st); err != nil || st.Nlink != 2 || st.Mode&0o777 != 0o444 {
		t.Errorf("%d links, mode %o, %v", st.Nlink, st.Mode, err)
	}
	object := ""
	filepath.WalkDir(filepath.Join(u.cache, "objects"), func(p string, e fs.DirEntry, _ error) error {
		var o syscall.Stat_t
		if syscall.Stat(p, &o) == nil && o.Ino == st.Ino {
			object = p
		}
		return nil
	})
	want, err := os.ReadFile(object)
	if err != nil {
		t.Fatalf("no object is shared: %v", err)
	}
	cached := func() []byte {
		got, err := os.ReadFile(object)
		if err != nil {
			t.Error(err)
		}
		return got
	}
	u.must(get...)
	u.must("get", "--dataset", m.Dir, "--suffix", "T1w", u.path("target"))
	// A file that differs is replaced, not written into.
	os.Remove(image)
	if err := os.Link(object, image); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(u.path("target"), "sub-01/ses-02/anat/sub-01_ses-02_T1w.nii.gz")
	os.Remove(other)
	if err := os.Link(object, other); err != nil {
		t.Fatal(err)
	}
	u.fails(7, []string{"sub-01_ses-02_T1w.nii.gz: another file is there"}, get...)
	u.must(append(get, "--force")...)
	if !bytes.Equal(cached(), want) {
		t.Error("the cache's file was written into")
	}
	sum, _ := maker.Bytes(m.Find("sub-01/ses-02/anat/sub-01_ses-02_T1w.nii.gz").Content)
	if got, _ := os.ReadFile(other); !bytes.Equal(got, sum) {
		t.Error("--force left a wrong file")
	}
	u.must("verify", "--dataset", m.Dir)
	// Without the cache the files stay.
	u.must("clean", "--all")
	if got, err := os.ReadFile(image); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file went with the cache: %v", err)
	}
	// On another disk it copies.
	if err := syscall.Mkdir("/dev/shm/"+filepath.Base(u.dir), 0o755); err != nil {
		t.Log("no other disk: ", err)
		return
	}
	elsewhere := "/dev/shm/" + filepath.Base(u.dir)
	defer os.RemoveAll(elsewhere)
	u.must("get", "--hardlink", "--plain", "--dataset", m.Dir, "--suffix", "T1w", elsewhere)
	if err := syscall.Stat(filepath.Join(elsewhere, "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"), &st); err != nil || st.Nlink != 1 || st.Mode&0o200 == 0 {
		t.Errorf("a copy has %d links, mode %o, %v", st.Nlink, st.Mode, err)
	}
}

// Where the file system can, a download shares the blocks of the cache.
func TestGetSharesBlocks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can mount a file system")
	}
	for name, mkfs := range map[string][]string{"btrfs": {"mkfs.btrfs", "-q"}, "xfs": {"mkfs.xfs", "-q", "-m", "reflink=1"}} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(mkfs[0]); err != nil {
				t.Skip("skipped: no ", mkfs[0])
			}
			u := newUser(t)
			image, disk := u.path("image"), u.path("disk")
			write(t, image, "")
			if err := os.Truncate(image, 400<<20); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(mkfs[0], append(mkfs[1:], image)...).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			os.Mkdir(disk, 0o755)
			if out, err := exec.Command("mount", "-o", "loop", image, disk).CombinedOutput(); err != nil {
				t.Skipf("skipped: cannot mount %s: %s", name, out)
			}
			_, m := serve(t, u, large("shared", 4, 8<<20))
			u.cache = filepath.Join(disk, "cache")
			t.Cleanup(func() {
				u.leaveDaemon()
				for range 100 {
					if exec.Command("umount", disk).Run() == nil {
						return
					}
					time.Sleep(50 * time.Millisecond)
				}
				t.Error("the disk stays mounted")
			})
			u.must("prefetch", "--dataset", m.Dir)
			unix.Sync()
			before := used(t, disk)
			u.must("get", "--dataset", m.Dir, filepath.Join(disk, "target"))
			unix.Sync()
			sameTree(t, filepath.Join(disk, "target"), contents(t, m))
			if more := used(t, disk) - before; more > 8<<20 {
				t.Errorf("the copies of 32 MiB take %d bytes", more)
			}
		})
	}
}

func used(t *testing.T, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(fmt.Errorf("statfs %s: %w", dir, err))
	}
	return int64(st.Blocks-st.Bfree) * st.Bsize
}

// Where the disk has no room for two copies, the cache keeps none.
func TestGetOnATightDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can mount a small disk")
	}
	u := newUser(t)
	_, m := serve(t, u, large("tight", 60, 600_000))
	disk := u.path("disk")
	os.Mkdir(disk, 0o755)
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64m"); err != nil {
		t.Skip("skipped: cannot mount a tmpfs: ", err)
	}
	u.cache = filepath.Join(disk, "cache")
	t.Cleanup(func() {
		u.leaveDaemon()
		syscall.Unmount(disk, syscall.MNT_DETACH)
	})
	u.must("get", "--dataset", m.Dir, filepath.Join(disk, "target"))
	sameTree(t, filepath.Join(disk, "target"), contents(t, m))
}

// A dry run, and a download that is refused, leave nothing behind.
func TestDryRunLeavesNothing(t *testing.T) {
	u := newUser(t)
	server, m := serve(t, u, demo.Dataset())
	target := u.path("new/er/target")
	for _, more := range [][]string{nil, {"--direct"}, {"--direct", "--copy"}, {"--plain", "--hardlink"}} {
		r := u.run(append([]string{"get", "--dry-run", "--dataset", m.Dir, "--suffix", "T1w", target}, more...)...)
		if r.code != 0 || !strings.Contains(r.errout, "4 to fetch (53 KiB") || !strings.Contains(r.errout, "free") {
			t.Errorf("%v: exit %d\n%s", more, r.code, r.errout)
		}
		if _, err := os.Lstat(u.path("new")); err == nil {
			t.Errorf("%v: a dry run made the target", more)
		}
	}
	if n := server.Counts().Requests; n != 0 {
		t.Errorf("a dry run asked for content %d times", n)
	}
	u.must("get", "--direct", "--dataset", m.Dir, "--sub", "01", "--suffix", "T1w", target)
	if r := u.run("get", "--dry-run", "--direct", "--dataset", m.Dir, "--suffix", "T1w", target); !strings.Contains(r.errout, "2 there already, 0 to copy, 2 to fetch") {
		t.Errorf("exit %d\n%s", r.code, r.errout)
	}
}

// A file larger than the cache's budget comes through it, and smaller ones
// beside it.
func TestGetLargerThanTheBudget(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, large("large", 2, 40_000_000))
	want := contents(t, m)
	target := u.path("target")
	for _, how := range [][]string{nil, {"--direct"}} {
		args := append([]string{"get", "--dataset", m.Dir, "--budget", "20MB"}, how...)
		u.must(append(args, target)...)
		for name, data := range want {
			if got, err := os.ReadFile(filepath.Join(target, name)); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%v: %s: %d bytes, %v", how, name, len(got), err)
			}
		}
		if s := u.status(); s.Store.Used > 20_000_000 {
			t.Errorf("%v: the cache has %d bytes", how, s.Store.Used)
		}
		os.RemoveAll(target)
	}
}
