package bids

import (
	"errors"
	"testing"
)

// FuzzFilterFile: any file is queries that can be asked, or a usage error.
func FuzzFilterFile(f *testing.F) {
	f.Add([]byte(`{"bold": {"task": ["rest", null], "run": 1}, "mine": {"datatype": "anat", "extension": "nii.gz"}}`))
	f.Add([]byte(`{"t1w": {"session": "Query.OPTIONAL", "part": []}, "x": {}}`))
	f.Add([]byte(`{"bold": {"run": 1e3}}`))
	c := whereStudy().catalog()
	f.Fuzz(func(t *testing.T, data []byte) {
		queries, err := ParseFilterFile(data)
		if err == nil {
			_, err = c.Select(Selection{AnyOf: queries}, nil)
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
		_, err := c.Select(Selection{Where: condition}, d.read)
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
			_, err := c.Select(s, nil)
			wantKnownError(t, err)
		}
	})
}

func wantKnownError(t *testing.T, err error) {
	t.Helper()
	var usage *UsageError
	var none *NoMatchError
	if err != nil && !errors.As(err, &usage) && !errors.As(err, &none) {
		t.Fatalf("%T: %v", err, err)
	}
	if err != nil && err.Error() == "" {
		t.Fatal("an error without words")
	}
}
