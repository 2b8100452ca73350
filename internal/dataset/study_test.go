package dataset_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset"
	"github.com/uniharmony/uniharmonyfs/internal/dataset/datasettest"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// publishedStudy serves a study, described by a file like the one given, with its raw
// data and DICOM files as subdatasets, and a raw dataset of its own; a third subdataset
// is nowhere.
func publishedStudy(t *testing.T, description maker.File) control.Dataset {
	t.Helper()
	image := func(path string, seed uint64) maker.File {
		return maker.File{Path: path, Size: 100, Seed: seed, Annexed: true}
	}
	const raw = `{"Name": "raw", "BIDSVersion": "1.10.0"}`
	s, one := datasettest.Publish(t, maker.Dataset{Name: "one", Files: []maker.File{
		{Path: "dataset_description.json", Data: []byte(raw)}, image("sub-01/anat/sub-01_T1w.nii", 1), image("sub-02/anat/sub-02_T1w.nii", 2),
	}})
	dicoms := datasettest.PublishAt(t, s, maker.Dataset{Name: "dicoms", Files: []maker.File{image("x.dcm", 3)}})
	description.Path = "dataset_description.json"
	return datasettest.Request(s, datasettest.PublishAt(t, s, maker.Dataset{Name: "study", Files: []maker.File{
		description, {Path: "README", Data: []byte("x")},
		{Path: ".gitmodules", Data: []byte("[submodule \"a\"]\n\tpath = sourcedata/one\n\turl = ../one.git\n[submodule \"b\"]\n\tpath = sourcedata/dicoms\n\turl = ../dicoms.git\n")},
		{Path: "sourcedata/one", Commit: one.Commit()}, {Path: "sourcedata/dicoms", Commit: dicoms.Commit()}, {Path: "sourcedata/lost", Commit: strings.Repeat("1", 40)},
		{Path: "sourcedata/own/dataset_description.json", Data: []byte(raw)}, image("sourcedata/own/sub-01/func/sub-01_task-rest_bold.nii", 4),
	}}))
}

const isStudy = `{"Name": "study", "BIDSVersion": "1.10.0", "DatasetType": "study"}`

func shown(v *dataset.Version, s *dataset.Selection) (paths []string) {
	for _, n := range s.Files {
		paths = append(paths, v.Path(n))
	}
	return paths
}

// Selections of a study reach into its raw datasets, where they are subdatasets, too;
// also when git-annex holds what says that it is a study.
func TestStudiesAreReachedInto(t *testing.T) {
	gittest.NeedGit(t)
	all := []string{"README", "dataset_description.json", "sourcedata/one/dataset_description.json", "sourcedata/one/sub-01/anat/sub-01_T1w.nii",
		"sourcedata/own/dataset_description.json", "sourcedata/own/sub-01/func/sub-01_task-rest_bold.nii"}
	for name, description := range map[string]maker.File{"in git": {Data: []byte(isStudy)}, "annexed": {Data: []byte(isStudy), Annexed: true}} {
		t.Run(name, func(t *testing.T) {
			c := datasettest.New(t, 0)
			req := publishedStudy(t, description)
			sub01 := bids.Selection{Entities: map[string][]string{"sub": {"01"}}}
			choose := func(s bids.Selection) ([]string, *dataset.Selection) {
				v, err := c.Datasets.Reach(t.Context(), req, s, func(control.Progress) {})
				if err != nil {
					t.Fatal(err)
				}
				defer v.Release()
				ch := v.Chooser("x", func(control.Progress) {})
				ch.Below = true
				chosen, err := ch.Choose(t.Context(), s)
				if err != nil {
					t.Fatal(err)
				}
				return shown(v, chosen), chosen
			}
			// Of the whole, nothing is opened: its subdatasets are directories.
			found, chosen := choose(bids.Selection{})
			if want := slices.DeleteFunc(slices.Clone(all), func(p string) bool { return strings.Contains(p, "/one/") }); !slices.Equal(found, want) || len(c.Clones()) != 1 {
				t.Errorf("the whole has %q, of %q", found, c.Clones())
			}
			for _, p := range []string{"sourcedata/one", "sourcedata/dicoms"} {
				if _, ok := chosen.View.Find(p); !ok {
					t.Errorf("the whole does not show %s", p)
				}
			}
			found, chosen = choose(sub01)
			if !slices.Equal(found, all) {
				t.Errorf("sub-01 has %q", found)
			}
			if len(chosen.Hints) != 1 || !strings.Contains(chosen.Hints[0], "sourcedata/lost is left out") {
				t.Errorf("told is %q", chosen.Hints)
			}
			if found, _ = choose(bids.Selection{Sourcedata: true}); !slices.Contains(found, "sourcedata/dicoms/x.dcm") || !slices.Contains(found, all[3]) {
				t.Errorf("all of sourcedata is %q", found)
			}
			sub01.Sourcedata = true
			if found, _ = choose(sub01); !slices.Contains(found, "sourcedata/dicoms/x.dcm") {
				t.Errorf("with sourcedata there are %q", found)
			}
		})
	}
}

// Without the word for it, the same is no study: nothing of sourcedata is reached.
func TestNoStudyIsReachedInto(t *testing.T) {
	gittest.NeedGit(t)
	large := []byte(strings.TrimSuffix(isStudy, "}") + `, "Text": "` + strings.Repeat("x", 1<<20) + `"}`)
	for name, data := range map[string][]byte{"raw": []byte(`{"DatasetType": "raw"}`), "a number": []byte(`{"DatasetType": 1}`), "no JSON": []byte("{{{"), "too large": large} {
		c := datasettest.New(t, 0)
		s := bids.Selection{Entities: map[string][]string{"sub": {"01"}}}
		v, err := c.Datasets.Reach(t.Context(), publishedStudy(t, maker.File{Data: data}), s, func(control.Progress) {})
		if err != nil {
			t.Fatal(err)
		}
		defer v.Release()
		_, err = v.Chooser("x", nil).Choose(t.Context(), s)
		if err == nil || !strings.Contains(err.Error(), "no subject") || len(c.Clones()) != 1 {
			t.Errorf("%s: %v, of %q", name, err, c.Clones())
		}
	}
}

// Where the description is not here and cannot be had, it is told that more may be there.
func TestStudyThatCannotBeKnown(t *testing.T) {
	gittest.NeedGit(t)
	c := datasettest.New(t, 0)
	req := publishedStudy(t, maker.File{Data: []byte(isStudy), Annexed: true})
	v, err := c.Datasets.Open(t.Context(), req, func(control.Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	v.Release()
	req.Offline = true
	s := bids.Selection{Entities: map[string][]string{"sub": {"01"}}}
	if v, err = c.Datasets.Reach(t.Context(), req, s, func(control.Progress) {}); err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	const says = "dataset_description.json cannot be read now"
	if _, err = v.Chooser("x", nil).Choose(t.Context(), s); err == nil || !strings.Contains(control.ToAdvice(err).Error(), says) {
		t.Errorf("it says %v", err)
	}
	chosen, err := v.Chooser("x", nil).Choose(t.Context(), bids.Selection{})
	if err != nil || !slices.ContainsFunc(chosen.Hints, func(h string) bool { return strings.Contains(h, says) }) {
		t.Errorf("of the whole it says %q, %v", chosen.Hints, err)
	}
}
