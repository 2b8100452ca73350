package maker_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// validator returns the path of the validator by the BIDS schema: from PATH,
// or from beside the tests' Python.
func validator(t *testing.T) string {
	t.Helper()
	const name = "bids-validator-deno"
	beside := filepath.Join(filepath.Dir(os.Getenv("UNIHARMONYFS_TEST_PYTHON")), name)
	for _, program := range []string{name, beside} {
		if path, err := exec.LookPath(program); err == nil {
			return path
		}
	}
	t.Skip(name + " is not installed")
	return ""
}

func made(t *testing.T, d maker.Dataset) *maker.Made {
	t.Helper()
	m, err := maker.Make(t.TempDir(), d)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestBIDSIsValid(t *testing.T) {
	program := validator(t)
	for _, d := range []maker.Dataset{
		demo.Dataset(),
		maker.BIDS(maker.BIDSOptions{Subjects: 1, Runs: 2, FieldMaps: "epi"}),
		maker.BIDS(maker.BIDSOptions{Subjects: 2, Sessions: 1, ImageSize: 30_000}),
	} {
		dir := t.TempDir()
		if err := made(t, d).Materialize(dir); err != nil {
			t.Fatal(err)
		}
		// Its exit code is 16 when there are errors.
		out, err := exec.Command(program, dir, "--format", "json").Output()
		var report struct {
			Issues struct {
				Issues []struct{ Code, SubCode, Severity, Location, IssueMessage string }
			}
			Summary struct{ TotalFiles int }
		}
		if jsonErr := json.Unmarshal(out, &report); jsonErr != nil {
			t.Skipf("the validator does not run here: %v, %v", err, jsonErr)
		}
		for _, issue := range report.Issues.Issues {
			if issue.Severity == "error" {
				t.Errorf("%s: %+v", d.Name, issue)
			}
		}
		if report.Summary.TotalFiles < len(d.Files)-1 {
			t.Errorf("the validator saw %d files of %d", report.Summary.TotalFiles, len(d.Files))
		}
	}
}

func TestBIDSNames(t *testing.T) {
	d := maker.BIDS(maker.BIDSOptions{Subjects: 101, Sessions: 1, Runs: 2, Datatypes: []string{"func"}, ImageSize: 400})
	names := make(map[string]bool)
	for _, f := range d.Files {
		names[f.Path] = true
		if strings.Contains(f.Path, "anat") {
			t.Error(f.Path)
		}
	}
	for _, want := range []string{"sub-001/ses-01/func/sub-001_ses-01_task-rest_run-02_bold.nii.gz", "sub-101/sub-101_sessions.tsv", "task-rest_bold.json"} {
		if !names[want] {
			t.Errorf("no %s", want)
		}
	}
}
