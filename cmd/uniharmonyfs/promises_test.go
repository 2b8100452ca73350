package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// unmount --clean that is killed at whatever it removes: the next one does the
// rest, and what is not ours stays.
func TestCleanKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	_, m := serve(t, u, files("cleaned", 6, 20_000))
	want := contents(t, m)
	mine := filepath.Join(u.cache, "mine")
	fired := true
	// Further and further: each removal of a hundred would take a while.
	for n := 1; fired; n = n + 1 + n/2 {
		u.must("mount", "--dataset", m.Dir, u.path("mnt"))
		readers(t, u.path("mnt"), want, 2)()
		write(t, mine, "mine\n")
		detach := u.attach("unlinkat", fmt.Sprintf("signal=KILL:when=%d", n))
		u.run("unmount", "--clean", u.path("mnt"))
		fired = detach()
		if fired {
			u.run("unmount", "--clean", u.path("mnt")) // there may be no mount any more
			u.must("clean", "--all")
		}
		if got, err := os.ReadFile(mine); err != nil || string(got) != "mine\n" {
			t.Fatalf("killed at %d: what is not ours: %q, %v", n, got, err)
		}
		var left []string
		for _, e := range entries(t, u.cache) {
			if e != "mine" {
				left = append(left, e)
			}
		}
		if len(left) > 0 {
			t.Errorf("killed at %d: left: %v", n, left)
		}
		os.RemoveAll(u.cache)
	}
}

func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

// object returns where the content of a file is cached.
func (u *user) object(m *maker.Made, name string) string {
	u.t.Helper()
	key := m.Find(name).Key
	found, _ := filepath.Glob(filepath.Join(u.cache, "objects", "*", "*", key.FileName(), key.FileName()))
	if len(found) != 1 {
		u.t.Fatalf("%s: objects: %v", name, found)
	}
	return found[0]
}

// A power cut leaves files that are empty, short or have zeros for an end, and
// an index of before: nothing wrong is read, and the books are right.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	_, m := serve(t, u, files("power", 12, 30_000))
	want := contents(t, m)
	at := annexedFiles(m)
	name := func(i int) string { return m.Files[at[i]].Path }
	mount := []string{"mount", "--no-readahead", "--dataset", m.Dir, u.path("mnt")}
	u.must(mount...)
	if _, err := os.ReadFile(filepath.Join(u.path("mnt"), name(0))); err != nil {
		t.Fatal(err)
	}
	u.must("unmount", u.path("mnt"))
	u.leaveDaemon()
	index, before := filepath.Join(u.cache, "index"), u.path("index-before")
	copyTree(t, index, before)
	u.must(mount...)
	readers(t, u.path("mnt"), want, 4)()
	syscall.Kill(u.daemon(), syscall.SIGKILL)
	eventually(t, "the daemon is dead", func() bool { return u.daemon() == 0 })

	for i, damage := range []func(f *os.File, size int64) error{
		func(f *os.File, size int64) error { return f.Truncate(0) },
		func(f *os.File, size int64) error { return f.Truncate(size / 2) },
		func(f *os.File, size int64) error {
			return errors.Join(f.Truncate(size-4096), f.Truncate(size)) // zeros
		},
		func(f *os.File, size int64) error { _, err := f.WriteAt([]byte("garbage"), size); return err },
		func(f *os.File, size int64) error { return errors.Join(f.Truncate(0), f.Truncate(size)) },
	} {
		path := u.object(m, name(i+1))
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		os.Chmod(path, 0o644)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(damage(f, st.Size()), f.Close(), os.Chtimes(path, st.ModTime(), st.ModTime()), os.Chmod(path, 0o444)); err != nil {
			t.Fatal(err)
		}
	}
	os.RemoveAll(index)
	copyTree(t, before, index)

	u.must(mount...)
	eventually(t, "all can be read", func() bool {
		for name, data := range want {
			got, err := os.ReadFile(filepath.Join(u.path("mnt"), name))
			if err == nil && !bytes.Equal(got, data) {
				t.Fatalf("%s: wrong bytes", name)
			}
			if err != nil {
				return false
			}
		}
		return true
	})
	tr := &trial{user: u}
	tr.books("after a power cut", false)
	for _, p := range tr.problems {
		t.Error(p)
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
}

// A budget that is lowered below what is used makes the rest go; below what is
// pinned it keeps the pins, and says so.
func TestLoweredBudget(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	_, m := serve(t, u, large("lowered", 10, 100<<10))
	want := contents(t, m)
	at := annexedFiles(m)
	path := func(i int) string { return filepath.Join(u.path("mnt"), m.Files[at[i]].Path) }
	u.must("mount", "--no-readahead", "--budget", "10MiB", "--dataset", m.Dir, u.path("mnt"))
	readers(t, u.path("mnt"), want, 4)()
	u.must("pin", path(0), path(1))
	lower := func(budget string) store {
		u.must("mount", "--no-readahead", "--budget", budget, "--dataset", m.Dir, u.path("other"))
		var s store
		eventually(t, "there is room again", func() bool {
			s = u.status().Store
			return s.Used <= max(s.Budget, s.Pinned)
		})
		u.must("unmount", u.path("other"))
		return s
	}
	if s := lower("512KiB"); s.Objects > 5 || s.Objects < 2 || s.Pinned < 200<<10 {
		t.Errorf("%+v", s)
	}
	s := lower("100KiB")
	if s.Objects != 2 || s.Pinned != s.Used || s.Used <= s.Budget {
		t.Errorf("below the pins: %+v", s)
	}
	for i := range 2 {
		if got, err := os.ReadFile(path(i)); err != nil || !bytes.Equal(got, want[m.Files[at[i]].Path]) {
			t.Errorf("pinned, and %v", err)
		}
	}
	if s := lower("10MiB"); s.Budget != 10<<20 {
		t.Errorf("%+v", s)
	}
	readers(t, u.path("mnt"), want, 4)()
}

// A file that is mapped or in the kernel's cache is evicted, and fetched
// again: who has it goes on reading the same bytes.
func TestEvictedWhileMapped(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	const size = 1 << 20
	_, m := serve(t, u, large("mapped", 1, size))
	name := m.Files[annexedFiles(m)[0]].Path
	path := filepath.Join(u.path("mnt"), name)
	want := contents(t, m)[name]
	u.must("mount", "--no-readahead", "--dataset", m.Dir, u.path("mnt"))
	reader := exec.Command("python3", "-c", mapper, path)
	ask, err1 := reader.StdinPipe()
	pages, err2 := reader.StdoutPipe()
	if err := errors.Join(err1, err2, reader.Start()); err != nil {
		t.Fatal(err)
	}
	look := func(from, n int) {
		t.Helper()
		fmt.Fprintln(ask, from, n)
		got := make([]byte, n)
		if _, err := io.ReadFull(pages, got); err != nil || !bytes.Equal(got, want[from:from+n]) {
			t.Errorf("%d bytes at %d of the mapping: wrong, or %v", n, from, err)
		}
	}
	look(0, size/4)
	for i := range 3 {
		u.must("evict", u.path("mnt"))
		look(size/4*i, size/4)
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("after eviction %d: %d bytes, %v", i, len(got), err)
		}
	}
	look(0, size)
	ask.Close()
	reader.Wait()
}

// Content that is at several paths is fetched, counted, pinned and evicted
// once, and in a second dataset too.
func TestOneContentAtManyPaths(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	d := large("many-paths", 2, 100<<10)
	twin := d.Files[len(d.Files)-1]
	twin.Path = strings.Replace(twin.Path, "T1w", "T2w", 1)
	d.Files = append(d.Files, twin)
	server, m := serve(t, u, d)
	one, two := d.Files[len(d.Files)-2].Path, twin.Path
	a, b := filepath.Join(u.path("mnt"), one), filepath.Join(u.path("mnt"), two)
	want := contents(t, m)
	u.must("mount", "--no-readahead", "--dataset", m.Dir, u.path("mnt"))
	cached := func() bool {
		t.Helper()
		list := strings.Fields(u.must("list", "--dataset", m.Dir, "--cached"))
		if slices.Contains(list, one) != slices.Contains(list, two) {
			t.Errorf("one path is cached, the other not: %v", list)
		}
		return slices.Contains(list, one)
	}
	for _, p := range []string{a, b} {
		if got, err := os.ReadFile(p); err != nil || !bytes.Equal(got, want[one]) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if s := u.status().Store; s.Objects != 1 || s.Used != 100<<10 {
		t.Errorf("%+v", s)
	}
	if n := server.Counts().Bytes; n != 100<<10 {
		t.Errorf("%d bytes were sent", n)
	}
	u.must("pin", a)
	u.must("evict", b)
	if !cached() {
		t.Error("pinned by the one path, evicted by the other")
	}
	u.must("unpin", a)
	u.must("evict", b)
	if cached() {
		t.Error("evicted, and still there")
	}
	if got, err := os.ReadFile(a); err != nil || !bytes.Equal(got, want[one]) {
		t.Errorf("%v", err)
	}
}

// Programs that walk over a mount fetch nothing: it is known by its type.
func TestWalkersFetchNothing(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	server, m := serve(t, u, demo.Dataset())
	mnt := u.path("mnt")
	u.must("mount", "--dataset", m.Dir, mnt)
	u.waitForBranch()
	before := server.Counts()
	for _, walk := range [][]string{
		{"find", mnt, "-size", "+1k", "-newer", "/", "-printf", "%s %t %m %n %i\n"},
		{"ls", "-lRa", mnt},
		{"du", "-a", mnt},
		{"tar", "-cf", "/dev/null", mnt}, // tar knows that nobody reads it
		{"sh", "-c", `find "$0" -type f -exec stat -f {} + -exec test -r {} \;`, mnt},
		{"python3", "-c", "import os,sys\nfor d,_,f in os.walk(sys.argv[1]):\n  for x in f: os.close(os.open(os.path.join(d,x), os.O_RDONLY))", mnt},
	} {
		if out, err := exec.Command(walk[0], walk[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", walk, err, tail(out, 500))
		}
	}
	if after := server.Counts(); after.Requests != before.Requests {
		t.Errorf("%d requests for content", after.Requests-before.Requests)
	}
	if s := u.status().Store; s.Objects != 0 || s.Partials != 0 {
		t.Errorf("%+v", s)
	}
	mounts, _ := os.ReadFile("/proc/self/mounts")
	if !strings.Contains(string(mounts), " "+mnt+" fuse.uniharmonyfs ro,") {
		t.Error("the mount is not of type fuse.uniharmonyfs, or not read-only")
	}
	// Who reads it all gets it, as anybody who reads.
	if out, err := exec.Command("grep", "-rc", "no such word", mnt).CombinedOutput(); err == nil || bytes.Contains(out, []byte("error")) {
		t.Errorf("grep: %v\n%s", err, tail(out, 500))
	}
}

// Nothing can be written to a mount, cached or not, also not through memory.
func TestNothingIsWritten(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	_, m := serve(t, u, demo.Dataset())
	mnt := u.path("mnt")
	u.must("mount", "--dataset", m.Dir, mnt)
	want := contents(t, m)
	image := "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"
	path := filepath.Join(mnt, image)
	for _, state := range []string{"missing", "cached"} {
		for what, try := range map[string]func() error{
			"write":    func() error { return os.WriteFile(path, []byte("x"), 0o644) },
			"truncate": func() error { return os.Truncate(path, 0) },
			"chmod":    func() error { return os.Chmod(path, 0o600) },
			"rename":   func() error { return os.Rename(path, path+"x") },
			"remove":   func() error { return os.Remove(path) },
			"create":   func() error { return os.WriteFile(filepath.Join(mnt, "new"), nil, 0o644) },
			"xattr":    func() error { return unix.Setxattr(path, "user.x", []byte("y"), 0) },
		} {
			if err := try(); !errors.Is(err, syscall.EROFS) {
				t.Errorf("%s, %s: %v, want EROFS", state, what, err)
			}
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); !errors.Is(err, syscall.EACCES) {
			t.Errorf("%s: a shared mapping to write: %v, want EACCES", state, err)
		}
		f.Close()
		changed, err := changedInPlace(path)
		if err != nil || len(changed) != len(want[image]) || changed[0] != ^want[image][0] || !bytes.Equal(changed[1:], want[image][1:]) {
			t.Errorf("%s: a private mapping: %d bytes, %v", state, len(changed), err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want[image]) {
			t.Errorf("%s: %d bytes, %v", state, len(got), err)
		}
	}
}

// A file that cannot be had, for whatever reason, changes nothing for one that
// is here.
func TestFailuresStayWithTheirFile(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	server, m := serve(t, u, files("isolated", 12, 30_000))
	want := contents(t, m)
	at := annexedFiles(m)
	u.must("mount", "--no-readahead", "--fetcher", "native", "--timeout", "1s", "--patience", "1s", "--dataset", m.Dir, u.path("mnt"))
	cached := m.Files[at[0]]
	read := func() {
		t.Helper()
		if got, err := os.ReadFile(filepath.Join(u.path("mnt"), cached.Path)); err != nil || !bytes.Equal(got, want[cached.Path]) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	read()
	asked := server.ObjectCounts(m.URLs(&cached)[0]).Requests
	for i, fault := range []publisher.Fault{publisher.Status(404, 0), publisher.Status(503, 0), publisher.Flip(5), publisher.Drop(-1), publisher.Drop(10_000), publisher.Stall(-1), publisher.Captive, publisher.Gzip, publisher.Multipart, publisher.Resize(100)} {
		server.SetFault(publisher.Always(fault))
		other := m.Files[at[i+1]].Path
		got, err := os.ReadFile(filepath.Join(u.path("mnt"), other))
		if err == nil && !bytes.Equal(got, want[other]) {
			t.Errorf("fault %d: wrong bytes", i)
		}
		read()
	}
	if n := server.ObjectCounts(m.URLs(&cached)[0]).Requests; n != asked {
		t.Error("the cached file was asked for again")
	}
}

// A mount counts as cached what was fetched, not what lies in git.
func TestCachedIsWhatWasFetched(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, files("cached", 3, 9000))
	mnt := u.path("mnt")
	u.must("mount", "--no-readahead", "--dataset", m.Dir, mnt)
	for i, at := range annexedFiles(m) {
		if out := u.must("status"); !strings.Contains(out, fmt.Sprintf(" %d cached;", i)) {
			t.Errorf("%d were read:\n%s", i, out)
		}
		if _, err := os.ReadFile(filepath.Join(mnt, m.Files[at].Path)); err != nil {
			t.Fatal(err)
		}
	}
}
