package bids

import (
	"reflect"
	"strings"
	"testing"
)

func TestFacets(t *testing.T) {
	d := whereStudy()
	size := func(i int) int64 { return int64(len(d.paths[i])) }
	const base = int64(len("sub-1/ses-a/anat/sub-1_ses-a_T1w.nii"))
	at := func(list []Facet, table, name string) []FacetValue {
		for _, f := range list {
			if f.Table == table && f.Name == name {
				return f.Values
			}
		}
		return nil
	}
	all, err := d.catalog().Facets(parse(t, "ext=.nii"), d.read, size)
	if err != nil {
		t.Fatal(err)
	}
	const two = int64(len("sub-2/anat/sub-2_T1w.nii"))
	for _, row := range []struct {
		table, name string
		want        []FacetValue
	}{
		{"", "sub", []FacetValue{{"1", 2, 2 * base}, {"2", 1, two}, {"3", 1, two}}},
		{"", "ses", []FacetValue{{"a", 1, base}, {"b", 1, base}}},
		{"", "suffix", []FacetValue{{"T1w", 4, 2*base + 2*two}}},
		{"participants", "age", []FacetValue{{"30", 2, 2 * base}, {"41.5", 1, two}}}, // n/a is none
		{"participants", "patient", []FacetValue{{"false", 1, two}, {"true", 3, 2*base + two}}},
		{"participants", "code", []FacetValue{{"01", 2, 2 * base}, {"x", 1, two}}},
		{"sessions", "age", []FacetValue{{"31", 1, base}}},
		{"scans", "quality", []FacetValue{{"3", 1, base}}},
		{"participants", "participant_id", nil}, // --sub says it
		{"scans", "filename", nil},
	} {
		if got := at(all, row.table, row.name); !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s %s: %v, want %v", row.table, row.name, got, row.want)
		}
	}
	some, err := d.catalog().Facets(Selection{Where: "age > 40"}, d.read, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := at(some, "", "sub"), []FacetValue{{"2", 2, 0}}; !reflect.DeepEqual(got, want) {
		t.Errorf("of a selection: %v, want %v", got, want)
	}
	if _, err := d.catalog().Facets(parse(t, "sub=9"), d.read, nil); err == nil {
		t.Error("no error for a subject that is not there")
	}
}

// An explanation names the row that decided, and what was left out of a file.
func TestExplainNamesTheRow(t *testing.T) {
	d := whereStudy()
	for path, want := range map[string]string{
		"sub-3/anat/sub-3_T1w.nii":             "age is n/a in row sub-3 of participants.tsv, quality is said nowhere",
		"sub-1/ses-b/anat/sub-1_ses-b_T1w.nii": "age is 30 in row sub-1 of participants.tsv",
		"sub-1/ses-a/anat/sub-1_ses-a_T1w.nii": "age is 31 in row ses-a of sub-1/sub-1_sessions.tsv, quality is 3 in row anat/sub-1_ses-a_T1w.nii of sub-1/ses-a/sub-1_ses-a_scans.tsv",
		"participants.tsv":                     "it has the 1 of 3 rows",
	} {
		_, why, err := d.catalog().Explain(Selection{Where: "age > 30 and quality == 3"}, d.read, path)
		if err != nil || !strings.Contains(why, want) {
			t.Errorf("%s: %q, %v; want %q", path, why, err, want)
		}
	}
	_, why, err := d.catalog().Explain(Selection{Where: "RepetitionTime > 3"}, d.read, "sub-2/anat/sub-2_T1w.nii")
	if want := "RepetitionTime is 3.5 in sub-2/anat/sub-2_T1w.json"; err != nil || !strings.Contains(why, want) {
		t.Errorf("a sidecar's field: %q, %v; want %q", why, err, want)
	}
	_, why, err = study().catalog().Explain(parse(t, "suffix=epi"), study().read, "sub-01/ses-1/fmap/sub-01_ses-1_epi.json")
	if want := "its IntendedFor names only what is shown"; err != nil || !strings.Contains(why, want) {
		t.Errorf("a pruned sidecar: %q, %v; want %q", why, err, want)
	}
}
