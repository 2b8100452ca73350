package bids

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// validator runs a BIDS validator over a directory and returns the codes of
// the errors it finds.
type validator func(t *testing.T, dir string) map[string]bool

// schemaValidator is the validator by the BIDS schema (PyPI bids-validator-deno).
func schemaValidator(t *testing.T) validator {
	program, err := exec.LookPath("bids-validator-deno")
	if err != nil {
		if program, err = exec.LookPath(filepath.Join(filepath.Dir(gittest.Python(t, "bids")), "bids-validator-deno")); err != nil {
			t.Skip("bids-validator-deno is not installed")
		}
	}
	return func(t *testing.T, dir string) map[string]bool {
		var report struct {
			Issues struct {
				Issues []struct{ Code, SubCode, Severity string }
			}
		}
		out, err := exec.Command(program, dir, "--ignoreNiftiHeaders", "--format", "json").Output()
		if jsonErr := json.Unmarshal(out, &report); jsonErr != nil {
			t.Fatalf("%s: %v, %v", program, err, jsonErr)
		}
		codes := make(map[string]bool)
		for _, i := range report.Issues.Issues {
			if i.Severity == "error" {
				codes[i.Code] = true
			}
		}
		return codes
	}
}

// legacyValidator is the validator that fMRIPrep runs (npm bids-validator 1.15).
func legacyValidator(t *testing.T) validator {
	program := os.Getenv("UNIHARMONYFS_TEST_LEGACY_VALIDATOR")
	if program == "" {
		program = "bids-validator"
	}
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("skipped: the validator of npm's bids-validator 1.15 (UNIHARMONYFS_TEST_LEGACY_VALIDATOR): %v", err)
	}
	return func(t *testing.T, dir string) map[string]bool {
		var report struct {
			Issues struct{ Errors []struct{ Key string } }
		}
		out, err := exec.Command(program, dir, "--ignoreNiftiHeaders", "--json").Output()
		if jsonErr := json.Unmarshal(out, &report); jsonErr != nil {
			t.Fatalf("%s: %v, %v", program, err, jsonErr)
		}
		codes := make(map[string]bool)
		for _, i := range report.Issues.Errors {
			codes[i.Key] = true
		}
		return codes
	}
}

func TestViewsAreValid(t *testing.T) {
	viewsAreValid(t, schemaValidator, func(string, map[string][]string) bool { return false })
}

func TestViewsAreValidLegacy(t *testing.T) { viewsAreValid(t, legacyValidator, unknownToLegacy) }

// unknownToLegacy reports whether a selection is of a datatype or suffix that
// the legacy validator does not know: where a view has nothing else, it takes
// it for no dataset.
func unknownToLegacy(code string, q map[string][]string) bool {
	if code != "SUBJECT_FOLDERS" && code != "QUICK_VALIDATION_FAILED" {
		return false
	}
	for _, word := range []string{"emg", "figures", "log", "swi", "GRE", "FLASH", "AROMAnoiseICs"} {
		if slices.Contains(q[filter.Datatype], word) || slices.Contains(q[filter.Suffix], word) {
			return true
		}
	}
	return false
}

// viewsAreValid checks that a view has no error that the whole dataset does
// not have. UNIHARMONYFS_TEST_ALL=1 takes all datasets and more selections
// (some minutes).
func viewsAreValid(t *testing.T, find func(*testing.T) validator, excused func(code string, q map[string][]string) bool) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	validate := find(t)
	all := examples(t)
	names, most := []string{"synthetic"}, 3 // others are tried on mounts
	if exhaustive() {
		names, most = slices.Sorted(maps.Keys(all)), 12
		all["ds004712"] = onHarmony(t)
		names = append(names, "ds004712")
	}
	for _, name := range names {
		d := all[name]
		if d == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			full := validate(t, materialised(t, d, d.all()))
			t.Logf("in the whole dataset: %q", slices.Sorted(maps.Keys(full)))
			for _, q := range usual(d, most) {
				for code := range validate(t, materialised(t, d, d.view(t, selectionOf(q)))) {
					if !full[code] && !excused(code, q) {
						t.Errorf("%v: %s is new", q, code)
					}
				}
			}
		})
	}
}

func materialised(t *testing.T, d *dataset, files map[string]string) string {
	dir := filepath.Join(t.TempDir(), d.name)
	unpack(t, dir, files)
	return dir
}

// usual are selections as people make them: of a subject, a session, a
// datatype, or the data of a suffix.
func usual(d *dataset, most int) (list []map[string][]string) {
	for round := 0; len(list) < most; round++ {
		found := false
		for _, f := range d.facets() {
			switch f.Name {
			case "sub", "ses", "task", "run", "sample", filter.Datatype:
				if round < len(f.Values) {
					v := f.Values[len(f.Values)-1-round].Value
					list = append(list, map[string][]string{f.Name: {v}})
					found = true
				}
			case filter.Suffix:
				// A coordinate system alone is a sidecar without data, as asked.
				if round < len(f.Values) && f.Values[round].Value != "coordsystem" {
					list = append(list, map[string][]string{filter.Suffix: {f.Values[round].Value}, "sub": {d.facets()[0].Values[0].Value}})
					found = true
				}
			}
		}
		if !found {
			break
		}
	}
	c := d.catalog()
	list = slices.DeleteFunc(list, func(q map[string][]string) bool {
		_, err := c.selectAlone(selectionOf(q), d.read)
		return err != nil
	})
	return list[:min(len(list), most)]
}
