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
			s.Datatype = values
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
		{"modality=func", 368, 581},
		{"modality=dwi", 1320, 1333},
		{"modality=fmap", 200, 213},
		{"modality=swi", 26880, 26893},
		{"modality=mri", 2751, 2764},
		{"modality=anat suffix=T1w ext=.nii.gz", 165, 343},
		{"task=rest suffix=bold ext=.nii.gz", 184, 581},
		{"suffix=dwi ext=.nii.gz dir=AP", 165, 673},
		{"ext=.bval,.bvec", 660, 1003},
		{"suffix=GRE", 26880, 26893},
		{"echo=1", 12930, 12943},
		{"modality=anat,func task=rest,@none", 1231, 1444},
		{"sub=10975,12813 modality=anat suffix=T1w ext=.nii.gz", 12, 37},
	} {
		start := time.Now()
		reads := 0
		r, err := c.selectAlone(parse(t, row.query), func(i int) ([]byte, error) { reads++; return d.read(i) })
		if err != nil {
			t.Errorf("%s: %v", row.query, err)
			continue
		}
		t.Logf("%s: %v, %d files read", row.query, time.Since(start), reads)
		if got := len(r.Primary); got != row.primary {
			t.Errorf("%s: %d primary files, want %d", row.query, got, row.primary)
		}
		if got := len(r.Files); got != row.view-1 {
			t.Errorf("%s: %d files in the view, want %d", row.query, got, row.view-1)
		}
	}
	for _, query := range []string{"modality=anat task=rest", "run=1", "sub=01", "sub=3286", "ses=not1ach001"} {
		_, err := c.selectAlone(parse(t, query), d.read)
		var none *NoMatchError
		if !errors.As(err, &none) {
			t.Errorf("%s: %v, want a NoMatchError", query, err)
			continue
		}
		t.Logf("%s: %v; %q", query, err, none.Advice())
	}
}

// TestExampleCounts has the sizes of selections of bids-examples, counting a
// directory recording once, before tables without rows are left out.
func TestExampleCounts(t *testing.T) {
	all := examples(t)
	for _, row := range []struct {
		name, query   string
		primary, view int
	}{
		{"7t_trt", "sub=01 modality=func suffix=bold ext=.nii.gz", 6, 38},
		{"7t_trt", "task=rest run=1", 88, 335},
		{"ds000117", "sub=01 modality=func", 18, 463},
		{"ds000247", "ses=0001 modality=meg", 25, 55},
		{"ds114", "modality=dwi ext=.nii.gz", 20, 25},
		{"ds210", "sub=01 echo=1", 5, 15},
		{"eeg_matchingpennies", "sub=05 modality=eeg ext=.vhdr", 1, 15},
		{"eeg_ds000117", "sub=01 modality=eeg ext=.set", 6, 476},
		{"ieeg_epilepsy", "modality=ieeg ext=.vhdr", 3, 28},
		{"micr_SEMzarr", "ext=.ome.zarr", 1, 10},
		{"micr_SPIM", "sample=A suffix=SPIM", 8, 16},
		{"asl003", "suffix=asl ext=.nii.gz", 1, 8},
		{"pet001", "suffix=pet ext=.nii.gz", 1, 10},
		{"fnirs_tapping", "sub=01 suffix=nirs", 2, 11},
		{"genetics_ukbb", "modality=func", 42, 49},
		{"eyetracking_fmri", "suffix=bold", 4, 26},
	} {
		d := all[row.name]
		if d == nil {
			t.Logf("%s is not there", row.name)
			continue
		}
		c := d.catalog()
		sel, err := c.selectFiles(parse(t, row.query), d.read)
		if err != nil {
			t.Errorf("%s %s: %v", row.name, row.query, err)
			continue
		}
		var shown []string
		for i := range sel.shown {
			if sel.shown[i].rule != notShown {
				shown = append(shown, c.names.PathOf(int32(i)))
			}
		}
		if len(sel.primary) != row.primary || len(shown) != row.view {
			t.Errorf("%s %s: %d primary and %d shown, want %d and %d", row.name, row.query, len(sel.primary), len(shown), row.primary, row.view)
			for _, p := range shown {
				t.Log(p)
			}
		}
	}
}
