package bids

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids/internal/tsv"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// TestColumnsAreAsPandasReadsThem compares the cells of real tables, and of
// one with odd ones, with what pybids gets from pandas.
func TestColumnsAreAsPandasReadsThem(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	interpreter := gittest.Python(t, "bids")
	odd := "participant_id\ta\tb\tc\td\te\tf\tg\nsub-1\t01\tTrue\t1e3\tn/a\tx\t-1.5\tNaN\nsub-2\t2\tFalse\tn/a\tn/a\t\t+2\tNone\nsub-3\t03\tTRUE\t.5\tn/a\t1\tinf\t1\n"
	tables := map[string][]byte{"odd.tsv": []byte(odd)}
	for name, d := range examples(t) {
		kinds := make(map[string]bool)
		for _, p := range d.paths {
			for _, kind := range tableKinds {
				if strings.HasSuffix(p, kind+".tsv") && !kinds[kind] && !strings.Contains(p, "derivatives/") && len(d.content[p]) > 0 {
					kinds[kind] = true
					tables[name+"_"+kind+".tsv"] = d.content[p]
				}
			}
		}
	}
	dir := t.TempDir()
	content := make(map[string]string)
	var paths []string
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		content[name] = string(tables[name])
		paths = append(paths, filepath.Join(dir, name))
	}
	unpack(t, dir, content)
	out := runScript(t, interpreter, "testdata/tables.py", paths)
	// JSON has no infinity.
	out = bytes.ReplaceAll(out, []byte("Infinity"), []byte(`"+Inf"`))
	var want []map[string][]any
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	for i, p := range paths {
		got, err := tsv.ParseColumns(tables[filepath.Base(p)], "participant_id", everyColumn)
		if err != nil {
			t.Fatal(err)
		}
		for name, cells := range want[i] {
			ours := slices.Clone(got.Cells[strings.TrimSpace(name)])
			for k, c := range ours {
				if f, ok := c.(float64); ok && f > 1e308 {
					ours[k] = "+Inf"
				}
			}
			if !reflect.DeepEqual(ours, cells) {
				t.Errorf("%s %s:\n got %#v\nwant %#v", filepath.Base(p), name, ours, cells)
			}
		}
	}
}
