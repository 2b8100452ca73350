package main_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// TestGoldenCountsOnMounts counts the files of mounted views of real datasets
// (the numbers were made by hand and with pybids; a recording that is a
// directory counts with all its files here).
func TestGoldenCountsOnMounts(t *testing.T) {
	t.Parallel()
	for name, rows := range map[string]map[string]int{
		"7t_trt":              {"--sub 01 --modality func --suffix bold --ext .nii.gz": 38, "--task rest --run 1": 335},
		"ds000117":            {"--sub 01 --modality func": 463},
		"ds114":               {"--modality dwi --ext .nii.gz": 25},
		"ds210":               {"--sub 01 --echo 1": 15},
		"eeg_matchingpennies": {"--sub 05 --modality eeg --ext .vhdr": 15},
		"eyetracking_fmri":    {"--suffix bold": 26},
		"micr_SEMzarr":        {"--ext .ome.zarr": 13},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			e := unpackExample(t, u, name)
			countMounts(t, u, e.repo, rows)
		})
	}
	t.Run("ds004712", func(t *testing.T) {
		u := newUser(t)
		countMounts(t, u, gittest.Dataset(t, "ds004712.bundle"), map[string]int{
			"--ses NOT1ACH001": 552,
			"--modality anat":  875,
			"--modality func":  580,
			"--suffix T1w --ext .nii.gz --modality anat":   342,
			"--modality anat,func --task rest,@none":       1443,
			"--sub 10975,12813 --suffix T1w --ext .nii.gz": 36,
		})
		for _, none := range []string{"--modality anat --task rest", "--run 1"} {
			u.fails(3, []string{"nothing matches"}, slices.Concat([]string{"mount", "--dataset", gittest.Dataset(t, "ds004712.bundle")}, strings.Fields(none), []string{u.path("none")})...)
		}
	})
}

func countMounts(t *testing.T, u *user, dataset string, rows map[string]int) {
	t.Helper()
	for query, want := range rows {
		mnt := u.path("mnt")
		u.must(slices.Concat([]string{"mount", "--dataset", dataset}, strings.Fields(query), []string{mnt})...)
		if got := len(walk(t, mnt)); got != want {
			t.Errorf("%s: %d files, want %d", query, got, want)
		}
		u.must("unmount", mnt)
	}
}

// TestListAgreesWithPybids asks pybids and list for the same, of datasets that
// git-annex has nothing of.
func TestListAgreesWithPybids(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	t.Parallel()
	python := gittest.Python(t, "bids")
	names := []string{"ds210", "synthetic"}
	if exhaustive() {
		names = []string{"7t_trt", "ds000117", "ds001", "ds114", "ds210", "eyetracking_fmri", "genetics_ukbb", "pet001", "synthetic"}
	}
	filters := map[string]string{"sub": "subject", "ses": "session", "task": "task", "run": "run", "modality": "datatype", "suffix": "suffix", "sample": "sample", "ext": "extension"}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			e := unpackExample(t, u, name)
			selections := usualSelections(t, u, e.repo, 8)
			selections = append(selections, []string{"--ext", ".json"}, []string{"--task", "@none", "--modality", "anat"})
			var queries []map[string][]string
			for _, s := range selections {
				q := make(map[string][]string)
				for i := 0; i < len(s); i += 2 {
					q[filters[strings.TrimPrefix(s[i], "--")]] = []string{s[i+1]}
				}
				queries = append(queries, q)
			}
			for i, theirs := range askPybids(t, python, e.dir, queries) {
				r := u.run(slices.Concat([]string{"list", "--companions", "none", "--root-files", "none", "--dataset", e.repo}, selections[i])...)
				if r.code != 0 && r.code != 3 {
					t.Fatalf("%v: exit %d\n%s", selections[i], r.code, r.errout)
				}
				if ours, theirs := inSubjects(lines(r.out)), inSubjects(theirs); !slices.Equal(ours, theirs) || (r.code == 3) != (len(theirs) == 0) {
					t.Errorf("%v: %d files, pybids has %d:\n%q\n%q", selections[i], len(ours), len(theirs), ours, theirs)
				}
			}
		})
	}
}

func askPybids(t *testing.T, python, root string, queries []map[string][]string) (answers [][]string) {
	t.Helper()
	in, err := json.Marshal(map[string]any{"root": root, "queries": queries})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "../../bids/testdata/pybids.py")
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(queries) {
		t.Fatalf("%d answers to %d questions, %v", len(answers), len(queries), err)
	}
	return answers
}

// inSubjects leaves what both list: no tables, which come along always.
func inSubjects(paths []string) (list []string) {
	for _, p := range paths {
		table := strings.HasSuffix(p, "_scans.tsv") || strings.HasSuffix(p, "_sessions.tsv") || strings.HasSuffix(p, "_scans.json") || strings.HasSuffix(p, "_sessions.json")
		if strings.HasPrefix(p, "sub-") && !table {
			list = append(list, p)
		}
	}
	slices.Sort(list)
	return list
}
