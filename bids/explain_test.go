package bids

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids/filter"
)

func TestExplain(t *testing.T) {
	d := study()
	tests := map[string]struct {
		shown bool
		why   string
	}{
		"sub-01/ses-1/anat/sub-01_ses-1_T1w.nii":             {true, "asks for it"},
		"sub-01/ses-1/fmap/sub-01_ses-1_epi.nii":             {true, "IntendedFor names sub-01/ses-1/anat/sub-01_ses-1_T1w.nii"},
		"sub-01/ses-1/fmap/sub-01_ses-1_epi.json":            {true, "describes sub-01/ses-1/fmap/sub-01_ses-1_epi.nii"},
		"sub-01/ses-1/sub-01_ses-1_scans.tsv":                {true, "lists"},
		"participants.tsv":                                   {true, "dataset as a whole"},
		"samples.tsv":                                        {false, "not shown"},
		"sub-01/ses-1/func/sub-01_ses-1_task-a_bold.nii":     {false, "--suffix T1w"},
		"sub-02/anat/sub-02_T1w.nii":                         {false, "--sub 01"},
		"sub-01/ses-2/meg/sub-01_ses-2_task-a_meg.ds/x.meg4": {false, "--suffix T1w"},
	}
	for path, want := range tests {
		shown, why, err := d.catalog().Explain(parse(t, "sub=01 suffix=T1w"), d.read, path)
		if err != nil || shown != want.shown || !strings.Contains(why, want.why) {
			t.Errorf("%s: %v, %q, %v; want %v, %q", path, shown, why, err, want.shown, want.why)
		}
	}
	for r := ruleTable; r <= ruleAtlas; r++ {
		if !strings.Contains(r.format(), "%s") {
			t.Errorf("rule %d has no reason", r)
		}
	}
	if _, _, err := d.catalog().Explain(Selection{}, d.read, "nope"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a path that is not there: %v", err)
	}
}

func TestFilterFile(t *testing.T) {
	d := made("dataset_description.json",
		"sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_acq-b_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz",
		"sub-01/func/sub-01_task-rest_run-1_bold.nii.gz", "sub-01/func/sub-01_task-rest_run-2_bold.nii.gz", "sub-01/func/sub-01_task-go_bold.nii.gz", "sub-01/func/sub-01_task-rest_run-1_events.tsv",
		"sub-01/func/sub-01_task-go_part-mag_sbref.nii.gz", "sub-01/func/sub-01_task-go_part-phase_sbref.nii.gz", "sub-01/func/sub-01_task-rest_sbref.nii.gz", "sub-01/func/sub-01_task-rest_sbref.json")
	for text, want := range map[string][]string{
		`{"t1w": {"acquisition": null}, "bold": {"task": "rest", "run": 1}}`: {"sub-01/anat/sub-01_T1w.nii.gz", "sub-01/func/sub-01_task-rest_run-1_bold.nii.gz"},
		`{"t1w": {"acquisition": "Query.ANY"}}`:                              {"sub-01/anat/sub-01_acq-b_T1w.nii.gz"},
		`{"bold": {"run": ["1", null], "session": "Query.OPTIONAL"}}`:        {"sub-01/func/sub-01_task-go_bold.nii.gz", "sub-01/func/sub-01_task-rest_run-1_bold.nii.gz"},
		`{"sbref": {}}`:                {"sub-01/func/sub-01_task-go_part-mag_sbref.nii.gz", "sub-01/func/sub-01_task-rest_sbref.nii.gz"},
		`{"sbref": {"part": "phase"}}`: {"sub-01/func/sub-01_task-go_part-phase_sbref.nii.gz"},
		`{"sbref": {"part": "Query.OPTIONAL", "extension": "json"}}`:               {"sub-01/func/sub-01_task-rest_sbref.json"},
		`{"mine": {"datatype": "anat", "suffix": ["T2w"], "extension": "nii.gz"}}`: {"sub-01/anat/sub-01_T2w.nii.gz"},
	} {
		queries, err := filter.ParseFile([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		r, err := d.catalog().selectAlone(Selection{AnyOf: queries}, nil)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		sameFiles(t, text, d.pathsOf(r.Primary), want)
	}
	for _, text := range []string{``, `[]`, `{}`, `{"bold": 1}`, `{"bold": {"tsk": "rest"}}`, `{"bold": {"task": {}}}`, `{"bold": {"run": "x"}}`} {
		var usage *filter.UsageError
		if _, err := filter.ParseFile([]byte(text)); !errors.As(err, &usage) {
			t.Errorf("%s: %v, want a UsageError", text, err)
		}
	}
	some, err := filter.ParseFile([]byte(`{"bold": {"task": "rest"}, "dwi": {}}`))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := d.catalog().selectAlone(Selection{AnyOf: some}, nil); err != nil || len(r.Hints) != 1 || !strings.Contains(r.Hints[0], `"dwi"`) {
		t.Errorf("a query that selects nothing: %v, %v", r, err)
	}
	queries, err := filter.ParseFile([]byte(`{"bold": {"task": "none"}}`))
	if err != nil {
		t.Fatal(err)
	}
	var none *NoMatchError
	if _, err := d.catalog().selectAlone(Selection{AnyOf: queries}, nil); !errors.As(err, &none) {
		t.Errorf("%v, want a NoMatchError", err)
	}
}

func TestOutsideTheSubjects(t *testing.T) {
	d := made("dataset_description.json", ".bidsignore", ".git/config", "README", "notes.txt", "code/a.py", "docs/a.txt", "stimuli/a.png",
		"derivatives/README", "derivatives/fmriprep/dataset_description.json", "derivatives/fmriprep/sub-01.html", "derivatives/fmriprep/sub-02.html",
		"derivatives/fmriprep/sub-01/anat/sub-01_desc-x_T1w.nii", "derivatives/fmriprep/sub-02/anat/sub-02_desc-x_T1w.nii", "derivatives/fmriprep/T1w.json",
		"derivatives/other/dataset_description.json", "derivatives/sub-01/anat/sub-01_desc-y_T1w.nii",
		"sourcedata/sub-01/a.dcm", "sourcedata/sub-02/a.dcm", "sourcedata/README",
		"sub-01/anat/sub-01_T1w.nii", "sub-02/anat/sub-02_T1w.nii", "T1w.json")
	always := []string{"dataset_description.json", ".bidsignore"}
	rootFiles := append([]string{"README", "notes.txt"}, always...)
	one := append([]string{"sub-01/anat/sub-01_T1w.nii", "T1w.json"}, rootFiles...)
	sub01 := map[string][]string{"sub": {"01"}}
	for name, test := range map[string]struct {
		s    Selection
		want []string
	}{
		"one subject":     {Selection{Entities: sub01}, one},
		"everything":      {Selection{}, append([]string{"docs/a.txt", "stimuli/a.png", "sub-02/anat/sub-02_T1w.nii"}, one...)},
		"code":            {Selection{Entities: sub01, Code: true}, append([]string{"code/a.py"}, one...)},
		"sourcedata":      {Selection{Entities: sub01, Sourcedata: true}, append([]string{"sourcedata/sub-01/a.dcm", "sourcedata/README"}, one...)},
		"no root files":   {Selection{Entities: sub01, RootFiles: []string{"none"}}, append([]string{"sub-01/anat/sub-01_T1w.nii", "T1w.json"}, always...)},
		"some root files": {Selection{Entities: sub01, RootFiles: []string{"READ*"}}, append([]string{"README", "sub-01/anat/sub-01_T1w.nii", "T1w.json"}, always...)},
		"a pipeline": {Selection{Entities: sub01, Derivatives: []string{"fmriprep"}}, append([]string{"derivatives/README", "derivatives/fmriprep/dataset_description.json",
			"derivatives/fmriprep/sub-01.html", "derivatives/fmriprep/sub-01/anat/sub-01_desc-x_T1w.nii", "derivatives/fmriprep/T1w.json"}, one...)},
		"without a directory": {Selection{Entities: sub01, Derivatives: []string{"derivatives"}}, append([]string{"derivatives/README", "derivatives/sub-01/anat/sub-01_desc-y_T1w.nii"}, one...)},
		"exclude":             {Selection{Exclude: []string{"sub-02", "docs", "*.png"}}, one},
		"exclude all":         {Selection{Exclude: []string{"dataset_description.json", "*.txt"}}, append([]string{"stimuli/a.png", "sub-01/anat/sub-01_T1w.nii", "sub-02/anat/sub-02_T1w.nii", "T1w.json", "README"}, always...)},
		"include":             {Selection{Include: []string{"sub-01/**"}}, one},
		"no sidecars":         {Selection{Entities: sub01, Companions: NoCompanions}, append([]string{"sub-01/anat/sub-01_T1w.nii"}, rootFiles...)},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := d.catalog().selectAlone(test.s, d.read)
			if err != nil {
				t.Fatal(err)
			}
			sameFiles(t, "view", d.pathsOf(r.Files), test.want)
		})
	}
	var none *NoMatchError
	if _, err := d.catalog().selectAlone(Selection{Derivatives: []string{"fmriprp"}}, nil); !errors.As(err, &none) || none.Nearest[0] != "fmriprep" {
		t.Errorf("an unknown pipeline: %v", err)
	}
}

// A companion's reason is the rule that brought it, and not what another rule
// would have said.
func TestReasonsOfFieldmaps(t *testing.T) {
	d := made("dataset_description.json",
		"sub-1/func/sub-1_task-r_bold.nii",
		"sub-1/fmap/sub-1_dir-AP_epi.nii", "sub-1/fmap/sub-1_dir-AP_epi.json\n{\"IntendedFor\": \"func/sub-1_task-r_bold.nii\"}",
		"sub-1/fmap/sub-1_dir-PA_epi.nii", "sub-1/fmap/sub-1_dir-PA_epi.json\n{}")
	s := parse(t, "suffix=bold")
	explain := func(read Read, path string) string {
		shown, why, err := d.catalog().Explain(s, read, path)
		if err != nil || !shown {
			t.Errorf("%s: %v, %v", path, shown, err)
		}
		return why
	}
	if why := explain(d.read, "sub-1/fmap/sub-1_dir-PA_epi.nii"); why != "it has another phase encoding direction than sub-1/fmap/sub-1_dir-AP_epi.nii" {
		t.Errorf("the other direction: %s", why)
	}
	unread := func(i int) ([]byte, error) {
		if strings.HasSuffix(d.paths[i], "PA_epi.json") {
			return nil, errors.New("not here")
		}
		return d.read(i)
	}
	if why := explain(unread, "sub-1/fmap/sub-1_dir-PA_epi.nii"); why != "it may map the field of sub-1/func/sub-1_task-r_bold.nii: a sidecar that would tell cannot be read" {
		t.Errorf("a map of which nothing is known: %s", why)
	}
	r, err := d.catalog().selectAlone(Selection{Suffix: s.Suffix, Companions: Required}, d.read)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range d.pathsOf(r.Files) {
		if strings.Contains(p, "_epi") {
			t.Errorf("%s is required", p)
		}
	}
}
