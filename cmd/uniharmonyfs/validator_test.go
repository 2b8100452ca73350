package main_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
)

// validator runs a BIDS validator over a directory and returns the codes of
// the errors it finds.
type validator struct {
	name  string
	check func(t *testing.T, dir string) map[string]bool
}

// validators returns the two BIDS validators, as far as they are installed.
func validators(t *testing.T) (list []validator) {
	for _, v := range []struct {
		program string
		args    []string
		codes   func(report []byte) (map[string]bool, error)
	}{
		{os.Getenv("UNIHARMONYFS_TEST_LEGACY_VALIDATOR"), []string{"--ignoreNiftiHeaders", "--json"}, legacyCodes},
		{filepath.Join(filepath.Dir(os.Getenv("UNIHARMONYFS_TEST_PYTHON")), "bids-validator-deno"), []string{"--ignoreNiftiHeaders", "--format", "json"}, schemaCodes},
	} {
		program, err := exec.LookPath(v.program)
		if err != nil {
			t.Logf("skipped: a BIDS validator (UNIHARMONYFS_TEST_LEGACY_VALIDATOR, UNIHARMONYFS_TEST_PYTHON): %v", err)
			continue
		}
		list = append(list, validator{filepath.Base(program), func(t *testing.T, dir string) map[string]bool {
			cmd := exec.Command(program, append([]string{dir}, v.args...)...)
			cmd.Dir = t.TempDir()
			out, err := cmd.Output()
			codes, jsonErr := v.codes(out)
			if jsonErr != nil {
				t.Fatalf("%s: %v, %v", program, err, jsonErr)
			}
			return codes
		}})
	}
	if len(list) == 0 {
		t.Skip("skipped: no BIDS validator is installed: scripts/setup --test does it")
	}
	return list
}

func schemaCodes(report []byte) (map[string]bool, error) {
	var r struct {
		Issues struct {
			Issues []struct{ Code, Severity string }
		}
	}
	err := json.Unmarshal(report, &r)
	codes := make(map[string]bool)
	for _, i := range r.Issues.Issues {
		if i.Severity == "error" {
			codes[i.Code] = true
		}
	}
	return codes, err
}

func legacyCodes(report []byte) (map[string]bool, error) {
	var r struct {
		Issues struct{ Errors []struct{ Key string } }
	}
	err := json.Unmarshal(report, &r)
	codes := make(map[string]bool)
	for _, i := range r.Issues.Errors {
		codes[i.Key] = true
	}
	return codes, err
}

// TestMountedViewsAreValid: neither validator finds an error in a mounted view
// that it does not find in the whole dataset. UNIHARMONYFS_TEST_ALL=1 takes
// all datasets and more selections (many minutes).
func TestMountedViewsAreValid(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	t.Parallel()
	names, most := []string{"7t_trt", "eeg_matchingpennies", "eyetracking_fmri", "micr_SEMzarr", "pheno004"}, 2
	list := validators(t)
	all := exampleNames(t)
	if exhaustive() {
		names, most = all, 9
	}
	var views atomic.Int32
	t.Run("of", func(t *testing.T) {
		for _, name := range names {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				views.Add(int32(mountedViewsAreValid(t, list, name, most)))
			})
		}
	})
	t.Logf("%d views", views.Load())
	if exhaustive() && len(all) >= 20 && views.Load() < 300 {
		t.Errorf("only %d views, want 300", views.Load())
	}
}

func mountedViewsAreValid(t *testing.T, list []validator, name string, most int) (views int) {
	u := newUser(t)
	e := unpackExample(t, u, name)
	full := make(map[string]map[string]bool)
	for _, v := range list {
		full[v.name] = v.check(t, e.dir)
		t.Logf("%s finds in the whole dataset: %q", v.name, slices.Sorted(maps.Keys(full[v.name])))
	}
	for _, s := range usualSelections(t, u, e.repo, most) {
		mnt := u.path("mnt")
		u.must(slices.Concat([]string{"mount", "--dataset", e.repo}, s, []string{mnt})...)
		for _, v := range list {
			views++
			for code := range v.check(t, mnt) {
				if !full[v.name][code] && !unknownToLegacy(v.name, code, s) {
					t.Errorf("%s %v: %s finds %s, but not in the whole dataset", name, s, v.name, code)
				}
			}
		}
		u.must("unmount", mnt)
	}
	return views
}

// TestValidatorsFindWhatIsMissing is the proof that the test above can fail.
func TestValidatorsFindWhatIsMissing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	t.Parallel()
	list := validators(t)
	u := newUser(t)
	e := unpackExample(t, u, "ds001")
	mnt := u.path("mnt")
	u.must("mount", "--dataset", e.repo, "--sub", "01", "--suffix", "bold", "--companions", "none", mnt)
	for _, v := range list {
		if codes := v.check(t, mnt); len(codes) == 0 {
			t.Errorf("%s finds no error where sidecars are missing", v.name)
		}
	}
}

// unknownToLegacy reports whether a selection is of a datatype or suffix that
// the legacy validator does not know: where a view has nothing else, it takes
// it for no dataset.
func unknownToLegacy(validator, code string, selection []string) bool {
	return validator == "bids-validator" && (code == "SUBJECT_FOLDERS" || code == "QUICK_VALIDATION_FAILED") &&
		slices.ContainsFunc([]string{"emg", "figures", "log", "FLASH", "AROMAnoiseICs"}, func(word string) bool { return slices.Contains(selection, word) })
}
