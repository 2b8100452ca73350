package download_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// What cannot fit is refused before anything is fetched.
func TestGetThatCannotFit(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	b := newBench(t, 0)
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=200k"); err != nil {
		t.Skip("cannot mount a tmpfs: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(small, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	b.target = filepath.Join(small, "target")
	_, _, err := b.get(b.request())
	if told := new(advice.Error); !errors.As(err, &told) || told.Kind != advice.NoSpace || len(told.Do) == 0 {
		t.Errorf("%v", err)
	}
	if sent := b.server.Counts().Bytes; sent != 0 {
		t.Errorf("%d bytes were sent", sent)
	}
	if _, err := os.Lstat(b.target); err == nil {
		t.Error("the target is there")
	}
}

// A disk that becomes full ends a download, and what was whole stays.
func TestGetOnADiskThatFills(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	b := newBench(t, 0)
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=1200k"); err != nil {
		t.Skip("cannot mount a tmpfs: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(small, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	b.target = filepath.Join(small, "target")
	o := &filling{out: new(out), path: filepath.Join(small, "filler")}
	res, err := b.gets.Get(t.Context(), b.request(), o)
	if told := new(advice.Error); !errors.As(err, &told) || told.Kind != advice.NoSpace {
		t.Errorf("%+v, %v", res, err)
	}
	if half, _ := filepath.Glob(b.target + "/*/*/.uniharmonyfs-*"); len(half) > 0 {
		t.Errorf("half files are left: %q", half)
	}
	if err := os.Remove(o.path); err != nil {
		t.Fatal(err)
	}
	b.must(b.request()) // it goes on
	b.has(allFiles...)
}

// filling fills the disk when the plan was made.
type filling struct {
	*out
	path string
}

func (f *filling) Item(v any) error {
	return errors.Join(f.out.Item(v), os.WriteFile(f.path, make([]byte, 900<<10), 0o600))
}

// What lies under a file's name and is no file of ours stays, and is told; force
// replaces what can be replaced, and nothing that a link leads to.
func TestGetWhereSomethingElseIs(t *testing.T) {
	for name, tc := range map[string]struct {
		put   func(path, mine string) error
		force bool // replaces it
	}{
		"a link to a file of the user's": {func(path, mine string) error { return os.Symlink(mine, path) }, true},
		"a link that leads nowhere":      {func(path, _ string) error { return os.Symlink("nowhere", path) }, true},
		"an empty directory":             {func(path, _ string) error { return os.Mkdir(path, 0o755) }, false},
		"a pipe":                         {func(path, _ string) error { return syscall.Mkfifo(path, 0o600) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 0)
			path, mine := filepath.Join(b.target, image1), filepath.Join(t.TempDir(), "mine")
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(mine, []byte("mine"), 0o644), tc.put(path, mine)); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			res, _, err := b.get(b.request())
			if err != nil || len(res.Failed) != 1 || res.Failed[0].Path != image1 {
				t.Errorf("%+v, %v", res, err)
			}
			if after, err := os.Lstat(path); err != nil || after.Mode() != before.Mode() {
				t.Errorf("it is %v now, %v", after, err)
			}
			req := b.request()
			req.Force = true
			res, _, err = b.get(req)
			if err != nil || (len(res.Failed) == 0) != tc.force {
				t.Errorf("by force: %+v, %v", res, err)
			}
			if tc.force {
				b.has(allFiles...)
			}
			if data, err := os.ReadFile(mine); err != nil || string(data) != "mine" {
				t.Errorf("what the link leads to: %q, %v", data, err)
			}
		})
	}
}

// A file where a directory is to be is in the way.
func TestGetWhereAFileIsInTheWay(t *testing.T) {
	b := newBench(t, 0)
	if err := errors.Join(os.MkdirAll(b.target, 0o755), os.WriteFile(filepath.Join(b.target, "sub-01"), []byte("mine"), 0o644)); err != nil {
		t.Fatal(err)
	}
	req := b.request()
	req.Force = true
	res, _, err := b.get(req)
	if err != nil || len(res.Failed) != 1 || res.Failed[0].Path != image1 || res.Files != 3 {
		t.Errorf("%+v, %v", res, err)
	}
	if data, _ := os.ReadFile(filepath.Join(b.target, "sub-01")); string(data) != "mine" {
		t.Error("it is gone")
	}
}

// What the user's own repository has is copied from there, and not cached.
func TestGetOfAnOwnRepository(t *testing.T) {
	b := newBench(t, 0)
	d := b.made.Dataset
	d.WorkTree, d.Present, d.Remotes = true, true, nil
	m, err := maker.Make(t.TempDir(), d)
	if err != nil {
		t.Fatal(err)
	}
	req := b.request()
	req.Dataset = control.Dataset{Spec: m.Dir}
	res, plan := b.must(req)
	if plan.FetchFiles != 0 || plan.CachedFiles != 4 || res.FetchedBytes != 0 {
		t.Errorf("%+v, %+v", plan, res)
	}
	b.has(allFiles...)
	if st := b.Cache.Cache.Status(); st.Objects != 0 {
		t.Errorf("%d objects in the cache", st.Objects)
	}
	// It is a copy: a change of it changes nothing there.
	path := filepath.Join(b.target, image1)
	if err := errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, []byte("changed"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(m.Dir, image1)); err != nil || len(got) != 300_000 {
		t.Errorf("there: %d bytes, %v", len(got), err)
	}
}

// In a DataLad dataset an unlocked file gets its content, too, and git sees no
// change.
func TestGetDirectOfUnlockedFiles(t *testing.T) {
	gittest.NeedGit(t)
	const unlocked = "sub-01/anat/sub-01_T2w.nii.gz"
	b := newBench(t, 0, maker.File{Path: unlocked, Size: 5000, Seed: 3, Annexed: true, Unlocked: true})
	req := b.request("01")
	req.Direct, req.DryRun = true, true
	if _, plan := b.must(req); plan.Files != 2 || plan.FetchFiles != 2 {
		t.Errorf("dry run: %+v", plan)
	}
	if _, err := os.Lstat(b.target); err == nil {
		t.Error("a dry run makes the target")
	}
	req.DryRun = false
	b.must(req)
	b.isWhole(unlocked)
	b.isWhole(image1)
	if got := gittest.Run(t, b.target, "git", "status", "--porcelain"); got != "" {
		t.Errorf("git sees changes: %s", got)
	}
	sent := b.server.Counts().Bytes
	if _, plan := b.must(req); plan.ThereFiles != 2 || b.server.Counts().Bytes != sent {
		t.Errorf("again: %+v", plan)
	}
	// A target that is somebody's own directory is not made one.
	b.target = t.TempDir()
	if err := os.WriteFile(filepath.Join(b.target, "mine"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	req.Target = b.target
	if _, _, err := b.get(req); err == nil || !strings.Contains(err.Error(), b.target) {
		t.Errorf("somebody's own directory: %v", err)
	}
}

// What an object is damaged to is found before it is copied.
func TestGetFindsDamage(t *testing.T) {
	b := newBench(t, 0)
	b.must(b.request())
	var objects []string
	filepath.Walk(b.Dir.Objects(), func(path string, st os.FileInfo, err error) error {
		if err == nil && st.Mode().IsRegular() {
			objects = append(objects, path)
		}
		return nil
	})
	if len(objects) != 2 {
		t.Fatalf("objects: %q", objects)
	}
	for _, path := range objects {
		if err := errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, []byte("damaged"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	b.target += "-again"
	b.must(b.request())
	b.has(allFiles...)
}
