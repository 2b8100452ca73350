package main_test

import (
	"bytes"
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
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// contents reads the true content of every file that a view shows.
func contents(t testing.TB, m *maker.Made) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	for _, f := range m.Files {
		if strings.HasPrefix(f.Path, ".") {
			continue // not part of a view
		}
		data, err := maker.Bytes(f.Content)
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
		// What is no content grows, and goes: a clone is removed, a log begun anew.
		// So it is looked at before and after.
		before := beside(cache)
		var st syscall.Statfs_t
		if err := syscall.Statfs(cache, &st); err != nil {
			t.Error(err)
		}
		return int64(st.Blocks-st.Bfree)*st.Bsize - max(before, beside(cache))
	}
}

// beside returns how many bytes of a cache are no content.
func beside(cache string) (bytes int64) {
	for _, dir := range []string{"index", "datasets", "daemon.log", "daemon.log.old", "settings.json"} {
		filepath.WalkDir(filepath.Join(cache, dir), func(_ string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				if info, err := e.Info(); err == nil {
					bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
				}
			}
			return nil
		})
	}
	return bytes
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
	u.waitForBranch()
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

func TestSourcesThatLie(t *testing.T) {
	for name, fault := range map[string]publisher.Fault{
		"flipped byte":  publisher.Flip(777),
		"short":         publisher.Resize(500),
		"captive":       publisher.Captive,
		"gzip":          publisher.Gzip,
		"not found":     publisher.Status(404, 0),
		"ignored range": publisher.IgnoreRange,
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			server, m := serve(t, u, demo.Dataset())
			server.SetFault(publisher.Always(fault))
			u.must("mount", "--dataset", m.Dir, "--fetcher", "native", "--timeout", "2s", u.path("mnt"))
			image := "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"
			want, err := maker.Bytes(m.Find(image).Content)
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
