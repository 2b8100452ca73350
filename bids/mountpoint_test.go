package bids

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

func TestMountpointHint(t *testing.T) {
	for path, want := range map[string]string{
		"/home/me/ds004712":         "",
		"/data/sub-99/ds":           "sub-99",
		"/x/func/run_ses-1/ds":      "func and ses-1",
		"/x/my_task-rest.old/ds":    "task-rest.old",
		"/x/my-project/sub-/a-b_c":  "",
		"/x/functional/anatomy/ds1": "",
	} {
		got := MountpointHint(path)
		if (want == "") != (got == "") || !strings.Contains(got, " "+want+" in the path") && want != "" {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// TestMountpointsThatMislead: pybids does read entities from such paths.
func TestMountpointsThatMislead(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	interpreter := gittest.Python(t, "bids")
	d := made("dataset_description.json\n{\"Name\": \"x\", \"BIDSVersion\": \"1.8.0\"}", "sub-01/anat/sub-01_T1w.nii.gz")
	for dir, want := range map[string]int{"ds": 1, "sub-99/ds": 0} {
		root := filepath.Join(t.TempDir(), dir)
		if err := os.MkdirAll(root, 0o755); err != nil {
			t.Fatal(err)
		}
		unpack(t, root, d.all())
		var answers [][]string
		ask(t, interpreter, map[string]any{"root": root, "queries": []map[string][]string{{"subject": {"01"}}}}, &answers)
		if len(answers[0]) != want {
			t.Errorf("%s: pybids finds %d files of sub-01, want %d", dir, len(answers[0]), want)
		}
		if hint := MountpointHint(root); (hint == "") != (want == 1) {
			t.Errorf("%s: %q", dir, hint)
		}
	}
}
