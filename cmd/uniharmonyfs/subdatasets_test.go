package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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

// A dataset of subdatasets alone is not shown as an empty directory.
func TestDatasetOfSubdatasets(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	only := superdataset(t, u, "only", nil)
	for _, args := range [][]string{
		{"mount", u.path("mnt")}, {"get", u.path("got")}, {"list"}, {"list", "--sub", "01"},
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

func TestSuperdatasetsAsTheyAre(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	for name, number := range map[string]string{"OpenNeuroDerivatives": "846", "OpenNeuroStudies": "44", "templateflow": "30"} {
		u.fails(3, []string{"no files of its own, only " + number + " subdatasets", "--dataset https://"}, "mount", "--dataset", bundle(t, name+".superdataset.bundle"), u.path("mnt"))
	}
}
