package main_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// Three levels that DataLad made and published in a RIA store of its own: every byte that
// is read through one mount, or downloaded by one command, is what "datalad get -r" brings.
func TestWholeTreeInARIAStore(t *testing.T) {
	u := newUser(t)
	python := gittest.Python(t, "datalad")
	t.Setenv("PATH", filepath.Dir(python)+string(os.PathListSeparator)+os.Getenv("PATH"))
	dir := gittest.AnnexDir(t)
	write(t, filepath.Join(dir, "gitconfig"), "[user]\n\tname = somebody\n\temail = somebody@example.org\n")
	t.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(dir, "gitconfig")) // DataLad clones nothing for nobody
	datalad := func(at string, args ...string) {
		t.Helper()
		gittest.Run(t, at, append([]string{"datalad", "-l", "error", "-f", "disabled"}, args...)...)
	}
	top, clone, store := filepath.Join(dir, "top"), filepath.Join(dir, "clone"), "ria+file://"+filepath.Join(dir, "store")
	datalad(dir, "create", top)
	datalad(top, "create", "-d", "^", "derivatives/prep")
	datalad(top, "create", "-d", "^", "derivatives/prep/more")
	for i, at := range []string{"", "derivatives/prep", "derivatives/prep/more"} {
		for path, n := range map[string]int{"dataset_description.json": 50, "sub-01/anat/sub-01_T1w.nii.gz": 40_000, "sub-02/anat/sub-02_T1w.nii.gz": 3_000} {
			write(t, filepath.Join(top, at, path), strings.Repeat(at+path, n+i))
		}
	}
	datalad(top, "save", "-r", "-m", "content")
	datalad(top, "create-sibling-ria", "-r", "-s", "ria", "--new-store-ok", "--alias", "mine", store)
	datalad(top, "push", "-r", "--to", "ria")
	id := strings.TrimSpace(gittest.Run(t, top, "git", "config", "-f", ".datalad/config", "datalad.dataset.id"))
	datalad(dir, "clone", store+"#"+id, clone)
	datalad(clone, "get", "-r", ".")
	want := below(t, clone)
	maps.DeleteFunc(want, func(path string, _ []byte) bool { return strings.HasPrefix(path, ".") || strings.Contains(path, "/.") })
	if len(want) != 9 {
		t.Fatalf("DataLad has %v", slices.Sorted(maps.Keys(want)))
	}
	for _, dataset := range []string{store + "#" + id, store + "#~mine", clone} {
		mnt, got := u.path("mnt"), u.path("got")
		u.must("mount", "--dataset", dataset, "--derivatives", "*", mnt)
		if found := below(t, mnt); !maps.EqualFunc(found, want, bytes.Equal) {
			t.Errorf("%s shows %v", dataset, slices.Sorted(maps.Keys(found)))
		}
		u.must("unmount", "--clean", mnt)
		u.must("get", "--dataset", dataset, "--derivatives", "*", got)
		if found := below(t, got); !maps.EqualFunc(found, want, bytes.Equal) {
			t.Errorf("%s gives %v", dataset, slices.Sorted(maps.Keys(found)))
		}
		if err := os.RemoveAll(got); err != nil {
			t.Fatal(err)
		}
	}
}
