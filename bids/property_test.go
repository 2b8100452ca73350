package bids

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/uniharmony/uniharmonyfs/bids/filter"
)

// drawDataset draws a small dataset with twins (run-1, run-01), links, tables
// and recordings.
func drawDataset(t *rapid.T) *dataset {
	files := map[string]string{"dataset_description.json": "{}", "participants.tsv": "participant_id\nsub-1\nsub-01\nsub-2\n"}
	subs := rapid.SampledFrom([]string{"1", "01", "2"})
	sess := rapid.SampledFrom([]string{"", "", "a", "B"})
	leaf := rapid.SampledFrom([]string{
		"func/%s_task-rest_bold.nii", "func/%s_task-rest_run-1_bold.nii.gz", "func/%s_task-rest_run-01_bold.nii.gz", "func/%s_task-rest_run-1_bold.json", "func/%s_task-Rest_echo-1_bold.nii",
		"func/%s_task-rest_events.tsv", "func/%s_task-rest_sbref.nii", "func/%s_task-rest_recording-x_physio.tsv.gz", "anat/%s_T1w.nii.gz", "anat/%s_T1w.json", "anat/%s_acq-a+b_T1w.nii",
		"fmap/%s_phasediff.nii", "fmap/%s_magnitude1.nii", "fmap/%s_phasediff.json", "fmap/%s_dir-AP_epi.nii", "fmap/%s_dir-PA_epi.nii", "fmap/%s_dir-AP_epi.json", "dwi/%s_dwi.nii.gz", "dwi/%s_dwi.bval",
		"meg/%s_task-rest_meg.ds/a.meg4", "meg/%s_task-rest_meg.ds/.b", "meg/%s_task-rest_meg.json", "swi/%s_coil-1_GRE.nii", "%s_scans.tsv", "%s_task-rest_bold.json", "eeg/.hidden", "odd/-rf"})
	for range rapid.IntRange(1, 25).Draw(t, "files") {
		sub, ses, l := subs.Draw(t, "sub"), sess.Draw(t, "ses"), leaf.Draw(t, "leaf")
		dir, stem := "sub-"+sub+"/", "sub-"+sub
		if ses != "" {
			dir, stem = dir+"ses-"+ses+"/", stem+"_ses-"+ses
		}
		p, content := dir+l, ""
		if strings.Contains(l, "%s") {
			p = dir + fmt.Sprintf(l, stem)
		}
		inSub := strings.TrimPrefix(dir, "sub-"+sub+"/")
		switch {
		case strings.HasSuffix(p, "scans.tsv"):
			content = "filename\n" + fmt.Sprintf("anat/%s_T1w.nii.gz\nfunc/%s_task-rest_bold.nii\nmeg/%s_task-rest_meg.ds\n", stem, stem, stem)
		case strings.Contains(l, "fmap/") && strings.HasSuffix(p, ".json"):
			content = fmt.Sprintf(`{"IntendedFor": ["%sfunc/%s_task-rest_bold.nii", "bids::%sanat/%s_T1w.nii.gz", "gone"], "B0FieldIdentifier": "b"}`, inSub, stem, dir, stem)
		case strings.HasSuffix(p, "bold.json"):
			content = `{"B0FieldSource": "b"}`
		}
		files[p] = content
	}
	for _, p := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"README", ".bidsignore", "T1w.json", "task-rest_bold.json", "dwi.bvec", "participants.json", "code/x", "phenotype/a.tsv"}), rapid.ID[string]).Draw(t, "root") {
		files[p] = ""
	}
	d := &dataset{content: make(map[string][]byte)}
	for p, content := range files {
		d.paths = append(d.paths, p)
		d.content[p] = []byte(content)
	}
	slices.Sort(d.paths)
	return d
}

func drawSelection(t *rapid.T, d *dataset) map[string][]string {
	q := make(map[string][]string)
	for _, f := range d.facets() {
		if rapid.IntRange(0, 3).Draw(t, f.Name) > 0 {
			continue
		}
		values := []string{filter.None, filter.Any}
		for _, v := range f.Values {
			values = append(values, v.Value)
		}
		q[f.Name] = rapid.SliceOfNDistinct(rapid.SampledFrom(values), 1, 2, rapid.ID[string]).Draw(t, f.Name+" values")
	}
	return q
}

// seen is a view as a dataset of its own.
func (d *dataset) seen(r *Result) *dataset {
	v := &dataset{content: make(map[string][]byte)}
	for _, i := range r.Files {
		p := d.paths[i]
		v.paths = append(v.paths, p)
		v.content[p] = d.content[p]
		if data, ok := r.Replaced[i]; ok {
			v.content[p] = data
		}
	}
	return v
}

func TestSelectProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDataset(t)
		q := drawSelection(t, d)
		r, err := d.catalog().selectAlone(selectionOf(q), d.read)
		var none *NoMatchError
		if errors.As(err, &none) {
			if none.Error() == "" || len(q) == 0 && len(r.Files) > 0 {
				t.Fatalf("%v: %v", q, err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSorted(r.Files) || !slices.IsSorted(r.Primary) {
			t.Fatalf("not sorted: %v %v", r.Primary, r.Files)
		}
		for _, i := range r.Primary {
			if _, in := slices.BinarySearch(r.Files, i); !in {
				t.Fatalf("%v: %s is primary, but not in the view", q, d.paths[i])
			}
		}
		for i, new := range r.Replaced {
			checkReplaced(t, d.paths[i], d.content[d.paths[i]], new)
		}
		// In the view the same is selected, shown and written.
		v := d.seen(r)
		again, err := v.catalog().selectAlone(selectionOf(q), v.read)
		if errors.As(err, &none) && !none.Emptied {
			return // the other value of a list was only matched by what is not primary
		}
		if err != nil {
			t.Fatalf("%v in its view: %v", q, err)
		}
		if got, want := v.pathsOf(again.Primary), d.pathsOf(r.Primary); !slices.Equal(got, want) {
			t.Fatalf("%v in its view selects %q, not %q", q, got, want)
		}
		if len(again.Files) != len(v.paths) || len(again.Replaced) > 0 {
			t.Fatalf("%v in its view shows %q of %q, changes %v", q, v.pathsOf(again.Files), v.paths, again.Replaced)
		}
		// One more dimension never adds a primary file; one more value never
		// removes one.
		for name, values := range q {
			wide := make(map[string][]string)
			for n, v := range q {
				wide[n] = v
			}
			wide[name] = append(slices.Clone(values), filter.None, filter.Any)
			with := primaryOf(t, d, wide)
			delete(wide, name)
			bare := primaryOf(t, d, wide)
			for _, i := range r.Primary {
				if !slices.Contains(with, i) || !slices.Contains(bare, i) {
					t.Fatalf("%v: %s is lost when --%s is widened", q, d.paths[i], name)
				}
			}
		}
	})
}

// checkReplaced: only tables and sidecars are replaced, and only by less.
func checkReplaced(t *rapid.T, path string, old, new []byte) {
	switch {
	case strings.HasSuffix(path, ".tsv"):
		rows := slices.Collect(strings.Lines(string(old)))
		for line := range strings.Lines(string(new)) {
			if !slices.Contains(rows, line) {
				t.Fatalf("%s: the row %q is new", path, line)
			}
		}
	case strings.HasSuffix(path, ".json"):
		if !json.Valid(new) || !strings.Contains(string(old), "IntendedFor") {
			t.Fatalf("%s: %q became %q", path, old, new)
		}
	default:
		t.Fatalf("%s is replaced", path)
	}
	if len(new) >= len(old) {
		t.Fatalf("%s: %q became %q", path, old, new)
	}
}

func primaryOf(t *rapid.T, d *dataset, q map[string][]string) []int {
	r, err := d.catalog().selectAlone(selectionOf(q), d.read)
	if err != nil {
		t.Fatalf("%v: %v", q, err)
	}
	return r.Primary
}

// TestOddPaths: no path makes a catalog fail, and every path is in the whole
// view or hidden.
func TestOddPaths(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.OneOf(rapid.SampledFrom([]string{"sub-1", "ses-", "sub-", "-rf", "a b", "x.ds", "sub-1_meg.ds", "sub-1_meg", "_", "..", ".", "derivatives", "tpl-a", "T1w.nii", "žluť", "\xff", ".x", "phenotype", "stimuli"}), rapid.StringMatching(`[a-z_.-]{1,6}`))
		set := make(map[string]bool)
		for range rapid.IntRange(0, 20).Draw(t, "n") {
			set[strings.Join(rapid.SliceOfN(part, 1, 5).Draw(t, "path"), "/")] = true
		}
		d := new(dataset)
		for p := range set {
			d.paths = append(d.paths, p)
		}
		slices.Sort(d.paths)
		r, err := d.catalog().selectAlone(Selection{AllDerivatives: true, Sourcedata: true, Code: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range d.paths {
			_, shown := slices.BinarySearch(r.Files, i)
			if !shown && !strings.HasPrefix(p, ".") && !strings.Contains(p, "/.") {
				t.Fatalf("%q is not shown", p)
			}
		}
	})
}

// TestCandidates: the index of a large directory finds what looking at all its
// files finds.
func TestCandidates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		label := rapid.SampledFrom([]string{"", "1", "01", "2", "a"})
		var paths []string
		for range rapid.IntRange(fewCandidates, 3*fewCandidates).Draw(t, "n") {
			name := "sub-1"
			for _, key := range []string{"acq", "run", "echo"} {
				if v := label.Draw(t, key); v != "" {
					name += "_" + key + "-" + v
				}
			}
			paths = append(paths, "sub-1/anat/"+name+rapid.SampledFrom([]string{"_T1w.json", "_T1w.nii"}).Draw(t, "end"))
		}
		slices.Sort(paths)
		paths = slices.Compact(paths)
		d := &dataset{paths: paths}
		sel, err := d.catalog().selectFiles(Selection{Companions: NoCompanions}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, extra := range [][]string{nil, {"run"}, {"acq", "echo"}} {
			for i, f := range sel.Files {
				applying := func(list []int32) (found []int32) {
					for _, g := range list {
						if sel.Applies(sel.Files[g], f, extra) {
							found = append(found, g)
						}
					}
					slices.Sort(found)
					return found
				}
				got, want := applying(sel.candidates(f, f.Dir, "T1w", ".json", extra)), applying(sel.Named(f.Dir, "T1w", ".json"))
				if !slices.Equal(got, want) {
					t.Fatalf("%s: %v, want %v", paths[i], got, want)
				}
			}
		}
	})
}
