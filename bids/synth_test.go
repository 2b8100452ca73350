package bids

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// view selects and returns what a reader of the view sees: content by path.
func (d *dataset) view(t testing.TB, s Selection) map[string]string {
	t.Helper()
	r, err := d.catalog().selectAlone(s, d.read)
	if err != nil {
		t.Fatal(err)
	}
	v := make(map[string]string)
	for _, i := range r.Files {
		v[d.paths[i]] = string(d.content[d.paths[i]])
		if data, ok := r.Replaced[i]; ok {
			v[d.paths[i]] = string(data)
		}
	}
	for i := range r.Replaced {
		if !slices.Contains(r.Files, i) {
			t.Errorf("%s is replaced, but not shown", d.paths[i])
		}
	}
	return v
}

func study() *dataset {
	return made(
		"dataset_description.json\n{}",
		"participants.tsv\n"+schema.BOM+"participant_id\tage\r\nsub-01\t30\r\n\r\nsub-02\t\"4\t0\r\nsub-03\t5",
		"participants.json\n{}",
		"phenotype/mood_scale.tsv\nage\tparticipant_id\n1\tsub-02\n",
		"phenotype/mood_scale.json\n{}",
		"phenotype/other_scale.tsv\nparticipant_id\nsub-01\n",
		"phenotype/other_scale.json\n{}",
		"samples.tsv\nsample_id\tparticipant_id\nsample-A\tsub-01\nsample-A\tsub-02\n",
		"samples.json\n{}",
		"scans.json\n{}",
		"sessions.json\n{}",
		"sub-01/sub-01_sessions.tsv\nsession_id\nses-1\nses-2\n",
		"sub-01/sub-01_sessions.json\n{}",
		"sub-01/ses-1/sub-01_ses-1_scans.tsv\nfilename\tx\nfunc/sub-01_ses-1_task-a_bold.nii\t1\nanat/sub-01_ses-1_T1w.nii\t2\n",
		"sub-01/ses-1/anat/sub-01_ses-1_T1w.nii",
		"sub-01/ses-1/func/sub-01_ses-1_task-a_bold.nii",
		"sub-01/ses-1/fmap/sub-01_ses-1_epi.nii",
		"sub-01/ses-1/fmap/sub-01_ses-1_epi.json\n{\n  \"a\": [1, {\"IntendedFor\": \"x\"}],\n  \"IntendedFor\" : [\"ses-1/func/sub-01_ses-1_task-a_bold.nii\", \"bids::sub-01/ses-1/anat/sub-01_ses-1_T1w.nii\",\n \"bids:other:sub-01/x.nii\"],\n  \"b\": \"\\\"}\"\n}\n",
		"sub-01/ses-2/sub-01_ses-2_scans.tsv\nfilename\nmeg/sub-01_ses-2_task-a_meg.ds\n",
		"sub-01/ses-2/meg/sub-01_ses-2_task-a_meg.ds/x.meg4",
		"sub-02/anat/sub-02_T1w.nii",
		"sub-02/micr/sub-02_sample-A_SEM.png",
	)
}

func TestTablesListWhatIsShown(t *testing.T) {
	tests := map[string]struct {
		query string
		want  map[string]string // "-": left out
	}{
		"rows keep their bytes": {"sub=02", map[string]string{
			"participants.tsv":           schema.BOM + "participant_id\tage\r\n\r\nsub-02\t\"4\t0",
			"participants.json":          "{}",
			"phenotype/mood_scale.tsv":   "age\tparticipant_id\n1\tsub-02\n",
			"phenotype/other_scale.tsv":  "-",
			"phenotype/other_scale.json": "-",
			"phenotype/mood_scale.json":  "{}",
			"samples.tsv":                "sample_id\tparticipant_id\nsample-A\tsub-02\n",
			"scans.json":                 "-",
			"sessions.json":              "-",
		}},
		"last row": {"sub=01 suffix=T1w", map[string]string{
			"participants.tsv":                    schema.BOM + "participant_id\tage\r\nsub-01\t30\r\n",
			"samples.tsv":                         "-",
			"samples.json":                        "-",
			"sub-01/sub-01_sessions.tsv":          "session_id\nses-1\n",
			"sub-01/sub-01_sessions.json":         "{}",
			"sub-01/ses-1/sub-01_ses-1_scans.tsv": "filename\tx\nanat/sub-01_ses-1_T1w.nii\t2\n",
			"scans.json":                          "{}",
		}},
		"a recording is there": {"ses=2", map[string]string{
			"sub-01/ses-2/sub-01_ses-2_scans.tsv": "filename\nmeg/sub-01_ses-2_task-a_meg.ds\n",
			"sub-01/sub-01_sessions.tsv":          "session_id\nses-2\n",
		}},
		"links to what is not shown go": {"suffix=epi", map[string]string{
			"sub-01/ses-1/fmap/sub-01_ses-1_epi.json": "{\n  \"a\": [1, {\"IntendedFor\": \"x\"}],\n  \"IntendedFor\" : [\"bids:other:sub-01/x.nii\"],\n  \"b\": \"\\\"}\"\n}\n",
			"sub-01/ses-1/sub-01_ses-1_scans.tsv":     "-",
			"scans.json":                              "-",
		}},
		"links to what is shown stay": {"suffix=T1w sub=01", map[string]string{
			"sub-01/ses-1/fmap/sub-01_ses-1_epi.json": "{\n  \"a\": [1, {\"IntendedFor\": \"x\"}],\n  \"IntendedFor\" : [\"bids::sub-01/ses-1/anat/sub-01_ses-1_T1w.nii\",\n \"bids:other:sub-01/x.nii\"],\n  \"b\": \"\\\"}\"\n}\n",
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			v := study().view(t, parse(t, test.query))
			for path, want := range test.want {
				got, shown := v[path]
				if !shown {
					got = "-"
				}
				if got != want {
					t.Errorf("%s:\n got %q\nwant %q", path, got, want)
				}
			}
		})
	}
}

func TestKeepIntendedFor(t *testing.T) {
	d := study()
	s := parse(t, "suffix=epi")
	s.IntendedForKeep = true
	const p = "sub-01/ses-1/fmap/sub-01_ses-1_epi.json"
	if got := d.view(t, s)[p]; got != string(d.content[p]) {
		t.Errorf("changed: %s", got)
	}
}

func TestUnreadableTableStays(t *testing.T) {
	d := study()
	r, err := d.catalog().selectAlone(parse(t, "sub=02"), func(i int) ([]byte, error) {
		if d.paths[i] == "participants.tsv" {
			return nil, errors.New("not here")
		}
		return d.read(i)
	})
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.Index(d.paths, "participants.tsv"); !slices.Contains(r.Files, i) || r.Replaced[i] != nil {
		t.Error("participants.tsv is not shown as it is")
	}
	if len(r.Hints) != 1 || !strings.Contains(r.Hints[0], "participants.tsv") {
		t.Errorf("hints %q", r.Hints)
	}
}

// A fieldmap whose sidecar is not here may be for any image of its session.
func TestUnreadableSidecar(t *testing.T) {
	d := study()
	r, err := d.catalog().selectAlone(parse(t, "suffix=bold"), func(i int) ([]byte, error) {
		if strings.HasSuffix(d.paths[i], "_epi.json") {
			return nil, errors.New("not here")
		}
		return d.read(i)
	})
	if err != nil {
		t.Fatal(err)
	}
	if shown := d.pathsOf(r.Files); !slices.Contains(shown, "sub-01/ses-1/fmap/sub-01_ses-1_epi.nii") {
		t.Errorf("the fieldmap is not shown: %q", shown)
	}
}

// FuzzName: entities, suffix and extension are parts of the name.
func FuzzName(f *testing.F) {
	f.Add("sub-01_task-rest_run-1_bold.nii.gz")
	f.Add("-rf")
	f.Add("_.._-")
	f.Fuzz(func(t *testing.T, name string) {
		suffix, ext := schema.ParseName(name, func(key, value string) {
			if key == "" || value == "" || !strings.Contains(name, key+"-"+value) {
				t.Fatalf("%q has %q-%q", name, key, value)
			}
		})
		if !strings.HasSuffix(name, suffix+ext) || strings.ContainsAny(suffix, "-_.") || ext != "" && ext[0] != '.' {
			t.Fatalf("%q: suffix %q, extension %q", name, suffix, ext)
		}
		if strings.ContainsRune(name, '/') || name == "" {
			return
		}
		c := NewCatalog(1, func(int) string { return "sub-1/anat/" + name }, nil)
		if r, err := c.selectAlone(Selection{}, nil); err == nil && len(r.Primary) > 1 {
			t.Fatalf("%q is %d files", name, len(r.Primary))
		}
	})
}
