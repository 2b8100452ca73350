package bids

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/internal/layout"
	"github.com/uniharmony/uniharmonyfs/bids/internal/tsv"
	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// tableKinds are the tables that describe files, the most telling first.
var tableKinds = [3]string{"scans", "sessions", "participants"}

// tableKeys are the columns that say what a row is about.
var tableKeys = [3]string{"filename", "session_id", "participant_id"}

// value is what a table or a sidecar says of a file under a name; from is ""
// when none has the name.
type value struct {
	is   any
	from string
}

// tablesOnly returns a where that knows the values of all columns, without a
// condition.
func (sel *selector) tablesOnly() *where {
	return &where{sel: sel, everything: true,
		participants: make(map[int32]tsv.Columns), sessions: make(map[int32]tsv.Columns), scans: make(map[int32]tsv.Columns),
		sidecars: make(map[int32]map[string]any)}
}

// value returns what is said of a file: by the first table that says it, or
// by the nearest sidecar if no table has the column in a row for the file.
func (w *where) value(i int32, name string) value {
	if v := w.cell(i, name); v.from != "" {
		return v
	}
	return w.metadata(i, name)
}

// cell returns what the tables say of a file.
func (w *where) cell(i int32, name string) (v value) {
	w.rows(i, func(kind int, t tsv.Columns, row int) {
		if cells := t.Cells[name]; cells != nil && v.is == nil {
			v = value{cells[row], fmt.Sprintf("row %v of %s", t.Cells[tableKeys[kind]][row], t.Path)}
		}
	})
	return v
}

// rows calls fn with the rows that are about a file, the most telling first.
func (w *where) rows(i int32, fn func(kind int, t tsv.Columns, row int)) {
	f := &w.sel.Files[i]
	d := &w.sel.Dirs[f.Dir]
	look := func(kind int, t tsv.Columns, key string) {
		if row, there := t.Key[key]; there {
			fn(kind, t, row)
		}
	}
	for at := f.Dir; w.sel.Dirs[at].Place == layout.Subject; at = w.sel.Dirs[at].Parent {
		if t := w.table(w.scans, at, 0); len(t.Key) > 0 {
			look(0, t, strings.TrimPrefix(w.sel.PathOf(i), w.sel.Dirs[at].Path+"/"))
		}
	}
	if d.Ses != 0 {
		look(1, w.table(w.sessions, w.sel.SubjectDir(f.Dir), 1), "ses-"+w.sel.Words.Text[d.Ses])
	}
	look(2, w.table(w.participants, d.Root, 2), "sub-"+w.sel.Words.Text[d.Sub])
}

// table reads the table of a kind in a directory, once.
func (w *where) table(read map[int32]tsv.Columns, d int32, kind int) tsv.Columns {
	t, done := read[d]
	if done {
		return t
	}
	if len(read) >= maxTables {
		clear(read)
	}
	for _, g := range w.sel.Named(d, tableKinds[kind], ".tsv") {
		data, ok := w.sel.content(g)
		if !ok {
			w.err = fmt.Errorf("--where needs %s, which cannot be read", w.sel.PathOf(g))
			continue
		}
		var err error
		if t, err = tsv.ParseColumns(data, tableKeys[kind], w.wants); err != nil {
			w.tooLarge = fmt.Errorf("%s %w, which is too large to select by", w.sel.PathOf(g), err)
			w.err = w.tooLarge
			continue
		}
		t.Path = w.sel.PathOf(g)
		w.columns[kind].add(t.Names, tsv.MaxColumns)
	}
	read[d] = t
	return t
}

// wants reports whether a column's cells are needed.
func (w *where) wants(name string) bool { return w.everything || slices.Contains(w.names, name) }

func (w *where) hasColumn(name string) bool {
	return slices.ContainsFunc(w.columns[:], func(have nameList) bool { return have.known[name] })
}

// nameList is a list of names, each once.
type nameList struct {
	list  []string
	known map[string]bool
}

// add adds names, up to so many in all.
func (l *nameList) add(names []string, most int) {
	if l.known == nil {
		l.known = make(map[string]bool)
	}
	for _, name := range names {
		if !l.known[name] && len(l.list) < most {
			name = strings.Clone(name)
			l.known[name] = true
			l.list = append(l.list, name)
		}
	}
}

// metadata returns a field of a file's merged sidecars: the nearest.
func (w *where) metadata(i int32, name string) (v value) {
	sel := w.sel
	f := sel.Files[i]
	for d := f.Dir; d >= 0 && sel.more(1); d = sel.Dirs[d].Parent {
		for _, g := range sel.candidates(f, d, sel.Words.Text[f.Suffix], ".json", nil) {
			if !sel.more(1) {
				return v
			}
			if v.is == nil && sel.Applies(sel.Files[g], f, nil) {
				if field, there := w.fieldsOf(g)[name]; there {
					v = value{field, sel.PathOf(g)}
				}
			}
		}
		if d == sel.Dirs[f.Dir].Root {
			break
		}
	}
	return v
}

// Limits of what is kept of sidecars, in bytes of JSON: a longer field is taken
// for none, and above maxKept they are read again.
const (
	maxField = 1 << 20
	maxKept  = 64 << 20
)

// fieldsOf returns the fields of a JSON file that the condition uses; of one
// that cannot be read, none.
func (w *where) fieldsOf(g int32) map[string]any {
	if known, done := w.sidecars[g]; done {
		return known
	}
	var all map[string]json.RawMessage
	if data, ok := w.sel.content(g); !ok || json.Unmarshal([]byte(strings.TrimPrefix(string(data), schema.BOM)), &all) != nil {
		all = nil
	}
	var used map[string]any
	for name := range all {
		if slices.Contains(w.names, name) || len(w.fields) < tsv.MaxColumns && !w.fields[name] {
			w.fields[strings.Clone(name)] = true
		}
	}
	for _, name := range w.names {
		var v any
		if text, there := all[name]; there && len(text) <= maxField && json.Unmarshal(text, &v) == nil && v != nil {
			w.kept += len(text)
			if used == nil {
				used = make(map[string]any, len(w.names))
			}
			used[name] = v
		}
	}
	if w.kept > maxKept {
		clear(w.sidecars)
		w.kept = 0
	}
	w.sidecars[g] = used
	return used
}
