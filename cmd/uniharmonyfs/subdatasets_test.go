package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
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

	"github.com/uniharmony/uniharmonyfs/internal/gittest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// superdataset makes a repository of subdatasets, and some files.
func superdataset(t *testing.T, u *user, name string, files map[string]string) string {
	t.Helper()
	dir := u.path(name)
	write(t, filepath.Join(dir, ".datalad", "config"), "[datalad]\n")
	write(t, filepath.Join(dir, ".gitmodules"), `[submodule "one"]
	path = ds1
	url = ./ds1
[submodule "two"]
	path = deep/ds2
	url = https://example.org/ds2.git
`)
	for path, text := range files {
		write(t, filepath.Join(dir, path), text)
	}
	git(t, "init", "--quiet", dir)
	git(t, "-C", dir, "add", ".")
	const commit = "160000,1234567890123456789012345678901234567890,"
	git(t, "-C", dir, "update-index", "--add", "--cacheinfo", commit+"ds1", "--cacheinfo", commit+"deep/ds2")
	git(t, "-C", dir, "commit", "--quiet", "-m", "all")
	return dir
}

// Where files are asked for, a dataset of subdatasets alone says what it is.
func TestDatasetOfSubdatasets(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	only := superdataset(t, u, "only", nil)
	for _, args := range [][]string{
		{"get", u.path("got")}, {"list"}, {"list", "--sub", "01"},
		{"list", "--facets"}, {"list", "--facets", "--suffix", "bold"}, {"prefetch"}, {"mount", "--suffix", "T1w", u.path("mnt")},
	} {
		said := u.fails(3, []string{"no files of its own, only 2 subdatasets", "mount --dataset https://example.org/ds2.git TARGET"}, append(args, "--dataset", only)...)
		if strings.Count(said, "\n") != 2 {
			t.Errorf("%v says\n%s", args, said)
		}
	}
	for _, made := range []string{"mnt", "got"} {
		if _, err := os.Stat(u.path(made)); err == nil {
			t.Errorf("%s was made", made)
		}
	}

	// With files of its own it is a dataset like others, and says what else there is
	// only where nothing is found.
	some := superdataset(t, u, "some", map[string]string{"README": "all of them\n"})
	if list := u.must("list", "--dataset", some); list != "README\n" {
		t.Errorf("it lists\n%s", list)
	}
	u.fails(3, []string{"nothing matches", "it may be in the dataset's 2 subdatasets", "https://example.org/ds2.git"}, "list", "--dataset", some, "--suffix", "T1w")

	// What cannot be shown leaves an empty directory, which is no subdataset.
	hides := u.path("hides")
	if err := os.MkdirAll(filepath.Join(hides, "sub-01"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(hides, "sub-01", "sub-01_T1w.nii.gz")); err != nil {
		t.Fatal(err)
	}
	git(t, "init", "--quiet", hides)
	git(t, "-C", hides, "add", ".")
	git(t, "-C", hides, "commit", "--quiet", "-m", "all")
	if said := u.fails(3, []string{"nothing matches"}, "list", "--dataset", hides, "--suffix", "T1w"); strings.Contains(said, "subdataset") {
		t.Errorf("it says\n%s", said)
	}
}

// Real superdatasets are folders of folders. What cannot be had is told at once, with
// every place that was tried, and again without trying. (OpenNeuroStudies has two more,
// in sourcedata and hidden.)
func TestSuperdatasetsAsTheyAre(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.env = append(u.env, "https_proxy=http://127.0.0.1:1", "http_proxy=http://127.0.0.1:1") // nobody is there
	for name, number := range map[string]int{"OpenNeuroDerivatives": 846, "OpenNeuroStudies": 42, "templateflow": 30} {
		mnt := u.path(name)
		said := u.must("mount", "--dataset", gittest.Dataset(t, name+".superdataset.bundle"), mnt)
		if !strings.Contains(said, fmt.Sprintf("and %d subdatasets", number)) {
			t.Errorf("it says\n%s", said)
		}
		entries, err := os.ReadDir(mnt)
		if err != nil || len(entries) < number {
			t.Fatalf("%d entries, %v", len(entries), err)
		}
		var last string
		for _, e := range entries {
			if e.IsDir() {
				last = filepath.Join(mnt, e.Name())
			}
		}
		for range 2 {
			if _, err := os.ReadDir(last); !errors.Is(err, syscall.EHOSTUNREACH) && !errors.Is(err, syscall.EREMOTEIO) {
				t.Errorf("looking into %s: %v", last, err)
			}
		}
		if said := u.must("status", last); !strings.Contains(said, "subdataset") || !strings.Contains(said, "https://github.com/") {
			t.Errorf("status says\n%s", said)
		}
		u.must("unmount", mnt)
	}
}

// tree serves three datasets within each other: see [nest].
func tree(t *testing.T, u *user) (s *publisher.Server, top *maker.Made, want map[string][]byte) {
	t.Helper()
	s, unused := serve(t, u, files("unused", 1, 1000))
	n := nest(t, u, s, unused.Dataset.Remotes, 3, 20_000)
	return s, n.top, n.want(t)
}

// Subdatasets are folders, to any depth: what the dataset itself knows costs no request,
// the first look into one fetches its list of files, and every file can be read.
func TestSubdatasetsAreFolders(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, top, want := tree(t, u)
	mnt := u.path("mnt")
	mount := []string{"mount", "--no-readahead", "--dataset", s.GitURL(top), mnt}
	if said := u.must(mount...); !strings.Contains(said, "and 3 subdatasets") {
		t.Errorf("it says\n%s", said)
	}
	if _, err := os.ReadFile(filepath.Join(mnt, "sub-00/anat/sub-00_run-000_T1w.nii.gz")); err != nil { // now it is known where content is
		t.Fatal(err)
	}
	s.ResetCounts()
	var asked atomic.Int32
	s.SetGitFault(func(publisher.Request) publisher.Fault { asked.Add(1); return nil })
	if out, err := exec.Command("find", mnt, "-maxdepth", "1", "-ls").CombinedOutput(); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	if n := int(asked.Load()) + s.Counts().Requests; n != 0 {
		t.Errorf("what is known takes %d requests", n)
	}
	found := make(map[string][]byte)
	numbers := make(map[string]uint64)
	look := func() {
		t.Helper()
		err := filepath.WalkDir(mnt, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(mnt, path)
			info, err := e.Info()
			if err != nil {
				return err
			}
			ino := info.Sys().(*syscall.Stat_t).Ino
			if before, ok := numbers[rel]; ok && before != ino {
				t.Errorf("%s has another number than before", rel)
			}
			numbers[rel] = ino
			if !e.IsDir() {
				found[rel], err = os.ReadFile(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if !maps.EqualFunc(found, want, bytes.Equal) {
			t.Errorf("found are %v, want %v", slices.Sorted(maps.Keys(found)), slices.Sorted(maps.Keys(want)))
		}
	}
	look()
	st := u.status()
	if len(st.Mounts) != 1 || len(st.Mounts[0].Opened) != 4 {
		t.Errorf("opened are %+v", st.Mounts)
	}
	if said := u.must("status", filepath.Join(mnt, "mid/deep/leaf/README")); !strings.Contains(said, "mid/deep/leaf/README") {
		t.Errorf("status says\n%s", said)
	}

	// In the next mount everything has the same names and numbers, and nothing is asked
	// of the network.
	u.must("unmount", mnt)
	u.must(append(mount, "--offline")...)
	s.ResetCounts()
	asked.Store(0)
	look()
	if n := int(asked.Load()) + s.Counts().Requests; n != 0 {
		t.Errorf("the next time there are %d requests", n)
	}
	u.must("unmount", mnt)

	// They can be left out, from some level on.
	for limit, has := range map[string]map[string]bool{
		"--recursion-limit=0": {"mid": false}, "--no-subdatasets": {"mid": false},
		"--recursion-limit=1": {"mid/README": true, "mid/deep/leaf/README": false},
	} {
		u.must(append(mount, limit)...)
		for path, want := range has {
			if _, err := os.Stat(filepath.Join(mnt, path)); (err == nil) != want {
				t.Errorf("%s: %s is there: %v", limit, path, err == nil)
			}
		}
		u.must("unmount", mnt)
	}
	u.fails(2, []string{"--recursion-limit"}, append(mount, "--recursion-limit=-1")...)

	// What the subdatasets brought goes with the mount.
	u.must(mount...)
	look()
	u.must("unmount", "--clean", mnt)
	if _, err := os.Stat(u.path("cache")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cache is left: %v", err)
	}
}

// A look into a subdataset whose server is silent ends at once with the program that
// looks; others go on; and many looks at once fetch the list once.
func TestLooksIntoASubdataset(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, top, _ := tree(t, u)
	mnt := u.path("mnt")
	u.must("mount", "--allow-address", "127.0.0.1", "--dataset", s.GitURL(top), mnt)
	gate := make(chan struct{})
	var asked atomic.Int32
	s.SetGitFault(func(r publisher.Request) publisher.Fault {
		if strings.Contains(r.Path, "/middle.git/") {
			asked.Add(1)
			<-gate
		}
		return nil
	})
	ls := exec.Command("ls", filepath.Join(mnt, "mid"))
	if err := ls.Start(); err != nil {
		t.Fatal(err)
	}
	for asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := os.ReadFile(filepath.Join(mnt, "leaf/README")); err != nil {
		t.Error(err)
	}
	ls.Process.Kill()
	ended := make(chan error, 1)
	go func() { ended <- ls.Wait() }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("it cannot be killed")
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			out, err := exec.Command("ls", filepath.Join(mnt, "mid")).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "README") {
				t.Errorf("%s, %v", out, err)
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	asked.Store(0)
	close(gate)
	all.Wait()
	if n := asked.Load(); n > 6 { // a few requests each clone has
		t.Errorf("%d requests for one list", n)
	}
	u.must("unmount", mnt)
}
