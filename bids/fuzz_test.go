package bids

import (
	"errors"
	"reflect"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/bids/internal/tsv"
	"github.com/uniharmony/uniharmonyfs/bids/sidecar"
)

// FuzzFilterFile: any file is queries that can be asked, or a usage error.
func FuzzFilterFile(f *testing.F) {
	f.Add([]byte(`{"bold": {"task": ["rest", null], "run": 1}, "mine": {"datatype": "anat", "extension": "nii.gz"}}`))
	f.Add([]byte(`{"t1w": {"session": "Query.OPTIONAL", "part": []}, "x": {}}`))
	f.Add([]byte(`{"bold": {"run": 1e3}}`))
	c := whereStudy().catalog()
	f.Fuzz(func(t *testing.T, data []byte) {
		queries, err := filter.ParseFile(data)
		if err == nil {
			_, err = c.selectAlone(Selection{AnyOf: queries}, nil)
		}
		wantKnownError(t, err)
	})
}

// FuzzWhere: any condition selects, or is an error that says why.
func FuzzWhere(f *testing.F) {
	f.Add(`age > 30 and sex == "F"`)
	f.Add(`$env["age at scan"] in [1, 2] or not patient`)
	f.Add(`RepetitionTime * 2 >= quality ?? 1`)
	f.Add(`"B" in ImageType && code matches "["`)
	d := whereStudy()
	c := d.catalog()
	f.Fuzz(func(t *testing.T, condition string) {
		if len(condition) > 200 {
			return
		}
		_, err := c.selectAlone(Selection{Where: condition}, d.read)
		wantKnownError(t, err)
	})
}

// FuzzGlob: any pattern compiles or is a usage error, and matches without
// failing.
func FuzzGlob(f *testing.F) {
	for _, g := range []string{"sub-*/**/anat", "[!a]*.nii", "**", "/x/", `[\]`, "[a", "[]", "{"} {
		f.Add(g)
	}
	c := whereStudy().catalog()
	f.Fuzz(func(t *testing.T, glob string) {
		for _, s := range []Selection{{Include: []string{glob}}, {Exclude: []string{glob}}, {RootFiles: []string{glob}}, {Suffix: []string{glob}}, {Entities: map[string][]string{"sub": {glob}}}} {
			_, err := c.selectAlone(s, nil)
			wantKnownError(t, err)
		}
	})
}

func wantKnownError(t *testing.T, err error) {
	t.Helper()
	var usage *filter.UsageError
	var none *NoMatchError
	if err != nil && !errors.As(err, &usage) && !errors.As(err, &none) {
		t.Fatalf("%T: %v", err, err)
	}
	if err != nil && err.Error() == "" {
		t.Fatal("an error without words")
	}
}

// FuzzLinks: any sidecar and table has links that are kept and recalled alike,
// and selecting by it ends.
func FuzzLinks(f *testing.F) {
	f.Add([]byte(`{"IntendedFor": ["bids::sub-01/func/sub-01_task-a_bold.nii", 1, null], "B0FieldSource": "x"}`), []byte("onset\tstim_file\n1\ta.png\n"))
	f.Add([]byte("\xef\xbb\xbf{\"IntendedFor\": \"\", \"IntendedFor\": [[]]}"), []byte("stim_file\n..\n/\n"))
	f.Add([]byte(`{"AssociatedEmptyRoom": "../../../x", "B0FieldIdentifier": {}}`), []byte{0})
	f.Fuzz(func(t *testing.T, file, table []byte) {
		l := sidecar.Of(file)
		l.Stimuli = sidecar.OfTable(table).Stimuli
		again, err := sidecar.Decode(l.Encode())
		if err != nil || !reflect.DeepEqual(again, l) {
			t.Fatalf("%+v comes back as %+v, %v", l, again, err)
		}
		d := made("sub-01/fmap/sub-01_epi.nii", "sub-01/fmap/sub-01_epi.json\n"+string(file), "sub-01/func/sub-01_task-a_bold.nii", "sub-01/func/sub-01_task-a_bold.json\n"+string(file),
			"sub-01/func/sub-01_task-a_events.tsv\n"+string(table), "sub-01/anat/sub-01_T1w.nii", "stimuli/a.png")
		_, err = d.catalog().selectAlone(Selection{Datatype: []string{"func"}}, d.read)
		wantKnownError(t, err)
	})
}

// FuzzColumns: any table has as many cells in each column as there are rows,
// and facets and conditions on it end.
func FuzzColumns(f *testing.F) {
	f.Add([]byte("participant_id\tage\nsub-01\t30\n\nsub-02\t\"4\t0\r\n"))
	f.Add([]byte("\tparticipant_id\tparticipant_id\n\t\t\n1"))
	f.Add([]byte("\xef\xbb\xbfparticipant_id\na"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := tsv.ParseColumns(data, "participant_id", everyColumn)
		if err != nil {
			return
		}
		n := -1
		for name, cells := range c.Cells {
			if n >= 0 && len(cells) != n {
				t.Fatalf("column %q has %d cells, another %d", name, len(cells), n)
			}
			n = len(cells)
		}
		d := made("participants.tsv\n"+string(data), "sub-01/anat/sub-01_T1w.nii", "sub-02/anat/sub-02_T1w.nii")
		if _, err := d.catalog().Facets(Selection{}, d.read, nil); err != nil {
			t.Fatal(err)
		}
		_, err = d.catalog().selectAlone(Selection{Where: `age != "x"`}, d.read)
		wantKnownError(t, err)
	})
}

// FuzzIsPart: a file is a part of itself, and any two can be compared.
func FuzzIsPart(f *testing.F) {
	f.Add([]byte("a\tb\n1\t2\n"), []byte("a\tb\n1\t2\n3\t4\n"))
	f.Add([]byte(`{"IntendedFor": ["a"], "x": 1}`), []byte(`{"IntendedFor": ["a", "b"], "x": 1}`))
	f.Fuzz(func(t *testing.T, part, whole []byte) {
		IsPart("a.json", part, whole)
		IsPart("a.tsv", part, whole)
		if !IsPart("a.tsv", whole, whole) {
			t.Error("a table is no part of itself")
		}
	})
}
