package bids_test

import (
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids"
)

func TestReaches(t *testing.T) {
	sub01 := bids.Selection{Entities: map[string][]string{"sub": {"01"}}}
	anat := bids.Selection{Datatype: []string{"anat"}}
	ses := bids.Selection{Entities: map[string][]string{"sub": {"01"}, "ses": {"b"}}}
	with := func(s bids.Selection, do func(*bids.Selection)) bids.Selection {
		do(&s)
		return s
	}
	derived := func(s *bids.Selection) { s.Derivatives = []string{"fmri*"} }
	source := func(s *bids.Selection) { s.Sourcedata = true }
	for _, c := range []struct {
		s    bids.Selection
		dir  string
		want bool
	}{
		{bids.Selection{}, "ds000001-fmriprep", true},
		{bids.Selection{}, "sub-01", true},
		{bids.Selection{}, "sub-01/anat", true},
		{bids.Selection{}, "stimuli", true},
		{bids.Selection{}, "derivatives/fmriprep", false},
		{bids.Selection{}, "derivatives", false},
		{bids.Selection{}, "sourcedata/raw", false},
		{bids.Selection{}, "code/tools", false},
		{bids.Selection{}, ".hidden/x", false},
		{with(bids.Selection{}, derived), "derivatives/fmriprep", true},
		{with(bids.Selection{}, derived), "derivatives/mriqc", false},
		{with(bids.Selection{}, derived), "derivatives/fmriprep/sourcedata/raw", false},
		{with(with(bids.Selection{}, derived), source), "derivatives/fmriprep/sourcedata/raw", true},
		{with(bids.Selection{}, derived), "derivatives/fmriprep/code", false},
		{with(bids.Selection{}, derived), "derivatives/fmriprep/more", true},
		{with(bids.Selection{}, source), "sourcedata/raw", true},
		{with(bids.Selection{}, source), "sourcedata", true},
		{with(bids.Selection{}, func(s *bids.Selection) { s.Code = true }), "code/tools", true},
		{with(bids.Selection{}, func(s *bids.Selection) { s.Exclude = []string{"ds*"} }), "ds000001-fmriprep", false},
		{with(bids.Selection{}, func(s *bids.Selection) { s.AllDerivatives = true }), "derivatives/mriqc", true},
		{sub01, "sub-01", true},
		{sub01, "sub-02", false},
		{sub01, "sub-01/ses-a", true},
		{sub01, "ds000001-fmriprep", false},
		{sub01, "derivatives/fmriprep", false},
		{with(sub01, derived), "derivatives/fmriprep", true},
		{with(sub01, derived), "derivatives/fmriprep/sub-02", false},
		{with(sub01, derived), "derivatives/fmriprep/sub-01", true},
		{with(sub01, source), "sourcedata/raw", true},
		{with(sub01, source), "sourcedata/sub-02", false},
		{ses, "sub-01/ses-a", false},
		{ses, "sub-01/ses-b", true},
		{anat, "sub-01", true},
		{anat, "sub-01/func", true}, // its files may say otherwise
	} {
		if got := c.s.Reaches(c.dir, nil); got != c.want {
			t.Errorf("%+v reaches %s: %v", c.s, c.dir, got)
		}
	}
}
