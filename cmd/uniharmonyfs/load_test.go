package main_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
)

// contents reads the true content of every file that a view shows.
func contents(t testing.TB, m *demo.Made) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	for _, f := range m.Files {
		if strings.HasPrefix(f.Path, ".") {
			continue // not part of a view
		}
		data, err := demo.Bytes(f.Content)
		if err != nil {
			t.Fatal(err)
		}
		all[f.Path] = data
	}
	return all
}

// ownDisk mounts a tmpfs on the cache and returns how many bytes of it are in
// use for content. A walk over the objects is no measure of that: files come
// and go meanwhile.
func ownDisk(t *testing.T, u *user) (used func() int64) {
	t.Helper()
	cache := u.cache
	if err := os.MkdirAll(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 || syscall.Mount("tmpfs", cache, "tmpfs", 0, "size=512m,mode=700") != nil {
		t.Log("cannot mount a tmpfs: only the cache's own figures are watched")
		return func() int64 { return 0 }
	}
	t.Cleanup(func() {
		u.leave()
		syscall.Unmount(cache, syscall.MNT_DETACH)
	})
	return func() int64 {
		var st syscall.Statfs_t
		if err := syscall.Statfs(cache, &st); err != nil {
			t.Error(err)
		}
		// The index and the clone grow only: they are taken after.
		other := int64(0)
		for _, dir := range []string{"index", "datasets", "daemon.log", "settings.json"} {
			filepath.WalkDir(filepath.Join(cache, dir), func(_ string, e fs.DirEntry, err error) error {
				if err == nil && e.Type().IsRegular() {
					if info, err := e.Info(); err == nil {
						other += info.Sys().(*syscall.Stat_t).Blocks * 512
					}
				}
				return nil
			})
		}
		return int64(st.Blocks-st.Bfree)*st.Bsize - other
	}
}

func TestManyReadersUnderATenthOfTheBudget(t *testing.T) {
	u := newUser(t)
	const n, size = 2000, 12_000
	server, m := serve(t, u, files("many", n, size))
	want := contents(t, m)
	var total int64
	for _, f := range m.Files {
		total += (f.Content.Size() + 4095) / 4096 * 4096
	}
	budget := total / 10
	used := ownDisk(t, u)
	u.must("mount", "--dataset", m.Dir, "--budget", fmt.Sprint(budget), u.path("mnt"))
	if s := u.status(); s.Store.Budget != budget {
		t.Fatalf("budget %d, want %d", s.Store.Budget, budget)
	}
	read := readers(t, u.path("mnt"), want, 16)
	var most, highest atomic.Int64
	done := make(chan struct{})
	var sampler sync.WaitGroup
	empty := used()
	sampler.Go(func() {
		for tick := 0; ; tick++ {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
			most.Store(max(most.Load(), used()-empty))
			if tick%10 == 0 {
				s := u.status()
				highest.Store(max(highest.Load(), s.Store.Used+s.Store.Reserved))
			}
		}
	})
	read()
	close(done)
	sampler.Wait()
	if highest.Load() > budget || most.Load() > budget {
		t.Errorf("up to %d bytes by its own figures, %d on disk, under a budget of %d", highest.Load(), most.Load(), budget)
	}
	if highest.Load() == 0 {
		t.Error("nothing was measured")
	}
	t.Logf("%d files, %d bytes; budget %d: at most %d booked, %d on disk; %d requests, %d bytes sent",
		n, total, budget, highest.Load(), most.Load(), server.Counts().Requests, server.Counts().Bytes)
}

// readers starts to read every file through the mount with k readers, each in
// an order of its own over its share, and returns a function that waits.
func readers(t *testing.T, mnt string, want map[string][]byte, k int) (wait func()) {
	var paths []string
	for p := range want {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	var g sync.WaitGroup
	for r := range k {
		g.Go(func() {
			for i := r; i < len(paths); i += k {
				got, err := os.ReadFile(filepath.Join(mnt, paths[i]))
				if err != nil || !bytes.Equal(got, want[paths[i]]) {
					t.Errorf("%s: %d bytes, %v", paths[i], len(got), err)
				}
			}
		})
	}
	return g.Wait
}

// Each file is fetched once while it stays, and git-annex sees what we hold.
func TestFetchedOnceAndGitAnnexAgrees(t *testing.T) {
	u := newUser(t)
	server, m := serve(t, u, files("once", 120, 20_000))
	want := contents(t, m)
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	for range 2 {
		readers(t, u.path("mnt"), want, 8)()
	}
	for _, f := range m.Files {
		if !f.Annexed {
			continue
		}
		if n := server.ObjectCounts(m.URLs(&f)[0]).Requests; n != 1 {
			t.Errorf("%s was asked for %d times", f.Path, n)
		}
	}
	s := u.status()
	if s.Store.Objects != 120 {
		t.Errorf("%d objects, want 120", s.Store.Objects)
	}
	clone := s.Mounts[0].Clone
	for _, dir := range annexes() {
		git := func(args ...string) string {
			cmd := exec.Command("git", args...)
			cmd.Dir = clone
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+u.dir)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%s: git %v: %v\n%s", dir, args, err, tail(out, 1000))
			}
			return string(out)
		}
		if n := len(strings.Fields(git("annex", "find", "--in", "here", "--branch", "main", "--format=${key}\\n"))); n != 120 {
			t.Errorf("%s: git annex find --in here: %d, want 120", dir, n)
		}
		git("annex", "fsck", "--all", "--quiet")
	}
	// What git-annex did to the files' directories is in nobody's way.
	readers(t, u.path("mnt"), want, 8)()
	u.must("unmount", "--clean", u.path("mnt"))
	if _, err := os.Stat(u.cache); !os.IsNotExist(err) {
		t.Errorf("the cache is still there: %v", err)
	}
}

// annexes returns the directories of the git-annex programs to test with: the
// system's, and the newest.
func annexes() (dirs []string) {
	if p, err := exec.LookPath("git-annex"); err == nil {
		dirs = append(dirs, filepath.Dir(p))
	}
	if d := os.Getenv("UNIHARMONYFS_TEST_NEW_ANNEX"); d != "" {
		dirs = append(dirs, d)
	}
	return dirs
}

func TestKilledDaemonLosesNothing(t *testing.T) {
	u := newUser(t)
	server, m := serve(t, u, files("killed", 100, 60_000))
	want := contents(t, m)
	server.SetLink(demo.Link{RTT: 2 * time.Millisecond, Rate: 8 << 20})
	rng := rand.New(rand.NewPCG(3, 4))
	mnt := u.path("mnt")
	kills := 50
	if testing.Short() {
		kills = 10
	}
	for i := range kills {
		u.must("mount", "--dataset", m.Dir, mnt)
		pid := u.daemon()
		ctx, stop := context.WithCancel(context.Background())
		var g sync.WaitGroup
		for r := range 4 {
			order := rand.New(rand.NewPCG(uint64(i), uint64(r))).Perm(len(m.Files))
			g.Go(func() {
				for _, k := range order {
					f := m.Files[k]
					got, err := os.ReadFile(filepath.Join(mnt, f.Path))
					if err == nil && !bytes.Equal(got, want[f.Path]) {
						t.Errorf("round %d: %s: wrong bytes", i, f.Path)
					}
					if ctx.Err() != nil {
						return
					}
				}
			})
		}
		time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		stop()
		g.Wait()
	}
	server.SetLink(demo.Link{})
	u.must("mount", "--dataset", m.Dir, mnt)
	readers(t, mnt, want, 8)()
	s := u.status()
	if s.Store.Objects != 100 || s.Store.Partials != 0 || s.Store.Reserved != 0 {
		t.Errorf("after reading all: %+v", s.Store)
	}
	if len(s.Mounts) != 1 {
		t.Errorf("%d mounts", len(s.Mounts))
	}
	u.must("unmount", "--clean", mnt)
	if _, err := os.Stat(u.cache); !os.IsNotExist(err) {
		t.Errorf("the cache is still there: %v", err)
	}
}

func TestUnmountAfterTheDaemonWasKilled(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, files("stale", 5, 1000))
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	readers(t, u.path("mnt"), contents(t, m), 1)()
	syscall.Kill(u.daemon(), syscall.SIGKILL)
	u.must("unmount", "--clean", u.path("mnt"))
	if _, err := os.Stat(u.cache); !os.IsNotExist(err) {
		t.Errorf("the cache is still there: %v", err)
	}
}

func TestTwoMountsShareOneCache(t *testing.T) {
	u := newUser(t)
	server, m := serve(t, u, demo.DemoDataset())
	u.must("mount", "--dataset", m.Dir, "--sub", "01", u.path("a"))
	u.must("mount", "--dataset", m.Dir, "--modality", "anat", u.path("b"))
	image := "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"
	want, err := demo.Bytes(m.Find(image).Content)
	if err != nil {
		t.Fatal(err)
	}
	for _, mnt := range []string{"a", "b", "a"} {
		if got, err := os.ReadFile(filepath.Join(u.path(mnt), image)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v", mnt, err)
		}
	}
	if n := server.ObjectCounts(m.URLs(m.Find(image))[0]).Requests; n != 1 {
		t.Errorf("%d requests", n)
	}
	u.must("pin", filepath.Join(u.path("b"), "sub-02/ses-01/anat"))
	u.must("unmount", "--clean", u.path("a"))
	if _, err := os.ReadFile(filepath.Join(u.path("b"), image)); err != nil {
		t.Errorf("the other mount is disturbed: %v", err)
	}
	u.must("unmount", "--clean", u.path("b"))
	s := u.status()
	if s.Store.Objects != 1 || s.Store.Pinned == 0 {
		t.Errorf("outside pins: %+v", s.Store)
	}
	u.must("clean", "--all")
	if s := u.status(); s.Store.Objects != 1 {
		t.Error("clean --all took a pinned file")
	}
	u.must("clean", "--all", "--pins")
	if _, err := os.Stat(u.cache); !os.IsNotExist(err) {
		t.Errorf("the cache is still there: %v", err)
	}
}

// Who is not root mounts with fusermount3, and reads through the daemon.
func TestOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: the other tests ran as an ordinary user")
	}
	if st, err := os.Stat("/dev/fuse"); err != nil || st.Mode().Perm()&0o006 != 0o006 {
		t.Skip("skipped: /dev/fuse is not open to ordinary users here")
	}
	const nobody = 65534
	u := newUser(t)
	server, m := serve(t, u, demo.DemoDataset())
	u.uid = nobody
	if err := os.Chown(u.dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	u.must("mount", "--dataset", server.GitURL(m), "--sub", "01", u.path("mnt"))
	image := "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"
	want, err := demo.Bytes(m.Find(image).Content)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(filepath.Join(u.path("mnt"), image)); err == nil {
		t.Error("another user, be it root, reads the mount")
	}
	for range 2 {
		cmd := u.command(context.Background())
		cmd.Path, cmd.Args = "/bin/cat", []string{"cat", filepath.Join(u.path("mnt"), image)}
		if got, err := cmd.Output(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if s := u.status(); s.Store.Objects == 0 || s.Mounts[0].Passthrough {
		t.Errorf("%+v", s)
	}
	u.must("get", "--dataset", server.GitURL(m), "--sub", "02", u.path("target"))
	u.must("unmount", "--clean", u.path("mnt"))
	if _, err := os.Stat(u.cache); !os.IsNotExist(err) {
		t.Errorf("the cache is still there: %v", err)
	}
}

// After an update of the program the mounts of before can be looked at and
// taken away, and what comes then is new.
func TestUpdateWithMounts(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, demo.DemoDataset())
	updated := u.path("updated")
	if out, err := exec.Command("go", "build", "-ldflags", "-X main.version=9.9", "-o", updated, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	before := u.daemon()
	run := func(args ...string) (string, error) {
		cmd := u.command(context.Background(), args...)
		cmd.Path = updated
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("status"); err != nil || !strings.Contains(out, u.path("mnt")) {
		t.Errorf("status: %v\n%s", err, out)
	}
	if out, err := run("mount", "--dataset", m.Dir, u.path("other")); err == nil || !strings.Contains(out, "uniharmonyfs unmount") {
		t.Errorf("mount: %v\n%s", err, out)
	}
	if out, err := run("unmount", u.path("mnt")); err != nil {
		t.Errorf("unmount: %v\n%s", err, out)
	}
	if out, err := run("mount", "--dataset", m.Dir, u.path("other")); err != nil {
		t.Errorf("mount: %v\n%s", err, out)
	}
	if u.daemon() == before {
		t.Error("the old daemon is still there")
	}
	if out, err := run("unmount", "--clean", u.path("other")); err != nil {
		t.Errorf("unmount: %v\n%s", err, out)
	}
}

func TestForegroundEndsAtSIGTERM(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, demo.DemoDataset())
	mnt := u.path("mnt")
	cmd := u.command(context.Background(), "mount", "--foreground", "--dataset", m.Dir, mnt)
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || !strings.HasPrefix(line, "Mounted ") {
		t.Errorf("it says %q, %v", line, err)
	}
	if _, err := os.ReadFile(filepath.Join(mnt, "README")); err != nil {
		t.Error(err)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("at SIGTERM: %v", err)
	}
	if _, err := os.Stat(filepath.Join(mnt, "README")); err == nil {
		t.Error("still mounted")
	}
}

func TestOffline(t *testing.T) {
	u := newUser(t)
	server, m := serve(t, u, demo.DemoDataset())
	u.fails(4, []string{"not known here", "--offline"}, "mount", "--offline", "--dataset", m.Dir, u.path("mnt"))
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	image := "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"
	if _, err := os.ReadFile(filepath.Join(u.path("mnt"), image)); err != nil {
		t.Fatal(err)
	}
	u.must("unmount", u.path("mnt"))
	server.Close()
	u.must("mount", "--offline", "--dataset", m.Dir, u.path("mnt"))
	if _, err := os.ReadFile(filepath.Join(u.path("mnt"), image)); err != nil {
		t.Errorf("cached, but: %v", err)
	}
	other := filepath.Join(u.path("mnt"), "sub-02/ses-01/anat/sub-02_ses-01_T1w.nii.gz")
	if _, err := os.ReadFile(other); err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("not cached, and offline: %v", err)
	}
	if out := u.must("status", other); !strings.Contains(out, "offline") {
		t.Errorf("status does not say why:\n%s", out)
	}
}

func TestSourcesThatLie(t *testing.T) {
	for name, fault := range map[string]demo.Fault{
		"flipped byte":  demo.Flip(777),
		"short":         demo.Resize(500),
		"captive":       demo.Captive,
		"gzip":          demo.Gzip,
		"not found":     demo.Status(404, 0),
		"ignored range": demo.IgnoreRange,
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			server, m := serve(t, u, demo.DemoDataset())
			server.SetFault(demo.Always(fault))
			u.must("mount", "--dataset", m.Dir, "--fetcher", "native", "--timeout", "2s", u.path("mnt"))
			image := "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"
			want, err := demo.Bytes(m.Find(image).Content)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(u.path("mnt"), image)
			got, err := os.ReadFile(path)
			if err == nil && !bytes.Equal(got, want) {
				t.Fatal("wrong bytes")
			}
			if err == nil {
				return // it can be had in spite of the fault
			}
			if out := u.must("status", path); !strings.Contains(out, "cannot be had") {
				t.Errorf("status does not say why:\n%s", out)
			}
			server.SetFault(nil)
			for range 200 {
				if got, err = os.ReadFile(path); err == nil {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("the source is well again, but: %v", err)
			}
		})
	}
}
