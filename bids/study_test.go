package bids

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

const studyDescription = "dataset_description.json\n{\"DatasetType\": \"study\"}"

// within adds a dataset at a directory of others.
func (d *dataset) within(dir string, others *dataset) *dataset {
	all := &dataset{name: d.name, content: maps.Clone(others.content)}
	for p, data := range d.content {
		all.content[dir+"/"+p] = data
	}
	all.paths = slices.Sorted(maps.Keys(all.content))
	return all
}

// Of a raw dataset of a study is shown what would be if it were alone; beside it, the
// study's own root files.
func TestRawDatasetsOfAStudyAreAsAlone(t *testing.T) {
	top := made(studyDescription, "README\nx", "code/x", "sourcedata/README\nx", "sourcedata/dicoms/sub-1/x.dcm", "derivatives/p/sub-1/anat/sub-1_desc-x_mask.nii")
	rapid.Check(t, func(rt *rapid.T) {
		alone := drawDataset(rt)
		s := selectionOf(drawSelection(rt, alone))
		s.Code, s.AllDerivatives = rapid.Bool().Draw(rt, "code"), rapid.Bool().Draw(rt, "derivatives")
		all := alone.within("sourcedata/raw", top)
		r, errAlone := alone.catalog().selectAlone(s, alone.read)
		_, err := all.catalog().selectAlone(s, all.read)
		if errAlone != nil {
			return // in the study another dataset may have it
		}
		if err != nil {
			rt.Fatalf("alone it selects %d files, in the study none: %v", len(r.Files), err)
		}
		found := all.view(t, s)
		want := make(map[string]string)
		for p, content := range alone.view(t, s) {
			want["sourcedata/raw/"+p] = content
		}
		for _, p := range []string{"dataset_description.json", "README"} {
			want[p] = string(top.content[p])
		}
		for p := range found {
			if strings.HasPrefix(p, "derivatives/") && s.AllDerivatives || p == "code/x" && s.Code {
				delete(found, p)
			}
		}
		if !maps.Equal(found, want) {
			rt.Fatalf("%+v shows\n%q\nwant\n%q", s, found, want)
		}
	})
}

func manyRaw() *dataset {
	return made(studyDescription,
		"participants.tsv\nparticipant_id\nsub-01\nsub-02\nsub-03\n", "participants.json\n{}", "phenotype/mood.tsv\nparticipant_id\nsub-02\n",
		"samples.tsv\nsample_id\tparticipant_id\nsample-A\tsub-01\nsample-A\tsub-02\n",
		"task-rest_bold.json\n{}",
		"sourcedata/README", "sourcedata/dicoms/sub-01/x.dcm", "sourcedata/notes/sub-01/anat/sub-01_T1w.nii",
		"sourcedata/sub-01/dataset_description.json\n{}", "sourcedata/sub-01/x.dcm",
		"sourcedata/a/dataset_description.json\n{", "sourcedata/a/.bidsignore\nx", "sourcedata/a/CHANGES\nx", "sourcedata/a/participants.tsv\nparticipant_id\nsub-01\nsub-02\n",
		"sourcedata/a/task-rest_bold.json\n{}", "sourcedata/a/sub-01/func/sub-01_task-rest_bold.nii", "sourcedata/a/sub-02/func/sub-02_task-rest_bold.nii",
		"sourcedata/a/code/x", "sourcedata/a/sourcedata/sub-01/x.dcm", "sourcedata/a/sourcedata/x/dataset_description.json\n{}", "sourcedata/a/sourcedata/x/sub-01/anat/sub-01_T1w.nii",
		"sourcedata/b/dataset_description.json\n{\"DatasetType\": \"raw\"}", "sourcedata/b/README", "sourcedata/b/participants.tsv\nparticipant_id\nsub-02\n", "sourcedata/b/phenotype/mood.tsv\nparticipant_id\nsub-02\n",
		"sourcedata/b/sub-02/micr/sub-02_sample-A_SEM.png",
		"sourcedata/prep/dataset_description.json\n{\"DatasetType\": \"derivative\"}", "sourcedata/prep/sub-01/anat/sub-01_T1w.nii",
		"sourcedata/inner/dataset_description.json\n{\"DatasetType\": \"study\"}", "sourcedata/inner/sourcedata/c/dataset_description.json\n{}", "sourcedata/inner/sourcedata/c/sub-03/anat/sub-03_T1w.nii",
		"derivatives/p/dataset_description.json\n{}", "derivatives/p/sub-01/anat/sub-01_T1w.nii", "derivatives/p/sourcedata/raw/dataset_description.json\n{}", "derivatives/p/sourcedata/raw/sub-01/x",
	)
}

// A study has several raw datasets. Those of which nothing is asked for are not shown.
func TestSelectionsOfAStudy(t *testing.T) {
	a := []string{"sourcedata/a/.bidsignore", "sourcedata/a/CHANGES", "sourcedata/a/dataset_description.json", "sourcedata/a/participants.tsv",
		"sourcedata/a/sub-01/func/sub-01_task-rest_bold.nii", "sourcedata/a/task-rest_bold.json"}
	root := []string{"dataset_description.json", "participants.json", "participants.tsv"}
	with := func(q string, do func(*Selection)) Selection {
		s := parse(t, q)
		do(&s)
		return s
	}
	for name, c := range map[string]struct {
		s    Selection
		want []string
	}{
		"a subject":       {parse(t, "sub=01"), a},
		"in two datasets": {parse(t, "sub=02 suffix=SEM"), []string{"phenotype/mood.tsv", "samples.tsv", "sourcedata/b/README", "sourcedata/b/dataset_description.json", "sourcedata/b/participants.tsv", "sourcedata/b/phenotype/mood.tsv", "sourcedata/b/sub-02/micr/sub-02_sample-A_SEM.png"}},
		"a study within": {parse(t, "sub=03"), []string{"sourcedata/inner/dataset_description.json", "sourcedata/inner/sourcedata/c/dataset_description.json",
			"sourcedata/inner/sourcedata/c/sub-03/anat/sub-03_T1w.nii"}},
		"all of sourcedata": {with("sub=01", func(s *Selection) { s.Sourcedata = true }), append([]string{
			"sourcedata/README", "sourcedata/dicoms/sub-01/x.dcm", "sourcedata/notes/sub-01/anat/sub-01_T1w.nii", "sourcedata/sub-01/dataset_description.json", "sourcedata/sub-01/x.dcm",
			"sourcedata/a/sourcedata/sub-01/x.dcm", "sourcedata/a/sourcedata/x/dataset_description.json", "sourcedata/a/sourcedata/x/sub-01/anat/sub-01_T1w.nii",
			"sourcedata/prep/dataset_description.json", "sourcedata/prep/sub-01/anat/sub-01_T1w.nii"}, a...)},
		"derivatives":   {with("sub=01", func(s *Selection) { s.Derivatives = []string{"p"} }), append([]string{"derivatives/p/dataset_description.json", "derivatives/p/sub-01/anat/sub-01_T1w.nii", "derivatives/p/sourcedata/raw/dataset_description.json", "derivatives/p/sourcedata/raw/sub-01/x"}, a...)},
		"no root files": {with("sub=01", func(s *Selection) { s.RootFiles = []string{"none"} }), slices.DeleteFunc(slices.Clone(a), func(p string) bool { return strings.HasSuffix(p, "CHANGES") })},
	} {
		found := slices.Sorted(maps.Keys(manyRaw().view(t, c.s)))
		found = slices.DeleteFunc(found, func(p string) bool { return slices.Contains(root, p) })
		if want := slices.Sorted(slices.Values(c.want)); !slices.Equal(found, want) {
			t.Errorf("%s shows\n%q\nwant\n%q", name, found, want)
		}
	}
	// Whatever the selection, a study's tables list the subjects that are shown.
	if got := manyRaw().view(t, parse(t, "sub=02"))["participants.tsv"]; got != "participant_id\nsub-02\n" {
		t.Errorf("the study lists %q", got)
	}
	if got := manyRaw().view(t, parse(t, "suffix=SEM"))["samples.tsv"]; got != "sample_id\tparticipant_id\nsample-A\tsub-02\n" {
		t.Errorf("the study has the samples %q", got)
	}
	// The whole has all but plain source data, derivatives and code.
	for _, p := range []string{"sourcedata/b/README", "sourcedata/inner/sourcedata/c/sub-03/anat/sub-03_T1w.nii", "sourcedata/a/task-rest_bold.json"} {
		if _, ok := manyRaw().view(t, Selection{})[p]; !ok {
			t.Errorf("the whole lacks %s", p)
		}
	}
	if n := len(manyRaw().view(t, Selection{})); n != 21 {
		t.Errorf("the whole has %d files: %q", n, slices.Sorted(maps.Keys(manyRaw().view(t, Selection{}))))
	}
}

// What describes a study's tables stays when a table of a raw dataset goes.
func TestStudyKeepsItsDescriptions(t *testing.T) {
	d := made(studyDescription, "participants.json\n{}", "sourcedata/a/dataset_description.json\n{}", "sourcedata/a/sub-01/anat/sub-01_T1w.nii",
		"sourcedata/a/participants.tsv\nparticipant_id\nsub-02\n", "sourcedata/a/participants.json\n{}")
	found := slices.Sorted(maps.Keys(d.view(t, parse(t, "sub=01"))))
	if want := []string{"dataset_description.json", "participants.json", "sourcedata/a/dataset_description.json", "sourcedata/a/sub-01/anat/sub-01_T1w.nii"}; !slices.Equal(found, want) {
		t.Errorf("shown are %q", found)
	}
}

// Only what says that it is a study is one.
func TestWhatIsNoStudy(t *testing.T) {
	raw := []string{"sourcedata/raw/dataset_description.json\n{}", "sourcedata/raw/sub-01/anat/sub-01_T1w.nii"}
	for description, isStudy := range map[string]bool{
		`{"DatasetType": "study"}`:                             true,
		schema.BOM + `{"Name": 1, "DatasetType": "study"}`:     true,
		`{"DatasetType": "raw"}`:                               false,
		`{"DatasetType": 3}`:                                   false,
		`{"DatasetType": ["study"]}`:                           false,
		`{"DatasetType": null}`:                                false,
		`{"DatasetType": "study"`:                              false,
		`"study"`:                                              false,
		strings.Repeat("[", 100_000):                           false,
		strings.Repeat(`{"DatasetType":`, 100_000) + `"study"`: false,
		"": false,
	} {
		d := made(append(raw, "dataset_description.json\n"+description)...)
		_, err := d.catalog().selectAlone(parse(t, "sub=01"), d.read)
		if none := new(NoMatchError); isStudy != (err == nil) || err != nil && !errors.As(err, &none) {
			t.Errorf("%.50q: %v", description, err)
		}
	}
	// Nor is what nobody can look into.
	d := made(append(raw, studyDescription)...)
	if _, err := NewCatalog(len(d.paths), func(i int) string { return d.paths[i] }, nil).selectAlone(parse(t, "sub=01"), d.read); err == nil {
		t.Error("a study without descriptions has subjects")
	}
}

// Why something of a study is shown, or not, is told in words that fit.
func TestExplainAStudy(t *testing.T) {
	d := manyRaw()
	for p, want := range map[string]string{
		"sourcedata/a/sub-01/func/sub-01_task-rest_bold.nii": "asks for it",
		"sourcedata/a/participants.tsv":                      "1 of 2 rows",
		"sourcedata/b/README":                                "nothing else of its dataset is shown",
		"sourcedata/b/phenotype/mood.tsv":                    "nothing else of its dataset is shown",
		"sourcedata/b/sub-02/micr/sub-02_sample-A_SEM.png":   "outside of --sub 01",
		"sourcedata/README":                                  "--sourcedata",
		"sourcedata/a/code/x":                                "--code",
	} {
		_, why, err := d.catalog().Explain(parse(t, "sub=01"), d.read, p)
		if err != nil || !strings.Contains(why, want) {
			t.Errorf("%s: %q, %v", p, why, err)
		}
	}
}

// BIDS URIs lead from a study's derivatives to its raw data, and from the raw data to
// each other, by DatasetLinks.
func TestURIsWithinAStudy(t *testing.T) {
	d := made("dataset_description.json\n"+`{"DatasetType": "study", "DatasetLinks": {"raw": "sourcedata/a"}}`,
		"sourcedata/a/dataset_description.json\n{}", "sourcedata/a/sub-01/anat/sub-01_T1w.nii", "sourcedata/a/sub-02/anat/sub-02_T1w.nii",
		"sourcedata/b/dataset_description.json\n"+`{"DatasetLinks": {"a": "../a", "out": "../../.."}}`, "sourcedata/b/sub-01/fmap/sub-01_epi.nii",
		"sourcedata/b/sub-01/fmap/sub-01_epi.json\n"+`{"IntendedFor": ["bids:a:sub-01/anat/sub-01_T1w.nii", "bids:a:sub-02/anat/sub-02_T1w.nii", "bids:out:x", "bids::sub-01/gone.nii"]}`,
		"derivatives/p/dataset_description.json\n"+`{"DatasetType": "derivative", "DatasetLinks": {"raw": "../../sourcedata/a"}}`,
		"derivatives/p/sub-01/anat/sub-01_desc-x_T1w.nii",
		"derivatives/p/sub-01/anat/sub-01_desc-x_T1w.json\n"+`{"IntendedFor": ["bids:raw:sub-01/anat/sub-01_T1w.nii", "bids:raw:sub-02/anat/sub-02_T1w.nii"]}`)
	s := parse(t, "sub=01")
	s.AllDerivatives = true
	v := d.view(t, s)
	for p, want := range map[string]string{
		"sourcedata/b/sub-01/fmap/sub-01_epi.json":         `{"IntendedFor": ["bids:a:sub-01/anat/sub-01_T1w.nii", "bids:out:x", "bids::sub-01/gone.nii"]}`,
		"derivatives/p/sub-01/anat/sub-01_desc-x_T1w.json": `{"IntendedFor": ["bids:raw:sub-01/anat/sub-01_T1w.nii"]}`,
	} {
		if v[p] != want {
			t.Errorf("%s is %s", p, v[p])
		}
	}
}

// A selection reaches into the subdatasets of a study's sourcedata, and of the raw
// datasets there.
func TestReachesIntoAStudy(t *testing.T) {
	d := manyRaw()
	sub01 := parse(t, "sub=01")
	sourcedata := parse(t, "sub=01")
	sourcedata.Sourcedata = true
	derived := parse(t, "sub=01")
	derived.Derivatives = []string{"q"}
	for _, c := range []struct {
		s    Selection
		dir  string
		want bool
	}{
		{Selection{}, "sourcedata/new", true}, {sub01, "sourcedata/new", true},
		{Selection{}, "sourcedata/sub-05", false}, {sub01, "sourcedata/sub-01", false}, {sourcedata, "sourcedata/sub-01", true}, {sourcedata, "sourcedata/sub-02", false},
		{sub01, "sourcedata/a/sub-01", true}, {sub01, "sourcedata/a/sub-02", false},
		{sub01, "sourcedata/dicoms/sub-01", false}, {sub01, "sourcedata/dicoms/x", false}, {sourcedata, "sourcedata/dicoms/x", true},
		{sub01, "sourcedata/a/sourcedata/x", false}, {sub01, "sourcedata/a/code/x", false}, {sub01, "sourcedata", false},
		{sub01, "sourcedata/a/derivatives/q", false}, {derived, "sourcedata/a/derivatives/q", true},
		{sub01, "sourcedata/inner/sourcedata/new", true}, {sub01, "sourcedata/a/sourcedata/new", false}, {sub01, "sourcedata/prep/sub-01", false},
		{derived, "derivatives/q/sourcedata/raw", false}, {sub01, "sourcedata/.new", false}, {sub01, "code/new", false},
	} {
		if got := c.s.Reaches(c.dir, d); got != c.want {
			t.Errorf("%+v reaches %s: %v", c.s, c.dir, got)
		}
	}
}

// Studies within studies, as deep as paths may be, and very many raw datasets end.
func TestDeepStudies(t *testing.T) {
	var files []string
	dir := ""
	for range 300 {
		files = append(files, dir+studyDescription)
		dir += "sourcedata/a/"
	}
	for i := range 20_000 {
		files = append(files, fmt.Sprintf("sourcedata/x%d/dataset_description.json\n{}", i))
	}
	d := made(append(files, dir+"dataset_description.json\n{}", dir+"sub-01/anat/sub-01_T1w.nii", dir+"participants.tsv\nparticipant_id\nsub-01\nsub-02\n", "participants.tsv\nparticipant_id\nsub-01\nsub-02\n")...)
	v := d.view(t, parse(t, "sub=01"))
	if _, ok := v[dir+"sub-01/anat/sub-01_T1w.nii"]; !ok || len(v) != 304 || v["participants.tsv"] != "participant_id\nsub-01\n" {
		t.Errorf("%d files are shown", len(v))
	}
}
