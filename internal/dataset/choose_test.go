package dataset_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset"
	"github.com/uniharmony/uniharmonyfs/internal/dataset/datasettest"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// committed makes a repository of files, and of subdatasets at paths.
func committed(t *testing.T, files map[string]string, subdatasets ...string) string {
	t.Helper()
	dir := t.TempDir()
	gittest.Run(t, dir, "git", "init", "-q", "-b", "main")
	for path, text := range files {
		at := filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	gittest.Run(t, dir, "git", "add", "-A")
	for _, path := range subdatasets {
		gittest.Run(t, dir, "git", "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+","+path)
	}
	gittest.Run(t, dir, "git", "commit", "-q", "-m", "x")
	return dir
}

// opened opens a repository on this machine.
func opened(t *testing.T, dir string) *dataset.Version {
	t.Helper()
	v, err := datasettest.New(t, 0).Datasets.Open(t.Context(), control.Dataset{Spec: dir}, func(control.Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Release)
	return v
}

func only(subject string) bids.Selection {
	return bids.Selection{Entities: map[string][]string{"sub": {subject}}, Suffix: []string{"T1w"}}
}

// Where nothing is found in a dataset that has subdatasets, they are named, and
// one that can be mounted, if there is one that is harmless to name.
func TestNothingFoundBesideSubdatasets(t *testing.T) {
	gittest.NeedGit(t)
	const own = "sub-01/anat/sub-01_T1w.nii"
	modules := func(path, url string) string {
		return "[submodule \"one\"]\n\tpath = " + path + "\n\turl = " + url + "\n"
	}
	const good = "https://example.org/ds1.git"
	for name, c := range map[string]struct {
		files       map[string]string
		subdatasets []string
		says, url   string
	}{
		"one alone":      {map[string]string{".gitmodules": modules("ds1", good)}, []string{"ds1"}, "no files of its own, only 1 subdataset", good},
		"two alone":      {map[string]string{".gitmodules": modules("ds1", good), ".datalad/config": "x"}, []string{"ds1", "a/ds2"}, "no files of its own, only 2 subdatasets", good},
		"beside files":   {map[string]string{".gitmodules": modules("ds1", good), own: "x"}, []string{"ds1"}, "no such subject", good},
		"not there":      {map[string]string{".gitmodules": modules("elsewhere", good), own: "x"}, []string{"ds1"}, "no such subject", ""},
		"runs a program": {map[string]string{".gitmodules": modules("ds1", "ext::sh -c id"), own: "x"}, []string{"ds1"}, "no such subject", ""},
		"for a shell":    {map[string]string{".gitmodules": modules("ds1", "https://example.org/$(id)"), own: "x"}, []string{"ds1"}, "no such subject", ""},
		"nonsense":       {map[string]string{".gitmodules": "[[\x00", own: "x"}, []string{"ds1"}, "no such subject", ""},
		"none":           {map[string]string{own: "x"}, nil, "no such subject", ""},
	} {
		v := opened(t, committed(t, c.files, c.subdatasets...))
		_, err := v.Chooser("x", nil).Choose(t.Context(), only("99"))
		told := control.ToAdvice(err)
		do := strings.Join(told.Do, "\n")
		if err == nil || told.Kind != advice.NoMatch || !strings.Contains(told.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if got := strings.Contains(do, "subdataset"); got != (len(c.subdatasets) > 0) {
			t.Errorf("%s: %q", name, do)
		}
		if strings.Contains(do, "--dataset") != (c.url != "") || !strings.Contains(do, c.url) {
			t.Errorf("%s: %q, want %q named", name, do, c.url)
		}
	}
}

// A plain selection is what was asked for, as it is in the dataset.
func TestPlainSelection(t *testing.T) {
	gittest.NeedGit(t)
	table := "participant_id\nsub-01\nsub-02\n"
	v := opened(t, committed(t, map[string]string{
		"dataset_description.json": `{"Name": "x", "BIDSVersion": "1.8.0"}`, "participants.tsv": table, "README": "x", "T1w.json": "{}",
		"sub-01/anat/sub-01_T1w.nii": "1", "sub-01/anat/sub-01_T2w.nii": "2", "sub-02/anat/sub-02_T1w.nii": "3",
	}))
	paths := func(nodes []int) (list []string) {
		for _, n := range nodes {
			list = append(list, v.Path(n))
		}
		return list
	}
	s := only("01")
	s.RootFiles = []string{"participants.tsv"}
	chosen, err := v.Chooser("x", nil).Choose(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	participants, _ := v.Find("participants.tsv")
	if cut, ok := chosen.View.Content(participants); !ok || strings.Contains(string(cut), "sub-02") || !slices.Contains(paths(chosen.Files), "T1w.json") {
		t.Errorf("before: %q, the table is %q", paths(chosen.Files), cut)
	}
	chosen.Plain(v)
	if got := paths(chosen.Files); !slices.Equal(got, []string{"participants.tsv", "sub-01/anat/sub-01_T1w.nii"}) || chosen.View.Files() != 2 {
		t.Errorf("plain: %q, %d shown", got, chosen.View.Files())
	}
	if cut, ok := chosen.View.Content(participants); ok || chosen.View.Size(participants) != int64(len(table)) {
		t.Errorf("the table is %q", cut)
	}
}
