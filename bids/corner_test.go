package bids

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids/filter"
)

// TestCorners has the cases in which selections by name usually differ.
func TestCorners(t *testing.T) {
	const desc = "dataset_description.json"
	runs := []string{"sub-01/func/sub-01_task-a_run-1_bold.nii", "sub-01/func/sub-01_task-a_run-01_bold.nii", "sub-01/func/sub-01_task-a_run-001_bold.nii", "sub-01/func/sub-01_task-a_run-10_bold.nii"}
	tasks := []string{"sub-01/func/sub-01_task-rest_bold.nii", "sub-01/func/sub-01_task-Rest_bold.nii", "sub-01/func/sub-01_task-restless_bold.nii"}
	echoes := []string{"sub-01/func/sub-01_echo-1_bold.nii", "sub-01/func/sub-01_echo-01_bold.nii"}
	exts := []string{"sub-01/anat/sub-01_T1w.nii", "sub-01/anat/sub-01_T1w.nii.gz"}
	mixed := []string{"sub-01/anat/sub-01_T1w.nii", "sub-01/func/sub-01_task-rest_bold.nii"}
	tests := map[string]struct {
		tree    []string
		query   string
		primary []string // nil: a NoMatchError
		view    []string // beside the primary files
	}{
		"C1 number":                   {runs, "run=1", runs[:3], nil},
		"C1 padded":                   {runs, "run=01", runs[:3], nil},
		"C1 prefix":                   {runs, "run=run-01", runs[:3], nil},
		"C2":                          {runs, "run=1,10", runs, nil},
		"C4":                          {echoes, "echo=1", echoes, nil},
		"C5":                          {[]string{"sub-01/anat/sub-01_T1w.nii", "sub-1/anat/sub-1_T1w.nii"}, "sub=1", []string{"sub-1/anat/sub-1_T1w.nii"}, nil},
		"C6":                          {[]string{"sub-03286/anat/sub-03286_T1w.nii"}, "sub=sub-03286", []string{"sub-03286/anat/sub-03286_T1w.nii"}, nil},
		"C7":                          {[]string{"sub-03286/anat/sub-03286_T1w.nii"}, "sub=3286", nil, nil},
		"C8":                          {tasks, "task=rest", tasks[:1], nil},
		"C9 glob":                     {tasks, "task=rest*", []string{tasks[0], tasks[2]}, nil},
		"C10":                         {[]string{"sub-1/ses-NOT1ACH001/anat/sub-1_ses-NOT1ACH001_T1w.nii"}, "ses=not1ach001", nil, nil},
		"C11 without dot":             {exts, "ext=nii", exts[:1], nil},
		"C11":                         {exts, "ext=.nii", exts[:1], nil},
		"C12":                         {exts[1:], "ext=gz", nil, nil},
		"C13":                         {[]string{"sub-01/anat/sub-01_acq-a+b_T1w.nii"}, "acq=a", nil, nil},
		"C14":                         {exts, "ses=X", nil, nil},
		"C15":                         {mixed, "task=rest", mixed[1:], nil},
		"C15 none":                    {mixed, "task=rest,@none", mixed, nil},
		"C15 any":                     {mixed, "task=@any", mixed[1:], nil},
		"C15 only none":               {mixed, "task=@none", mixed[:1], nil},
		"C16":                         {[]string{"sub-01/anat/sub-01_mod-T1w_defacemask.nii"}, "suffix=T1w", nil, nil},
		"C17":                         {append([]string{"task-rest_bold.json"}, mixed...), "task=rest", mixed[1:], []string{"task-rest_bold.json"}},
		"C18":                         {append([]string{"sub-01/sub-01_task-rest_bold.json"}, mixed...), "sub=01 task=rest", []string{mixed[1], "sub-01/sub-01_task-rest_bold.json"}, nil},
		"C19":                         {append([]string{"sub-01/sub-01_task-rest_bold.json"}, mixed...), "modality=func", mixed[1:], []string{"sub-01/sub-01_task-rest_bold.json"}},
		"C20":                         {append([]string{"sub-01/sub-01_scans.tsv\nfilename\nanat/sub-01_T1w.nii\n"}, mixed...), "sub=01", mixed, []string{"sub-01/sub-01_scans.tsv"}},
		"C21":                         {[]string{"sub-02/meg/sub-02_task-a_meg.ds/a.meg4", "sub-02/meg/sub-02_task-a_meg.ds/b/c_T1w.json"}, "suffix=meg", []string{"sub-02/meg/sub-02_task-a_meg.ds/a.meg4", "sub-02/meg/sub-02_task-a_meg.ds/b/c_T1w.json"}, nil},
		"C21 ext":                     {[]string{"sub-02/meg/sub-02_task-a_meg.ds/a.meg4"}, "ext=.ds/", []string{"sub-02/meg/sub-02_task-a_meg.ds/a.meg4"}, nil},
		"C22":                         {[]string{"sub-02/micr/sub-02_sample-A_SPIM.ome.zarr/.zattrs", "sub-02/micr/sub-02_sample-A_SPIM.ome.zarr/0/.zarray"}, "ext=.ome.zarr", []string{"sub-02/micr/sub-02_sample-A_SPIM.ome.zarr/.zattrs", "sub-02/micr/sub-02_sample-A_SPIM.ome.zarr/0/.zarray"}, nil},
		"BTi":                         {[]string{"sub-02/meg/sub-02_task-a_meg/c,rfDC", "sub-02/meg/sub-02_task-a_meg/config"}, "suffix=meg", []string{"sub-02/meg/sub-02_task-a_meg/c,rfDC", "sub-02/meg/sub-02_task-a_meg/config"}, nil},
		"C23":                         {[]string{"sub-06/emg/sub-06_emg.edf"}, "modality=emg", []string{"sub-06/emg/sub-06_emg.edf"}, nil},
		"C24":                         {append([]string{"derivatives/p/sub-01/anat/sub-01_T1w.nii"}, mixed...), "sub=01", mixed, nil},
		"C24 without a pipeline":      {append([]string{"derivatives/sub-01/anat/sub-01_T1w.nii", "derivatives/sub-02/anat/sub-02_T1w.nii"}, mixed...), "", mixed, nil},
		"C24 without a pipeline, sub": {append([]string{"derivatives/sub-01/anat/sub-01_T1w.nii", "derivatives/sub-02/anat/sub-02_T1w.nii"}, mixed...), "sub=02", nil, nil},
		"C25":                         {append([]string{"sub-01/eeg/.Rapp.history"}, mixed...), "sub=01", mixed, nil},
		"C26":                         {append([]string{"README"}, mixed...), "ext=@none", nil, nil},
		"C27 directory":               {[]string{"sub-02/func/sub-01_bold.nii.gz"}, "sub=02", []string{"sub-02/func/sub-01_bold.nii.gz"}, nil},
		"C27 name":                    {[]string{"sub-02/func/sub-01_bold.nii.gz"}, "sub=01", nil, nil},
		"unknown datatype and entity": {[]string{"sub-1/swi/sub-1_coil-28_GRE.nii", "sub-1/swi/sub-1_coil-29_GRE.nii"}, "modality=swi coil=28", []string{"sub-1/swi/sub-1_coil-28_GRE.nii"}, nil},
		"case":                        {[]string{"sub-a/anat/sub-a_T1w.nii", "sub-A/anat/sub-A_T1w.nii"}, "sub=a", []string{"sub-a/anat/sub-a_T1w.nii"}, nil},
		"NFC and NFD":                 {[]string{"sub-\u00e9/anat/sub-\u00e9_T1w.nii", "sub-e\u0301/anat/sub-e\u0301_T1w.nii"}, "sub=e*", []string{"sub-e\u0301/anat/sub-e\u0301_T1w.nii"}, nil},
		"a subject without a label":   {append([]string{"sub-/anat/sub-_T1w.nii", "sub-../anat/sub-.._T1w.nii"}, mixed...), "sub=01", mixed, nil},
		"odd names":                   {[]string{"sub-1/anat/-rf", "sub-1/anat/sub-1_T1w (copy).nii", "sub-1/anat/žluť_T1w.nii"}, "suffix=T1w", []string{"sub-1/anat/žluť_T1w.nii"}, nil},
		"root files stay":             {append([]string{"README", ".gitattributes", ".bidsignore", "docs/a.txt", "code/x.py"}, mixed...), "suffix=T1w", mixed[:1], []string{"README", ".bidsignore"}},
		"template tree":               {[]string{"tpl-MNI/cohort-1/anat/tpl-MNI_cohort-1_T1w.nii", "tpl-X/anat/tpl-X_T1w.nii"}, "tpl=MNI", []string{"tpl-MNI/cohort-1/anat/tpl-MNI_cohort-1_T1w.nii"}, nil},
		"orphan of another suffix":    {append([]string{"T1w.json", "bold.json"}, mixed...), "suffix=T1w", mixed[:1], []string{"T1w.json"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := made(append(slices.Clone(test.tree), desc)...)
			r, err := d.catalog().selectAlone(parse(t, test.query), d.read)
			var none *NoMatchError
			if test.primary == nil {
				if !errors.As(err, &none) {
					t.Fatalf("selected %v (%v), want a NoMatchError", r, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			written(test.primary)
			sameFiles(t, "primary", d.pathsOf(r.Primary), test.primary)
			sameFiles(t, "view", d.pathsOf(r.Files), slices.Concat(test.primary, test.view, []string{desc}))
		})
	}
}

// written strips the content of made's files.
func written(files []string) {
	for i, f := range files {
		files[i], _, _ = strings.Cut(f, "\n")
	}
}

func sameFiles(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func TestUsageErrors(t *testing.T) {
	for _, query := range []string{"run=x", "run=1a", "sub=0_1", "sub=sub-sub-01", "task=", "task=a-b", "task=[a", "ext=a/b", "suffix=", "run=-1", "sub=á"} {
		err := parse(t, query).Validate()
		var usage *filter.UsageError
		if !errors.As(err, &usage) {
			t.Errorf("%s: %v, want a UsageError", query, err)
			continue
		}
		if usage.Dimension == "" || usage.Do == "" || !strings.Contains(query, usage.Dimension) {
			t.Errorf("%s: %#v does not say what to do", query, usage)
		}
	}
	for _, s := range []Selection{{Include: []string{"[a"}}, {Exclude: []string{""}}, {Companions: 9}, {RootFiles: []string{"[a"}}} {
		var usage *filter.UsageError
		if err := s.Validate(); !errors.As(err, &usage) {
			t.Errorf("%+v: %v, want a UsageError", s, err)
		}
	}
}

func TestEveryUnknownValueIsAnError(t *testing.T) {
	d := made("sub-01/anat/sub-01_T1w.nii", "sub-02/func/sub-02_task-rest_bold.nii")
	tests := map[string]struct{ dimension, value, nearest, hint string }{
		"sub=01,03":          {"sub", "03", "01", ""},
		"sub=1":              {"sub", "1", "01", ""},
		"modality=T1w":       {"modality", "T1w", "", "T1w is a suffix: --suffix T1w"},
		"modality=t1":        {"modality", "t1", "", "T1w is a suffix: --suffix T1w"},
		"suffix=anat":        {"suffix", "anat", "", "anat is a datatype: --modality anat"},
		"suffix=t1w":         {"suffix", "t1w", "T1w", ""},
		"ext=nii.gz":         {"ext", "nii.gz", ".nii", ""},
		"task=rset":          {"task", "rset", "rest", ""},
		"acq=@any":           {"acq", "@any", "sub", ""},
		"modality=anat,nope": {"modality", "nope", "", ""},
	}
	for query, want := range tests {
		_, err := d.catalog().selectAlone(parse(t, query), nil)
		var e *NoMatchError
		if !errors.As(err, &e) {
			t.Errorf("%s: %v, want a NoMatchError", query, err)
			continue
		}
		if e.Dimension != want.dimension || e.Value != want.value || e.Emptied {
			t.Errorf("%s: %+v", query, e)
		}
		if want.nearest != "" && (len(e.Nearest) == 0 || e.Nearest[0] != want.nearest) {
			t.Errorf("%s: nearest %q, want %q first", query, e.Nearest, want.nearest)
		}
		if want.hint != "" && !slices.Contains(e.Advice(), want.hint) {
			t.Errorf("%s: advice %q, want %q", query, e.Advice(), want.hint)
		}
	}
}

func TestEmptyCombinationNamesTheFilter(t *testing.T) {
	d := made("sub-01/anat/sub-01_T1w.nii", "sub-01/func/sub-01_task-rest_bold.nii", "sub-01/func/sub-01_task-go_bold.nii")
	_, err := d.catalog().selectAlone(parse(t, "modality=anat task=rest"), nil)
	var e *NoMatchError
	if !errors.As(err, &e) || !e.Emptied || e.Dimension != "task" || e.Others != "--modality anat" {
		t.Fatalf("%#v", err)
	}
	if !strings.Contains(strings.Join(e.Advice(), "\n"), "--task rest,@none") {
		t.Errorf("advice %q does not show @none", e.Advice())
	}
}

func TestHintWhenADatatypeIsLost(t *testing.T) {
	d := made("sub-01/anat/sub-01_T1w.nii", "sub-01/func/sub-01_task-rest_bold.nii")
	r, err := d.catalog().selectAlone(parse(t, "modality=anat,func task=rest"), nil)
	if err != nil || len(r.Hints) != 1 || !strings.Contains(r.Hints[0], "--task rest,@none") {
		t.Errorf("hints %q, %v", r.Hints, err)
	}
}
