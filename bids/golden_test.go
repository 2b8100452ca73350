package bids

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// parse reads a selection in the form of flags: "sub=01 modality=anat,func".
func parse(t testing.TB, text string) (s Selection) {
	s.Entities = make(map[string][]string)
	for _, f := range strings.Fields(text) {
		name, value, _ := strings.Cut(f, "=")
		values := strings.Split(value, ",")
		switch name {
		case "modality":
			s.Modality = values
		case "suffix":
			s.Suffix = values
		case "ext":
			s.Ext = values
		default:
			s.Entities[name] = values
		}
	}
	return s
}

// Counts that were made with pybids (primary) and by hand (views). A mount
// hides .gitattributes, so views are one lower than the dataset's paths say.
func TestOnHarmonyCounts(t *testing.T) {
	d := onHarmony(t)
	start := time.Now()
	c := d.catalog()
	t.Logf("catalog of %d paths: %v", len(d.paths), time.Since(start))
	for _, row := range []struct {
		query         string
		primary, view int
	}{
		{"", 29631, 29644},
		{"sub=03286", 1116, 1129},
		{"sub=sub-03286", 1116, 1129},
		{"ses=NOT1ACH001", 540, 553},
		{"sub=03286 ses=NOT1ACH001", 27, 40},
		{"sub=03286 ses=NOT1ACH001 modality=anat", 5, 18},
		{"modality=anat", 863, 876},
		{"modality=func", 368, 0},
		{"modality=dwi", 1320, 1333},
		{"modality=fmap", 200, 213},
		{"modality=swi", 26880, 26893},
		{"modality=mri", 2751, 2764},
		{"modality=anat suffix=T1w ext=.nii.gz", 165, 343},
		{"task=rest suffix=bold ext=.nii.gz", 184, 0},
		{"suffix=dwi ext=.nii.gz dir=AP", 165, 0},
		{"ext=.bval,.bvec", 660, 1003},
		{"suffix=GRE", 26880, 26893},
		{"echo=1", 12930, 12943},
		{"modality=anat,func task=rest,@none", 1231, 0},
		{"sub=10975,12813 modality=anat suffix=T1w ext=.nii.gz", 12, 37},
	} {
		start := time.Now()
		r, err := c.Select(parse(t, row.query), d.read)
		if err != nil {
			t.Errorf("%s: %v", row.query, err)
			continue
		}
		t.Logf("%s: %v", row.query, time.Since(start))
		if got := len(r.Primary); got != row.primary {
			t.Errorf("%s: %d primary files, want %d", row.query, got, row.primary)
		}
		if got := len(r.Files); row.view > 0 && got != row.view-1 {
			t.Errorf("%s: %d files in the view, want %d", row.query, got, row.view-1)
		}
	}
	for _, query := range []string{"modality=anat task=rest", "run=1", "sub=01", "sub=3286", "ses=not1ach001"} {
		_, err := c.Select(parse(t, query), d.read)
		var none *NoMatchError
		if !errors.As(err, &none) {
			t.Errorf("%s: %v, want a NoMatchError", query, err)
			continue
		}
		t.Logf("%s: %v; %q", query, err, none.Advice())
	}
}
