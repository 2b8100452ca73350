package bids

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/bids/internal/layout"
	"github.com/uniharmony/uniharmonyfs/bids/internal/tsv"
	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// Facet is a dimension of a dataset with the values that its files have: an
// entity, or a column of the tables that --where knows.
type Facet struct {
	Name   string       `json:"name"`            // sub, ses, modality, suffix, ext, task …
	Table  string       `json:"table,omitempty"` // of a column: participants, sessions or scans
	Values []FacetValue `json:"values"`
	More   int          `json:"more,omitempty"` // files with still other values, of a column that has very many
}

// FacetValue is a value, and how much has it. An opaque directory is one
// file.
type FacetValue struct {
	Value string `json:"value"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
}

// Facets returns what there is to select by among the primary files of a
// selection: first sub, ses, modality, suffix and ext, then the other entities
// in the order they have in file names, then the columns of participants,
// sessions and scans tables. Values are ordered, numbers by their value. size
// returns the size of the file with path(i); it and read may be nil. The error
// is that of Select.
func (c *Catalog) Facets(s Selection, read Read, size func(i int) int64) ([]Facet, error) {
	sel, err := c.choosePrimary(s, read)
	if err != nil {
		return nil, err
	}
	sizes := make([]int64, len(sel.primary))
	for n, i := range sel.primary {
		f := &sel.Files[i]
		if !sel.more(1 + int(f.Count)) {
			return nil, sel.err
		}
		for k := range f.Count {
			if size != nil {
				sizes[n] += size(int(f.First + k))
			}
		}
	}
	facets := sel.entityFacets(sizes)
	columns, err := sel.columnFacets(sizes)
	return append(facets, columns...), err
}

func (sel *selector) entityFacets(sizes []int64) (facets []Facet) {
	// What a file has is not in its name alone.
	located := []string{"sub", "ses", filter.Datatype, filter.Suffix, filter.Extension, "tpl", "cohort"}
	counts := make(map[string]map[layout.Word]FacetValue)
	count := func(name string, w layout.Word, n int) {
		if counts[name] == nil {
			counts[name] = make(map[layout.Word]FacetValue)
		}
		v := counts[name][w]
		counts[name][w] = FacetValue{sel.Words.Text[w], v.Files + 1, v.Bytes + sizes[n]}
	}
	for _, name := range located {
		d := &dimension{name: name}
		if !filter.IsPseudo(name) {
			d.key, _ = sel.Words.Find(name)
		}
		for n, i := range sel.primary {
			if w := d.of(sel.names, sel.Files[i]); w != 0 {
				count(name, w, n)
			}
		}
	}
	for n, i := range sel.primary {
		if !sel.more(int(sel.Files[i].EntityCount)) {
			return nil
		}
		for _, p := range sel.Entities(sel.Files[i]) {
			if name := sel.Words.Text[p.Key]; !slices.Contains(located, name) {
				count(name, p.Value, n)
			}
		}
	}
	names, listed := located[:5:5], make(map[string]bool)
	for _, name := range append(sel.keysOf(sel.primary), located[5:]...) {
		if !listed[name] && !slices.Contains(located[:5], name) {
			listed[name] = true
			names = append(names, name)
		}
	}
	for _, name := range names {
		if values := counts[name]; len(values) > 0 {
			list := slices.SortedFunc(maps.Values(values), func(a, b FacetValue) int { return schema.CompareLabels(a.Value, b.Value) })
			facets = append(facets, Facet{Name: name, Values: list})
		}
	}
	return facets
}

// columnCount counts the files that stand behind the rows of tables, then what
// stands behind each value. Files come directory by directory, and their tables
// with them: only a few are held at a time.
type columnCount struct {
	rows   map[tableRow]FacetValue
	tables map[string]tsv.Columns
	values [len(tableKinds)]map[string]map[string]FacetValue // by column and value
	more   [len(tableKinds)]map[string]int
	left   int // values that may be kept still
}

type tableRow struct {
	kind int
	path string
	row  int
}

const (
	maxTables = 256
	maxValues = 10_000 // of a column; measurements may differ for every file
	allValues = 2_000_000
)

func (sel *selector) columnFacets(sizes []int64) (facets []Facet, err error) {
	w := sel.tablesOnly()
	c := columnCount{rows: make(map[tableRow]FacetValue), tables: make(map[string]tsv.Columns), left: allValues}
	for kind := range tableKinds {
		c.values[kind], c.more[kind] = make(map[string]map[string]FacetValue), make(map[string]int)
	}
	for n, i := range sel.primary {
		if !sel.more(1) {
			break
		}
		w.rows(i, func(kind int, t tsv.Columns, row int) {
			c.tables[t.Path] = t
			r := c.rows[tableRow{kind, t.Path, row}]
			c.rows[tableRow{kind, t.Path, row}] = FacetValue{"", r.Files + 1, r.Bytes + sizes[n]}
		})
		if len(c.tables) > maxTables {
			c.settle(sel)
		}
	}
	c.settle(sel)
	if err := cmp.Or(sel.err, w.tooLarge); err != nil {
		return nil, err
	}
	for kind := len(tableKinds) - 1; kind >= 0; kind-- {
		for _, name := range w.columns[kind].list {
			if values := c.values[kind][name]; len(values) > 0 && name != tableKeys[kind] { // that is an entity's
				facets = append(facets, Facet{name, tableKinds[kind], ordered(values), c.more[kind][name]})
			}
		}
	}
	return facets, nil
}

// settle adds the rows counted so far to the values that they have.
func (c *columnCount) settle(sel *selector) {
	for at, r := range c.rows {
		for name, cells := range c.tables[at.path].Cells {
			if !sel.more(1) {
				return
			}
			if cells[at.row] == nil {
				continue
			}
			values := c.values[at.kind][name]
			if values == nil {
				values = make(map[string]FacetValue)
				c.values[at.kind][name] = values
			}
			text := cellText(cells[at.row])
			v, known := values[text]
			if !known && (len(values) >= maxValues || c.left == 0) {
				c.more[at.kind][name] += r.Files
				continue
			}
			if !known {
				c.left--
			}
			values[text] = FacetValue{text, v.Files + r.Files, v.Bytes + r.Bytes}
		}
	}
	clear(c.rows)
	clear(c.tables)
}

func cellText(cell any) string {
	switch v := cell.(type) {
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return cell.(string)
}

// ordered returns values by number if they are numbers, else as labels are.
func ordered(values map[string]FacetValue) []FacetValue {
	list := make([]FacetValue, 0, len(values))
	for _, v := range values {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b FacetValue) int {
		x, errX := tsv.ParseNumber(a.Value)
		y, errY := tsv.ParseNumber(b.Value)
		if errX == nil && errY == nil && x != y {
			return cmp.Compare(x, y)
		}
		return schema.CompareLabels(a.Value, b.Value)
	})
	return list
}
