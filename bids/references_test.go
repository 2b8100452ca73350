package bids

import (
	"slices"
	"testing"
)

// A BIDS URI of a dataset that lies within this one means a file here; all others mean
// nothing here, and stay as they are.
func TestURIsOfDatasetsWithinThisOne(t *testing.T) {
	files := map[string]string{
		"dataset_description.json": `{"DatasetLinks": {"prep": "derivatives/prep"}}`,
		"derivatives/prep/dataset_description.json": `{"DatasetLinks": {"raw": "../..", "own": "sourcedata/raw",
			"out": "../../..", "web": "https://example.org/x", "disk": "file:///data", "abs": "/data"}}`,
		"derivatives/prep/sub-01/anat/sub-01_T1w.json": `{}`,
		"derivatives/prep/sourcedata/raw/README":       "",
		"sub-01/func/sub-01_task-rest_bold.nii.gz":     "",
		"sub-02/func/sub-02_task-rest_bold.json":       `{}`,
	}
	d := &dataset{content: make(map[string][]byte)}
	for p, data := range files {
		d.paths = append(d.paths, p)
		d.content[p] = []byte(data)
	}
	slices.Sort(d.paths)
	sel, err := d.catalog().choosePrimary(Selection{AllDerivatives: true}, d.read)
	if err != nil {
		t.Fatal(err)
	}
	in := func(p string) int32 {
		i, ok := sel.FileAt(p)
		if !ok {
			t.Fatal(p)
		}
		return i
	}
	prep, raw := in("derivatives/prep/sub-01/anat/sub-01_T1w.json"), in("sub-02/func/sub-02_task-rest_bold.json")
	for _, c := range []struct {
		from int32
		ref  string
		want string
	}{
		{prep, "bids:raw:sub-01/func/sub-01_task-rest_bold.nii.gz", "sub-01/func/sub-01_task-rest_bold.nii.gz"},
		{prep, "bids:own:README", "derivatives/prep/sourcedata/raw/README"},
		{prep, "bids::sub-01/anat/sub-01_T1w.json", "derivatives/prep/sub-01/anat/sub-01_T1w.json"},
		{raw, "bids:prep:sub-01/anat/sub-01_T1w.json", "derivatives/prep/sub-01/anat/sub-01_T1w.json"},
		{raw, "bids:raw:README", ""},
		{prep, "bids:out:x", ""}, {prep, "bids:raw:../x", ""}, {prep, "bids:web:x", ""}, {prep, "bids:disk:x", ""},
		{prep, "bids:abs:x", ""}, {prep, "bids:none:x", ""}, {prep, "bids:raw", ""},
	} {
		g, ok := sel.resolve(c.ref, c.from)
		if got := ""; ok {
			got = sel.PathOf(g)
			if got != c.want {
				t.Errorf("%s means %s", c.ref, got)
			}
		} else if c.want != "" {
			t.Errorf("%s means nothing", c.ref)
		}
		if c.want == "" && sel.isGone(c.ref, c.from) {
			t.Errorf("%s is taken for gone", c.ref)
		}
	}
	if !sel.isGone("bids:raw:sub-01/func/sub-01_task-rest_bold.nii.gz", prep) {
		t.Error("what is not shown is not gone")
	}
}
