package schema

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseName(t *testing.T) {
	for name, want := range map[string]string{
		"sub-01_task-rest_run-1_bold.nii.gz": "sub=01 task=rest run=1 bold .nii.gz",
		"sub-01_sub-02_T1w.json":             "sub=01 sub=02 T1w .json",
		"participants.tsv":                   "participants .tsv",
		"README":                             "README ",
		".bidsignore":                        " .bidsignore",
		"sub-01":                             "sub=01  ",
		"sub-_-x_acq-a-b_T1w":                "acq=a-b T1w ",
		"sub-01_notes_T1w.nii":               "sub=01 T1w .nii",
		"sub-01__T1w.nii":                    "sub=01 T1w .nii",
		"":                                   " ",
	} {
		var said []string
		suffix, ext := ParseName(name, func(key, value string) { said = append(said, key+"="+value) })
		if got := strings.Join(append(said, suffix+" "+ext), " "); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

func TestOpaqueDirectories(t *testing.T) {
	for name, want := range map[string]bool{
		"sub-01_task-rest_meg.ds": true, "sub-01_ieeg.mefd": true, "sub-01_SPIM.ome.zarr": true, "sub-01_SPIM.zarr": true,
		"sub-01_meg": true, // BTi
		"sub-01":     false, "meg": false, "sub-01_eeg": false, "meg.ds": false, "sub-01_meg.fif": false, ".ds": false,
	} {
		if IsOpaque(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func TestLabelsAreOrderedAsNumbersFirst(t *testing.T) {
	want := []string{"0", "1", "01", "2", "10", "0a", "A", "a", "b"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, CompareLabels)
	// 1 and 01 are the same number; their bytes decide.
	if fmt.Sprint(got) != "[0 01 1 2 10 0a A a b]" {
		t.Errorf("%v", got)
	}
	for s, want := range map[string]string{"1": "1", "01": "1", "000": "0", "": "", "1a": "1a", "-1": "-1"} {
		if got := Number(s); got != want {
			t.Errorf("%q as a number is %q", s, got)
		}
	}
}

func TestEntitiesGoByShortAndLongNames(t *testing.T) {
	for name, want := range map[string]string{"acq": "acq", "acquisition": "acq", "sub": "sub", "subject": "sub", "mod": "mod", "modality": "modality", "coil": "coil", "": ""} {
		if got := ShortKey(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
	if !IsIndex("run") || !IsIndex("echo") || IsIndex("task") || IsIndex("coil") {
		t.Error("indices are run and echo, among others")
	}
	seen := make(map[string]bool)
	for _, e := range Entities {
		if !IsLabel(e.Short) || !IsLabel(e.Long) || seen[e.Short] {
			t.Errorf("%+v", e)
		}
		seen[e.Short] = true
	}
}

func TestFormats(t *testing.T) {
	for ext, want := range map[string]string{".vhdr": "[.vhdr .vmrk .eeg]", ".fdt": "[.set .fdt]", ".nii": "[]", "": "[]"} {
		if got := fmt.Sprint(FormatOf(ext)); got != want {
			t.Errorf("%s: %s", ext, got)
		}
	}
	for suffix, want := range map[string]string{"magnitude": "[fieldmap magnitude]", "phase1": "[phasediff phase1 phase2 magnitude1 magnitude2]", "epi": "[]", "": "[]"} {
		if got := fmt.Sprint(FieldmapOf(suffix)); got != want {
			t.Errorf("%s: %s", suffix, got)
		}
	}
	if !IsNIfTI(".nii") || !IsNIfTI(".nii.gz") || IsNIfTI(".json") {
		t.Error("images are .nii and .nii.gz")
	}
	if !IsDatatype("anat") || !IsMRI("anat") || !IsDatatype("meg") || IsMRI("meg") || IsDatatype("swi") {
		t.Error("datatypes are anat and meg, and of these anat is of an MRI scanner")
	}
}
