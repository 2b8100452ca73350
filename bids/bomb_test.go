package bids

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A bomb is a dataset that is small, and made to be hard to select from.
type bomb struct {
	files  []string // path, newline, content
	s      Selection
	facets bool
	want   string // in the error; "": none
	looks  int    // how often a path may be looked at; 0: any
}

func repeat(n int, format func(i int) string) (list []string) {
	for i := range n {
		list = append(list, format(i))
	}
	return list
}

func joined(n int, sep string, format func(i int) string) string {
	return strings.Join(repeat(n, format), sep)
}

func bombs() map[string]bomb {
	entities := func(pairs ...string) map[string][]string {
		m := make(map[string][]string)
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = []string{pairs[i+1]}
		}
		return m
	}
	image := "sub-01/anat/sub-01_T1w.nii\n"
	header := func(n int) string {
		return "participant_id\t" + joined(n, "\t", func(i int) string { return fmt.Sprint("c", i) }) + "\n"
	}
	rows := joined(20, "\n", func(i int) string { return fmt.Sprintf("sub-%02d%s", i, strings.Repeat("\t1", 90_000)) })
	refs := func(n int) string {
		return joined(n, ",", func(i int) string { return fmt.Sprintf(`"func/sub-01_run-%d_bold.nii"`, i) })
	}
	return map[string]bomb{
		"many columns":            {files: []string{image, "participants.tsv\n" + header(90_000) + rows}, s: Selection{Where: "c89999 == 1"}},
		"many columns, facets":    {files: []string{image, "participants.tsv\n" + header(90_000) + rows}, facets: true},
		"too many columns":        {files: []string{image, "participants.tsv\n" + header(400_000)}, s: Selection{Where: "c1 == 1"}, want: "participants.tsv has 400001 columns"},
		"too many columns, facet": {files: []string{image, "participants.tsv\n" + header(400_000)}, facets: true, want: "participants.tsv has 400001 columns"},
		"many IntendedFor": {files: append(repeat(2000, func(i int) string { return fmt.Sprintf("sub-01/func/sub-01_run-%d_bold.nii\n", i) }),
			"sub-01/fmap/sub-01_epi.nii\n", "sub-01/fmap/sub-01_epi.json\n"+`{"IntendedFor": [`+refs(200_000)+`]}`),
			s: Selection{Entities: entities("run", "1")}, looks: 60 * 200_000},
		"many equal keys": {files: []string{"sub-01/func/sub-01_run-1_bold.nii\n", "sub-01/func/sub-01_run-2_bold.nii\n", "sub-01/fmap/sub-01_epi.nii\n",
			"sub-01/fmap/sub-01_epi.json\n{" + strings.Repeat(`"IntendedFor": ["func/sub-01_run-2_bold.nii", "func/sub-01_run-1_bold.nii"],`, 60_000) + `"x": 1}`},
			s: Selection{Entities: entities("run", "1")}},
		"sidecars of all entities": {files: append(repeat(30_000, func(i int) string { return fmt.Sprintf("sub-01/func/sub-01_k%d-1_bold.json\n{}", i) }),
			repeat(30_000, func(i int) string { return fmt.Sprintf("sub-01/func/sub-01_run-%d_bold.nii\n", i) })...),
			s: Selection{Suffix: []string{"bold"}}, want: ErrTooMuch.Error()},
		"fieldmaps of all for all": {files: append(repeat(20_000, func(i int) string { return fmt.Sprintf("sub-01/func/sub-01_run-%d_bold.nii\n", i) }),
			append(repeat(20_000, func(i int) string { return fmt.Sprintf("sub-01/fmap/sub-01_acq-%d_epi.nii\n", i) }),
				"epi.json\n"+`{"B0FieldIdentifier": ["a"]}`, "bold.json\n"+`{"B0FieldSource": ["a"]}`)...),
			s: Selection{Datatype: []string{"func"}}, want: ErrTooMuch.Error()},
		"tables that list directories": {files: append(repeat(100_000, func(i int) string { return fmt.Sprintf("sub-01/func/sub-01_run-%d_bold.nii\n", i) }),
			"sub-01/anat/sub-01_T1w.nii\n", "sub-01/sub-01_scans.tsv\nfilename\n"+strings.Repeat("func\nfunc/\n", 200_000)),
			s: Selection{Datatype: []string{"anat"}}},
		"descriptions of dropped tables": {files: append(repeat(30_000, func(i int) string { return fmt.Sprintf("phenotype/m%d_x.tsv\nparticipant_id\nsub-%02d\n", i, 1+i%2) }),
			append(repeat(30_000, func(i int) string { return fmt.Sprintf("phenotype/m%d_x.json\n{}", i) }), image, "sub-02/anat/sub-02_T1w.nii\n")...),
			s: Selection{Entities: entities("sub", "01")}},
		"facets of entities": {files: repeat(20_000, func(i int) string { return fmt.Sprintf("sub-01/anat/sub-01_k%d-v%d_T1w.nii\n", i, i) }), facets: true},
		"root files": {files: append(repeat(30_000, func(i int) string { return fmt.Sprintf("x%d.json\n{}", i) }),
			repeat(30_000, func(i int) string { return fmt.Sprintf("sub-01/anat/sub-01_run-%d_T1w.nii\n", i) })...),
			s: Selection{Entities: entities("sub", "01")}},
		"datatypes": {files: append(repeat(20_000, func(i int) string { return fmt.Sprintf("sub-01/t%d/sub-01_T1w.nii\n", i) }), "sub-01/anat/sub-01_task-a_T1w.nii\n"),
			s: Selection{Entities: entities("task", "a"), Datatype: []string{"*"}}},
		"values": {files: repeat(200_000, func(i int) string { return fmt.Sprintf("sub-01/anat/sub-01_acq-%d_T1w.nii\n", i) }),
			s: Selection{Entities: entities("acq", "nosuch")}, want: "acq"},
	}
}

// A dataset that is made to be slow is selected from in time, or refused.
func TestBombsEnd(t *testing.T) {
	for name, b := range bombs() {
		t.Run(name, func(t *testing.T) {
			d := made(b.files...)
			// A bound for what does not end; it takes a second or less.
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			looks := 0
			c := NewCatalog(len(d.paths), func(i int) string { looks++; return d.paths[i] }, d).Until(ctx)
			if b.want == ErrTooMuch.Error() {
				c.steps /= 10 // to be sooner there
			}
			var err error
			if b.facets {
				_, err = c.Facets(b.s, d.read, nil)
			} else {
				_, err = c.selectAlone(b.s, d.read)
			}
			if ctx.Err() != nil {
				t.Fatalf("no end in sight: %v", err)
			}
			if b.looks > 0 && looks > b.looks {
				t.Errorf("%d paths were looked at, more than %d", looks, b.looks)
			}
			if (err == nil) != (b.want == "") || err != nil && !strings.Contains(err.Error(), b.want) {
				t.Errorf("%v, want %q", err, b.want)
			}
		})
	}
}

// A question ends with the one who asks.
func TestQuestionsEndWithTheirContext(t *testing.T) {
	d := study()
	for name, ask := range map[string]func(c *Catalog, read Read) error{
		"select": func(c *Catalog, read Read) error {
			_, err := c.selectAlone(Selection{Entities: map[string][]string{"sub": {"01"}}}, read)
			return err
		},
		"where": func(c *Catalog, read Read) error {
			_, err := c.selectAlone(Selection{Where: `age != "x"`}, read)
			return err
		},
		"facets":  func(c *Catalog, read Read) error { _, err := c.Facets(Selection{}, read, nil); return err },
		"explain": func(c *Catalog, read Read) error { _, _, err := c.Explain(Selection{}, read, d.paths[0]); return err },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if err := ask(d.catalog().Until(ctx), d.read); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		if err := ask(d.catalog().Until(ctx), d.read); !errors.Is(err, context.Canceled) {
			t.Errorf("%s after its end: %v", name, err)
		}
	}
}
