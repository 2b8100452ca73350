package main_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// list --plain lists what get --plain brings: what matches, and no more, as it is
// in the dataset.
func TestListPlain(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	repo := plainRepository(t, u, "repo")
	const table = "participant_id\nsub-01\nsub-02\n"
	write(t, filepath.Join(repo, "participants.tsv"), table)
	write(t, filepath.Join(repo, "sub-02", "anat", "sub-02_T1w.nii.gz"), "none")
	git(t, "-C", repo, "add", ".")
	git(t, "-C", repo, "commit", "--quiet", "-m", "two")

	const image = "sub-01/anat/sub-01_T1w.nii.gz"
	plain := []string{"--plain", "--dataset", repo, "--sub", "01", "--ext", ".nii.gz"}
	if list := u.must(append([]string{"list"}, plain...)...); list != image+"\n" {
		t.Errorf("it lists\n%s", list)
	}
	plain = append(plain, "--root-files", "participants.tsv")
	if list := u.must(append([]string{"list"}, plain...)...); list != "participants.tsv\n"+image+"\n" {
		t.Errorf("with a file at the root it lists\n%s", list)
	}
	if count, want := u.must(append([]string{"list", "--count"}, plain...)...), "2 files, 37 bytes"; !strings.HasPrefix(count, want) {
		t.Errorf("it counts %s, want %s", count, want)
	}
	u.must(append([]string{"get", u.path("got")}, plain...)...)
	var got []string
	filepath.WalkDir(u.path("got"), func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			path, _ = filepath.Rel(u.path("got"), path)
			got = append(got, path)
		}
		return err
	})
	if !slices.Equal(got, []string{"participants.tsv", image}) {
		t.Errorf("get brings %v", got)
	}
	if text, err := os.ReadFile(filepath.Join(u.path("got"), "participants.tsv")); string(text) != table {
		t.Errorf("%q, %v", text, err)
	}
	u.fails(2, []string{"--plain"}, "list", "--plain", "--facets", "--dataset", repo)
	u.fails(2, []string{"--plain"}, "list", "--plain", "--explain", image, "--dataset", repo)
}
