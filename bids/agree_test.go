package bids

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/bids/schema"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// exhaustive reports whether tests take their time: all datasets, also the
// large one.
func exhaustive() bool { return os.Getenv("UNIHARMONYFS_TEST_ALL") != "" }

// unpack writes a dataset, or a view of it, to a directory. Data is one byte
// long, so that no file is empty.
func unpack(t testing.TB, dir string, content map[string]string) {
	t.Helper()
	for p, data := range content {
		p = filepath.Join(dir, filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (d *dataset) all() map[string]string {
	all := make(map[string]string, len(d.paths))
	for _, p := range d.paths {
		all[p] = string(d.content[p])
	}
	return all
}

// pybidsNames are the filters of pybids for our dimensions.
func pybidsNames() map[string]string {
	return map[string]string{
		"sub": "subject", "ses": "session", "sample": "sample", "task": "task", "tracksys": "tracksys", "acq": "acquisition",
		"ce": "ceagent", "trc": "tracer", "stain": "staining", "rec": "reconstruction", "dir": "direction", "run": "run",
		"proc": "proc", "mod": "modality", "echo": "echo", "flip": "flip", "inv": "inv", "mt": "mt", "part": "part",
		"recording": "recording", "space": "space", "chunk": "chunk",
		filter.Datatype: "datatype", filter.Suffix: "suffix", filter.Extension: "extension",
	}
}

// queries makes queries of a dataset's own values: each alone, and some
// together.
func queries(d *dataset, alone, together int) (list []map[string][]string) {
	r := rand.New(rand.NewPCG(1, uint64(len(d.paths))))
	values := make(map[string][]string)
	unknown := false
	for _, f := range d.facets() {
		if f.Name == filter.Datatype {
			n := len(f.Values)
			f.Values = slices.DeleteFunc(f.Values, func(v FacetValue) bool { return unknownToPybids(v.Value) })
			unknown = len(f.Values) < n
		}
		r.Shuffle(len(f.Values), func(i, j int) { f.Values[i], f.Values[j] = f.Values[j], f.Values[i] })
		for _, v := range f.Values {
			values[f.Name] = append(values[f.Name], v.Value)
		}
	}
	names := slices.Sorted(maps.Keys(values))
	names = slices.DeleteFunc(names, func(n string) bool { return pybidsNames()[n] == "" || len(values[n]) == 0 })
	for _, n := range names {
		for _, v := range values[n][:min(alone, len(values[n]))] {
			list = append(list, map[string][]string{n: {v}})
		}
		if n != filter.Datatype || !unknown {
			list = append(list, map[string][]string{n: {filter.None}}, map[string][]string{n: {filter.Any}})
		}
	}
	for range together {
		q := make(map[string][]string)
		for range 2 + r.IntN(3) {
			n := names[r.IntN(len(names))]
			q[n] = values[n][:1+r.IntN(min(2, len(values[n])))]
			if r.IntN(6) == 0 && n != filter.Datatype {
				q[n] = []string{values[n][0], filter.None}
			}
			r.Shuffle(len(values[n]), func(i, j int) { values[n][i], values[n][j] = values[n][j], values[n][i] })
		}
		for n := range q {
			q[n] = slices.Clone(q[n])
		}
		list = append(list, q)
	}
	return list
}

// spellings returns all the forms that a dataset has of index values: pybids
// compares only run as a number.
func spellings(d *dataset, name string, values []string) []string {
	if !schema.IsIndex(name) || name == "run" {
		return values
	}
	all := slices.Clone(values)
	for _, f := range d.facets() {
		for _, have := range f.Values {
			same := func(v string) bool { return schema.IsDigits(v) && schema.Number(v) == schema.Number(have.Value) }
			if f.Name == name && slices.ContainsFunc(values, same) {
				all = append(all, have.Value)
			}
		}
	}
	return all
}

// unknownToPybids are datatypes that pybids has no word for.
func unknownToPybids(datatype string) bool {
	return datatype == "emg" || datatype == "figures" || datatype == "swi" || datatype == "log"
}

func selectionOf(q map[string][]string) (s Selection) {
	s.Entities = make(map[string][]string)
	for name, values := range q {
		switch name {
		case filter.Datatype:
			s.Datatype = values
		case filter.Suffix:
			s.Suffix = values
		case filter.Extension:
			s.Ext = values
		default:
			s.Entities[name] = values
		}
	}
	return s
}

// TestAgreesWithPybids asks pybids and Select the same: the primary files are
// the same, file for file. UNIHARMONYFS_TEST_ALL=1 takes all datasets and more
// queries (some minutes).
func TestAgreesWithPybids(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	interpreter := gittest.Python(t, "bids")
	all := examples(t)
	names := []string{"ds210", "eeg_matchingpennies", "emg_Multimodal", "micr_SEMzarr", "qmri_mpm", "synthetic", "pet001"}
	alone, together := 4, 12
	if exhaustive() {
		names, alone, together = slices.Sorted(maps.Keys(all)), 12, 60
		all["ds004712"] = onHarmony(t)
		names = append(names, "ds004712")
	}
	asked := 0
	for _, name := range names {
		d := all[name]
		if d == nil {
			continue
		}
		t.Run(name, func(t *testing.T) { asked += agrees(t, interpreter, d, queries(d, alone, together)) })
	}
	t.Logf("%d queries", asked)
}

func agrees(t *testing.T, interpreter string, d *dataset, list []map[string][]string) (asked int) {
	dir := filepath.Join(t.TempDir(), "dataset")
	unpack(t, dir, d.all())
	type request struct {
		Root    string                `json:"root"`
		Queries []map[string][]string `json:"queries"`
	}
	in := request{Root: dir}
	for _, q := range list {
		theirs := make(map[string][]string)
		for n, v := range q {
			theirs[pybidsNames()[n]] = spellings(d, n, v)
		}
		in.Queries = append(in.Queries, theirs)
	}
	var answers [][]string
	ask(t, interpreter, in, &answers)
	c := d.catalog()
	for n, theirs := range answers {
		if theirs == nil {
			continue
		}
		asked++
		var ours []string
		if sel, err := c.selectFiles(selectionOf(list[n]), nil); err == nil {
			for _, i := range sel.primary {
				ours = append(ours, c.names.PathOf(i))
			}
		}
		ours, theirs = comparable(c, ours), comparable(c, theirs)
		if !slices.Equal(ours, theirs) {
			t.Errorf("%s %v: %d files, pybids has %d; only here %.300q; only there %.300q", d.name, list[n], len(ours), len(theirs), without(ours, theirs), without(theirs, ours))
		}
	}
	return asked
}

// comparable leaves what both select: files in subject trees, without tables,
// and without directory recordings that pybids does not know as one.
func comparable(c *Catalog, paths []string) (list []string) {
	for _, p := range paths {
		if dir, _, below := strings.Cut(p, "/"); !below || !strings.HasPrefix(dir, "sub-") {
			continue
		}
		i, ok := c.names.FileAt(p)
		if !ok || c.names.IsTable(&c.names.Files[i]) || c.names.Files[i].Opaque && !strings.HasSuffix(p, ".zarr") {
			continue
		}
		list = append(list, p)
	}
	slices.Sort(list)
	return list
}

func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// runScript runs a Python script, which reads a question as JSON, and returns what
// it prints.
func runScript(t *testing.T, interpreter, script string, question any) []byte {
	t.Helper()
	stdin, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(interpreter, script)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return out
}

// ask runs pybids.
func ask(t *testing.T, interpreter string, question, answer any) {
	t.Helper()
	out := runScript(t, interpreter, "testdata/pybids.py", question)
	if err := json.Unmarshal(out, answer); err != nil {
		t.Fatal(err)
	}
}

// TestMetadataInViews: pybids merges for a file in a view what it merges for it
// in the dataset, but for IntendedFor.
func TestMetadataInViews(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	interpreter := gittest.Python(t, "bids")
	all := examples(t)
	names := []string{"synthetic"}
	if exhaustive() {
		names = []string{"7t_trt", "ds000117", "ds114", "ds210", "eyetracking_fmri", "fnirs_tapping", "ieeg_epilepsy", "qmri_mpm", "synthetic"}
	}
	for _, name := range names {
		d := all[name]
		if d == nil {
			continue
		}
		s := Selection{Entities: map[string][]string{"sub": {d.facets()[0].Values[0].Value}}}
		sel, err := d.catalog().selectFiles(s, d.read)
		if err != nil {
			t.Fatal(err)
		}
		var paths []string
		for _, i := range sel.primary {
			if p := sel.PathOf(i); !strings.HasSuffix(p, ".json") && !sel.Files[i].Opaque {
				paths = append(paths, p)
			}
		}
		var got, want []map[string]any
		for dir, answer := range map[string]*[]map[string]any{materialised(t, d, d.all()): &want, materialised(t, d, d.view(t, s)): &got} {
			ask(t, interpreter, map[string]any{"root": dir, "metadata": paths}, answer)
		}
		for n, p := range paths {
			delete(got[n], "IntendedFor")
			delete(want[n], "IntendedFor")
			if !reflect.DeepEqual(got[n], want[n]) {
				t.Errorf("%s %s: %v in the view, %v in the dataset", name, p, got[n], want[n])
			}
		}
	}
}
