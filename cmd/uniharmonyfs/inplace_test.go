package main_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
)

// The user's own clone is read in place: not copied, not changed.
func TestOwnCloneIsReadInPlace(t *testing.T) {
	u := newUser(t)
	d := demo.Dataset()
	d.WorkTree, d.Present = true, true
	_, m := serve(t, u, d)
	want := contents(t, m)
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	for range 2 {
		readers(t, u.path("mnt"), want, 4)()
	}
	if s := u.status(); s.Store.Objects != 0 || s.Store.Used != 0 {
		t.Errorf("the cache has copies: %+v", s.Store)
	}
	if out := u.must("list", "--dataset", m.Dir, "--missing"); out != "" {
		t.Errorf("said to be missing:\n%s", out)
	}
	u.must("get", "--dataset", m.Dir, u.path("target"))
	sameTree(t, u.path("target"), want)
	if s := u.status(); s.Store.Objects != 0 {
		t.Errorf("get made %d copies in the cache", s.Store.Objects)
	}

	// Damaged content of the user's is not served, and not removed.
	image := "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"
	object, err := filepath.EvalSymlinks(filepath.Join(m.Dir, image))
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(want[image])
	damaged[99] ^= 1
	os.Chmod(object, 0o644)
	if err := os.WriteFile(object, damaged, 0o644); err != nil {
		t.Fatal(err)
	}
	u.must("unmount", u.path("mnt"))
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	if got, err := os.ReadFile(filepath.Join(u.path("mnt"), image)); err == nil {
		t.Errorf("%d damaged bytes were served", len(got))
	}
	if got, err := os.ReadFile(filepath.Join(u.path("mnt"), image)); err != nil || !bytes.Equal(got, want[image]) {
		t.Errorf("what is damaged there can be had elsewhere, but: %v", err)
	}
	if got, _ := os.ReadFile(object); !bytes.Equal(got, damaged) {
		t.Error("the user's file was changed")
	}

	// What the user drops is fetched into our cache.
	other := "sub-02/ses-01/anat/sub-02_ses-01_T1w.nii.gz"
	object, err = filepath.EvalSymlinks(filepath.Join(m.Dir, other))
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(filepath.Dir(object), 0o755)
	if err := os.Remove(object); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(u.path("mnt"), other)); err != nil || !bytes.Equal(got, want[other]) {
		t.Errorf("dropped by the user: %v", err)
	}
	if s := u.status(); s.Store.Objects != 2 {
		t.Errorf("%d objects, want 2", s.Store.Objects)
	}
	if _, err := os.Lstat(object); err == nil {
		t.Error("content was put into the user's clone")
	}
	if out := u.must("list", "-l", "--dataset", m.Dir, "--sub", "02", "--suffix", "T1w", "--ses", "02"); !strings.Contains(out, "local") {
		t.Errorf("list does not say what is local:\n%s", out)
	}
}
