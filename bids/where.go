package bids

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/bids/internal/tsv"
)

// where is a condition on what tables and sidecars say of a file: the columns
// of scans.tsv, sessions.tsv and participants.tsv, and the fields of its merged
// JSON sidecars. A name that several of them have means the first. What they do
// not say, or say is n/a, is nil; a comparison with it does not hold.
type where struct {
	sel       *selector
	condition *filter.Condition // nil: there is none
	names     []string          // that the condition uses

	participants map[int32]tsv.Columns // by root directory
	sessions     map[int32]tsv.Columns // by directory of the subject
	scans        map[int32]tsv.Columns // by directory
	columns      [3]nameList           // that tables of these kinds have: scans, sessions, participants
	everything   bool                  // the cells of all columns are needed

	sidecars map[int32]map[string]any // of JSON files, the fields that the condition uses
	fields   map[string]bool          // that sidecars have been found to have
	kept     int                      // bytes that sidecars holds

	used     bool // for at least one file
	err      error
	tooLarge error // of a table
}

func (sel *selector) newWhere(text string) (*where, error) {
	condition, err := filter.ParseCondition(text)
	if err != nil {
		return nil, err
	}
	w := sel.tablesOnly()
	w.condition, w.names, w.fields = condition, condition.Names(), make(map[string]bool)
	w.everything = false
	return w, nil
}

// match reports whether the condition holds for a file. It keeps the first
// error and holds for nothing then.
func (w *where) match(i int32) bool {
	if w.err != nil || !w.sel.more(1+len(w.names)) {
		return false
	}
	w.used = true
	env := make(map[string]any, len(w.names))
	for _, name := range w.names {
		if v := w.value(i, name); v.is != nil {
			env[name] = v.is
		}
	}
	holds, err := w.condition.Holds(env)
	if err != nil {
		w.err = err
	}
	return holds && w.err == nil
}

// evidence says what the condition's names are for a file, and where that is
// written.
func (w *where) evidence(i int32) string {
	var said []string
	for _, name := range w.names {
		v := w.value(i, name)
		switch {
		case v.is == nil && v.from == "":
			said = append(said, name+" is said nowhere")
		case v.is == nil:
			said = append(said, fmt.Sprintf("%s is n/a in %s", name, v.from))
		default:
			said = append(said, fmt.Sprintf("%s is %v in %s", name, v.is, v.from))
		}
	}
	return strings.Join(said, ", ")
}

// check returns an error when the condition could not be evaluated, or uses
// names that neither a table nor a sidecar has.
func (w *where) check() error {
	if err := cmp.Or(w.sel.err, w.err); err != nil || !w.used {
		return err
	}
	for _, name := range w.names {
		if !w.fields[name] && !w.hasColumn(name) {
			have := slices.Sorted(maps.Keys(w.fields))
			all := slices.Sorted(slices.Values(slices.Concat(have, slices.Concat(w.columns[0].list, w.columns[1].list, w.columns[2].list))))
			e := &NoMatchError{Dimension: "where", Value: w.condition.Text(), Unknown: name, Nearest: filter.Nearest(name, slices.Compact(all))}
			for kind := len(tableKinds) - 1; kind >= 0; kind-- {
				if columns := w.columns[kind].list; len(columns) > 0 {
					e.Hints = append(e.Hints, fmt.Sprintf("columns of %s.tsv: %s", tableKinds[kind], some(columns, "; list --facets names all")))
				}
			}
			if len(have) > 0 {
				e.Hints = append(e.Hints, "fields of sidecars: "+some(have, ""))
			}
			return e
		}
	}
	return nil
}

// some names the first of many for people.
func some(names []string, rest string) string {
	const most = 25
	if n := len(names) - most; n > 1 {
		return fmt.Sprintf("%s and %d more%s", strings.Join(names[:most], ", "), n, rest)
	}
	return strings.Join(names, ", ")
}
