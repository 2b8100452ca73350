package fetch

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// A copy of another cache's hidden clone is a clone like any other, and needs no network;
// a damaged one is no worse than none.
func TestCopyOfAClone(t *testing.T) {
	s, made := history(t)
	spec := specOf(t, s.GitURL(made))
	other := hiddenOf(t)
	want, err := other.Clone(t.Context(), spec, "", CloneOptions{Git: FindGit()})
	if err != nil {
		t.Fatal(err)
	}
	s.SetGitFault(func(publisher.Request) publisher.Fault {
		t.Error("the dataset's server is asked")
		return nil
	})
	h, objects := hiddenOf(t), filepath.Join(t.TempDir(), "objects")
	for range 2 { // the second time, it is there
		if err := h.CopyOf(other.dir, objects); err != nil {
			t.Fatal(err)
		}
	}
	got, err := h.Clone(t.Context(), spec, "", CloneOptions{Git: FindGit()})
	if err != nil || got.Commit != want.Commit || readme(t, got) != readme(t, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if to, err := filepath.EvalSymlinks(filepath.Dir(objects)); err != nil {
		t.Error(err)
	} else if at, err := filepath.EvalSymlinks(filepath.Join(h.dir, "annex")); err != nil {
		t.Error(err)
	} else if link, err := os.Readlink(filepath.Join(at, "objects")); err != nil || filepath.Join(at, link) != filepath.Join(to, "objects") {
		t.Errorf("its objects are at %q, %v", link, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(h.dir), ".*")); len(left) > 0 {
		t.Errorf("left are %q", left)
	}

	none := hiddenOf(t)
	if err := none.CopyOf(filepath.Join(t.TempDir(), "nothing"), objects); err != nil {
		t.Errorf("of nothing: %v", err)
	}
	// What cannot be copied whole is not there.
	if err := os.Remove(filepath.Join(other.dir, "HEAD")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(other.dir, "HEAD"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := none.CopyOf(other.dir, objects); err == nil {
		t.Error("of a damaged one there is a copy")
	}
	if _, err := os.Lstat(none.dir); err == nil {
		t.Error("half a copy is there")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(none.dir), ".*")); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}
