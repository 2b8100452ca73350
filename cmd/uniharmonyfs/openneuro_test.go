package main_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// openNeuro serves two datasets, one of which a superdataset lists, with another that is
// not there, and a derivative that another superdataset lists.
func openNeuro(t *testing.T, u *user) (s *publisher.Server, args []string) {
	t.Helper()
	one := files("ds000001", 3, 20_000)
	one.Tags = []string{"2.0.0"}
	one.Files = append(one.Files, maker.File{Path: "CHANGES", Data: []byte("2.0.0")})
	one.Earlier = []maker.Version{{Tag: "1.0.0", Files: []maker.File{{Path: "CHANGES", Data: []byte("1.0.0")}}}}
	s, made := serve(t, u, one)
	add := func(d maker.Dataset) *maker.Made {
		d.Remotes = made.Dataset.Remotes
		m, err := maker.Make(u.path(d.Name), d)
		if err != nil {
			t.Fatal(err)
		}
		s.Add(m)
		return m
	}
	add(maker.Dataset{Name: "ds000002", Files: []maker.File{{Path: "CHANGES", Data: []byte("unlisted")}}})
	derived := files("ds000001-fmriprep", 2, 20_000)
	derived.Tags = []string{"now"}
	derived.Files = append(derived.Files, maker.File{Path: "CHANGES", Data: []byte("derived")})
	derived.Earlier = []maker.Version{{Tag: "then", Files: []maker.File{{Path: "CHANGES", Data: []byte("was derived")}}}}
	below := add(derived)
	super := func(name string, members map[string]string) string {
		d := maker.Dataset{Name: name}
		var modules strings.Builder
		for path, commit := range members {
			fmt.Fprintf(&modules, "[submodule %q]\n\tpath = %s\n\turl = ../%s.git\n", path, path, path)
			d.Files = append(d.Files, maker.File{Path: path, Commit: commit})
		}
		d.Files = append(d.Files, maker.File{Path: ".gitmodules", Data: []byte(modules.String())}, maker.File{Path: "README", Data: []byte("of the superdataset")})
		return s.GitURL(add(d))
	}
	all := super("all", map[string]string{"ds000001": made.Commits[0], "ds000009": strings.Repeat("1", 40), "deep/ds000003": strings.Repeat("1", 40)})
	derivatives := super("derivatives", map[string]string{"ds000001-fmriprep": below.Commit()})
	return s, []string{"mount", "--openneuro", "--catalog", all, "--catalog", derivatives, "--openneuro-url", s.URL + "/git/{id}.git"}
}

// All of OpenNeuro is a folder: its list costs no request, a look into a dataset fetches
// the list of its files, versions and what is not listed are found by name.
func TestOpenNeuroIsAFolder(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, mount := openNeuro(t, u)
	mnt := u.path("openneuro")
	mount = append(mount, mnt)
	if said := u.must(mount...); !strings.Contains(said, "a folder of 3 datasets at "+mnt) {
		t.Errorf("it says\n%s", said)
	}
	var asked atomic.Int32
	s.SetGitFault(func(publisher.Request) publisher.Fault { asked.Add(1); return nil })
	names := func() (all []string) {
		t.Helper()
		out, err := exec.Command("ls", "-l", mnt).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v", out, err)
		}
		entries, err := os.ReadDir(mnt)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			all = append(all, e.Name())
		}
		return all
	}
	if got := names(); !slices.Equal(got, []string{"ds000001", "ds000001-fmriprep", "ds000009"}) {
		t.Errorf("it lists %q", got)
	}
	for _, name := range []string{"README", ".gitmodules", ".git", "ds1", "ds000001@", "@1.0.0", "other@1.0.0", "deep", ".Trash"} {
		if _, err := os.Stat(filepath.Join(mnt, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("what is known takes %d requests", n)
	}
	read := func(want string, path ...string) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(append([]string{mnt}, path...)...))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	read("2.0.0", "ds000001", "CHANGES")
	read("1.0.0", "ds000001@1.0.0", "CHANGES")
	read("2.0.0", "ds000001@2.0.0", "CHANGES")
	read("unlisted", "ds000002", "CHANGES")
	read("derived", "ds000001-fmriprep", "CHANGES")
	read("was derived", "ds000001-fmriprep@then", "CHANGES")
	if got, err := os.ReadFile(filepath.Join(mnt, "ds000001/sub-00/anat/sub-00_run-000_T1w.nii.gz")); err != nil || int64(len(got)) != files("ds000001", 3, 20_000).Files[2].Size {
		t.Errorf("content: %d bytes, %v", len(got), err)
	}
	for _, name := range []string{"ds000404", "ds000001@9.9.9", "ds000001-fmriprep@9.9.9"} {
		asked.Store(0)
		for range 2 {
			if _, err := os.Stat(filepath.Join(mnt, name)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := asked.Load(); n == 0 || n > 6 { // a few each look has
			t.Errorf("%d requests for what there is not", n)
		}
	}
	if got := names(); len(got) != 3 {
		t.Errorf("it lists %q", got)
	}
	// What is listed and cannot be had is told.
	if _, err := os.ReadDir(filepath.Join(mnt, "ds000009")); !errors.Is(err, syscall.EREMOTEIO) {
		t.Errorf("a dataset that cannot be had: %v", err)
	}
	if said := u.must("status", filepath.Join(mnt, "ds000009")); !strings.Contains(said, "ds000009.git") {
		t.Errorf("status says\n%s", said)
	}
	st := u.status()
	if len(st.Mounts) != 1 || len(st.Mounts[0].Opened) != 6 {
		t.Errorf("opened are %+v", st.Mounts)
	}
	if said := u.must("status"); !strings.Contains(said, "a folder of 3 datasets, 6 opened") {
		t.Errorf("status says\n%s", said)
	}
	u.must("unmount", mnt)

	// What is known needs no network.
	u.must(append(mount, "--offline")...)
	asked.Store(0)
	read("2.0.0", "ds000001", "CHANGES")
	read("unlisted", "ds000002", "CHANGES")
	if _, err := os.ReadDir(filepath.Join(mnt, "ds000001@3.0.0")); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("what would need the network: %v", err)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("offline there are %d requests", n)
	}
	u.must("unmount", mnt)

	// Without --openneuro a listed dataset is at the version that is listed.
	own := slices.DeleteFunc(slices.Clone(mount), func(arg string) bool { return arg == "--openneuro" })
	u.must(own...)
	if _, err := os.ReadDir(filepath.Join(mnt, "ds000001")); err == nil {
		read("1.0.0", "ds000001", "CHANGES")
	}
	read("unlisted", "ds000002", "CHANGES")
	u.must("unmount", mnt)

	// A selection is each dataset's.
	u.must(append(mount, "--run", "1")...)
	for name, want := range map[string]bool{"sub-00_run-001_T1w.nii.gz": true, "sub-00_run-000_T1w.nii.gz": false} {
		if _, err := os.Stat(filepath.Join(mnt, "ds000001/sub-00/anat", name)); (err == nil) != want {
			t.Errorf("of a selection: %s: %v", name, err)
		}
	}
	u.must("unmount", "--clean", mnt)
	if _, err := os.Stat(u.path("cache")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cache is left: %v", err)
	}
}

// The list of datasets is shown as it was known, and new ones come to it.
func TestNewDatasetsCome(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	super, mnt := superdataset(t, u, "super", nil), u.path("mnt")
	mount := func() {
		t.Helper()
		if said := u.must("mount", "--catalog", super, mnt); !strings.Contains(said, "a folder of 1 dataset at") {
			t.Errorf("it says\n%s", said)
		}
	}
	mount()
	u.must("unmount", mnt)
	git(t, "-C", super, "update-index", "--add", "--cacheinfo", "160000,1234567890123456789012345678901234567890,ds7")
	git(t, "-C", super, "commit", "--quiet", "-m", "one more")
	mount() // what is known is fresh enough
	u.must("unmount", mnt)

	manifests, err := filepath.Glob(u.path("cache/datasets/*/uniharmonyfs.json"))
	if err != nil || len(manifests) != 1 {
		t.Fatalf("%v, %v", manifests, err)
	}
	text, err := os.ReadFile(manifests[0])
	if err != nil {
		t.Fatal(err)
	}
	this := time.Now().UTC().Format("2006-")
	if !strings.Contains(string(text), `"`+this) {
		t.Fatalf("the manifest is\n%s", text)
	}
	if err := os.WriteFile(manifests[0], []byte(strings.ReplaceAll(string(text), `"`+this, `"2020-`)), 0o600); err != nil {
		t.Fatal(err)
	}
	mount()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		entries, err := os.ReadDir(mnt)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 2 && entries[1].Name() == "ds7" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it lists %v", entries)
		}
	}
	u.must("unmount", mnt)
}

// What cannot be a folder of datasets is refused, and what cannot be had is left out.
func TestNoFolderOfDatasets(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	super, mnt := superdataset(t, u, "super", nil), u.path("mnt")
	for _, args := range [][]string{{"--openneuro", "--dataset", super}, {"--openneuro", "--version", "1.0"}, {"--catalog", super, "--prefetch"}, {"--catalog", super, "--no-subdatasets"}} {
		u.fails(2, []string{args[len(args)-2], "DATASET@VERSION"}[1:], append(append([]string{"mount"}, args...), mnt)...)
	}
	plain := u.path("plain")
	write(t, filepath.Join(plain, "README"), "no datasets\n")
	git(t, "init", "--quiet", plain)
	git(t, "-C", plain, "add", ".")
	git(t, "-C", plain, "commit", "--quiet", "-m", "all")
	u.fails(3, []string{"no datasets at the root of " + plain}, "mount", "--catalog", plain, mnt)
	u.fails(4, []string{"/nowhere"}, "mount", "--catalog", "/nowhere", mnt)
	said := u.run("mount", "--catalog", super, "--catalog", "file:///nowhere", mnt)
	if said.code != 0 || !strings.Contains(said.out, "a folder of 1 dataset") || !strings.Contains(said.errout, "the datasets of file:///nowhere are left out") {
		t.Errorf("it says %+v", said)
	}
	u.must("unmount", mnt)
}
