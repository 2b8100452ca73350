package main_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// collected is what a BIDS app finds first: the files of a subject, and the
// fieldmaps that can be estimated.
type collected struct {
	Files      map[string]any
	Estimators []any
}

// collect runs the code of fMRIPrep that reads a dataset.
func collect(t *testing.T, root, subject string, filters any) (c collected) {
	t.Helper()
	program := os.Getenv("UNIHARMONYFS_TEST_APPS")
	if program == "" {
		program = "python3"
	}
	if err := exec.Command(program, "-c", "import niworkflows, sdcflows").Run(); err != nil {
		t.Skipf("skipped: %s has no niworkflows and sdcflows (UNIHARMONYFS_TEST_APPS): scripts/setup --test installs them", program)
	}
	in, err := json.Marshal(map[string]any{"root": root, "subject": subject, "filters": filters})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "testdata/apps.py")
	cmd.Stdin = bytes.NewReader(in)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s testdata/apps.py: %v\n%s", program, err, tail(said.Bytes(), 3000))
	}
	if err := json.Unmarshal(out, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestAppsFindTheSame: what fMRIPrep's own code finds in a mounted view of a
// subject is what it finds in the whole dataset: all of it in a view of the
// subject, and in one of anatomical and functional data all but the diffusion
// images. UNIHARMONYFS_TEST_ALL=1 takes ds004712 too (some minutes).
func TestAppsFindTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	t.Parallel()
	tests := map[string]struct {
		subject    string
		estimators int
	}{
		"7t_trt":           {"01", 4},
		"ds000117":         {"01", 1},
		"eyetracking_fmri": {"01", 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			e := unpackExample(t, u, name)
			appsFindTheSame(t, u, e, test.subject, test.estimators)
		})
	}
	t.Run("ds004712", func(t *testing.T) {
		if !exhaustive() {
			t.Skip("skipped: takes minutes; UNIHARMONYFS_TEST_ALL=1 runs it")
		}
		u := newUser(t)
		e := example{u.path("full"), gittest.Dataset(t, "ds004712.bundle")}
		git(t, "clone", "--quiet", "--branch=main", e.repo, e.dir)
		fillLinks(t, e.dir)
		appsFindTheSame(t, u, e, "03286", 1)
	})
}

func appsFindTheSame(t *testing.T, u *user, e example, subject string, estimators int) {
	full := collect(t, e.dir, subject, nil)
	if len(full.Estimators) != estimators {
		t.Errorf("%d fieldmaps in the whole dataset, want %d: %v", len(full.Estimators), estimators, full.Estimators)
	}
	for _, s := range [][]string{{"--sub", subject}, {"--sub", subject, "--modality", "anat,func"}} {
		mnt := u.path("mnt")
		u.must(slices.Concat([]string{"mount", "--timeout", "2s", "--dataset", e.repo}, s, []string{mnt})...)
		view := collect(t, mnt, subject, nil)
		u.must("unmount", mnt)
		want := full
		if len(s) > 2 {
			want.Files = make(map[string]any)
			for k, v := range full.Files {
				want.Files[k] = v
			}
			want.Files["dwi"] = []any{}
		}
		if !reflect.DeepEqual(view, want) {
			t.Errorf("%v:\n got %v\nwant %v", s, view, want)
		}
	}
}

// TestAppsFindWhatAFilterFileSelects: fMRIPrep finds by a filter file the same
// in the dataset as in the view that the file selects, and that view has no
// other images.
func TestAppsFindWhatAFilterFileSelects(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	t.Parallel()
	u := newUser(t)
	e := unpackExample(t, u, "7t_trt")
	filters := map[string]map[string]any{
		"bold": {"session": "1", "acquisition": "fullbrain", "run": 2},
		"t1w":  {"session": []string{"1"}},
		"fmap": {"session": []any{"2", nil}, "run": 1},
	}
	text, err := json.Marshal(filters)
	if err == nil {
		err = os.WriteFile(u.path("filters.json"), text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	full := collect(t, e.dir, "01", filters)
	mnt := u.path("mnt")
	u.must("mount", "--dataset", e.repo, "--sub", "01", "--bids-filter-file", u.path("filters.json"), "--companions", "required", mnt)
	view := collect(t, mnt, "01", filters)
	images := 0
	for query := range filters {
		images += len(full.Files[query].([]any))
		if !reflect.DeepEqual(full.Files[query], view.Files[query]) {
			t.Errorf("%s: %v, want %v", query, view.Files[query], full.Files[query])
		}
	}
	for name := range walk(t, mnt) {
		if strings.HasSuffix(name, ".nii.gz") {
			images--
		}
	}
	if images != 0 {
		t.Errorf("the view has %d images too many", -images)
	}
}

// fillLinks puts a byte in the place of each link to content that is not here:
// what is compared are names and sidecars, and a mount shows files too.
func fillLinks(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Type() != fs.ModeSymlink {
			return err
		}
		return errors.Join(os.Remove(p), os.WriteFile(p, []byte{0}, 0o644))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// writing is a tool that writes into the dataset that it reads: pybids' database, a
// derivative dataset, and a sidecar that is put right in its place.
const writing = `
import json, os, sys
from pathlib import Path
from bids import BIDSLayout
root = Path(os.environ["UNIHARMONYFS_MOUNT"])
BIDSLayout(root, database_path=root / ".pybids")
layout = BIDSLayout(root, database_path=root / ".pybids")
images = layout.get(suffix="T1w", extension=".nii.gz")
out = root / "derivatives" / "tool"
for image in images:
    name = out / "sub-01" / image.filename.replace("_T1w", "_desc-brain_T1w")
    name.parent.mkdir(parents=True, exist_ok=True)
    name.write_bytes(Path(image.path).read_bytes())
(out / "dataset_description.json").write_text(json.dumps(
    {"Name": "tool", "BIDSVersion": "1.8.0", "DatasetType": "derivative", "GeneratedBy": [{"Name": "tool"}]}))
described = root / "dataset_description.json"
described.write_text(json.dumps({**json.loads(described.read_text()), "Name": "put right"}))
with_derivatives = BIDSLayout(root, derivatives=True)
print(len(images), len(with_derivatives.get(scope="derivatives", desc="brain")), with_derivatives.get_dataset_description()["Name"])
`

// TestAppsWriteOverAView: tools that write into the dataset run in exec --writable, and
// what fMRIPrep's own code finds there is what it finds in the dataset.
func TestAppsWriteOverAView(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	t.Parallel()
	u := execUser(t)
	e := unpackExample(t, u, "7t_trt")
	full := collect(t, e.dir, "01", nil)
	before := hashes(t, e.repo)
	program := cmp.Or(os.Getenv("UNIHARMONYFS_TEST_APPS"), "python3")
	apps, err := filepath.Abs("testdata/apps.py")
	if err != nil {
		t.Fatal(err)
	}
	on := func(command ...string) []string {
		return slices.Concat([]string{"exec", "--dataset", e.repo, "--sub", "01", "--writable", u.path("written"), "--"}, command)
	}
	images := len(full.Files["t1w"].([]any))
	if out := u.must(on(program, "-W", "ignore", "-c", writing)...); out != fmt.Sprintf("%d %[1]d put right\n", images) || images == 0 {
		t.Errorf("it says %q, and there are %d images", out, images)
	}
	var view collected
	said := u.must(on("sh", "-c", `printf '{"root": "%s", "subject": "01", "filters": null}' {} | "$0" "$1"`, program, apps)...)
	if err := json.Unmarshal([]byte(said), &view); err != nil || !reflect.DeepEqual(view, full) {
		t.Errorf("fMRIPrep finds %v, want %v, %v", view, full, err)
	}
	changes := u.must("changes", u.path("written"))
	if !strings.Contains(changes, "created  .pybids/layout_index.sqlite\n") || !strings.Contains(changes, "changed  dataset_description.json\n") || strings.Count(changes, "created  derivatives/tool/sub-01/") != images {
		t.Errorf("changed is\n%s", changes)
	}
	same(t, "the dataset", before, hashes(t, e.repo))
}
