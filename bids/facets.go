package bids

import (
	"cmp"
	"slices"
	"strconv"
)

// Facet is a dimension of a dataset with the values that its files have: an
// entity, or a column of the tables that --where knows.
type Facet struct {
	Name   string       `json:"name"`            // sub, ses, modality, suffix, ext, task …
	Table  string       `json:"table,omitempty"` // of a column: participants, sessions or scans
	Values []FacetValue `json:"values"`
}

// FacetValue is a value, and how much has it. A directory recording is one
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
		f := &sel.files[i]
		for k := range f.count {
			if size != nil {
				sizes[n] += size(int(f.first + k))
			}
		}
	}
	return append(sel.entityFacets(sizes), sel.columnFacets(sizes)...), nil
}

func (sel *selector) entityFacets(sizes []int64) (facets []Facet) {
	names := []string{"sub", "ses", dimModality, dimSuffix, dimExt}
	for _, key := range append(sel.keysOf(sel.primary), "tpl", "cohort") {
		if !slices.Contains(names, key) {
			names = append(names, key)
		}
	}
	for _, name := range names {
		d := &dimension{name: name}
		if !isPseudo(name) {
			d.key, _ = sel.words.find(name)
		}
		values := make([]FacetValue, len(sel.words.text))
		for n, i := range sel.primary {
			v := &values[d.of(sel.Catalog, sel.files[i])]
			v.Files, v.Bytes = v.Files+1, v.Bytes+sizes[n]
		}
		f := Facet{Name: name}
		for w, v := range values {
			if w > 0 && v.Files > 0 {
				f.Values = append(f.Values, FacetValue{sel.words.text[w], v.Files, v.Bytes})
			}
		}
		slices.SortFunc(f.Values, func(a, b FacetValue) int { return compareLabels(a.Value, b.Value) })
		if len(f.Values) > 0 {
			facets = append(facets, f)
		}
	}
	return facets
}

// columnFacets counts the files that stand behind each row, then the rows that
// have each value.
func (sel *selector) columnFacets(sizes []int64) (facets []Facet) {
	w := sel.tablesOnly()
	type rowOf struct {
		kind int
		path string
		row  int
	}
	rows := make(map[rowOf]FacetValue)
	tables := make(map[string]columns)
	for n, i := range sel.primary {
		w.rows(i, func(kind int, t columns, row int) {
			tables[t.path] = t
			r := rows[rowOf{kind, t.path, row}]
			rows[rowOf{kind, t.path, row}] = FacetValue{"", r.Files + 1, r.Bytes + sizes[n]}
		})
	}
	for kind := len(tableKinds) - 1; kind >= 0; kind-- {
		for _, name := range w.columns[kind] {
			if name == tableKeys[kind] {
				continue // an entity's
			}
			values := make(map[string]FacetValue)
			for at, r := range rows {
				cells := tables[at.path].cells[name]
				if at.kind != kind || cells == nil || cells[at.row] == nil {
					continue
				}
				text := cellText(cells[at.row])
				values[text] = FacetValue{text, values[text].Files + r.Files, values[text].Bytes + r.Bytes}
			}
			if len(values) > 0 {
				facets = append(facets, Facet{name, tableKinds[kind], ordered(values)})
			}
		}
	}
	return facets
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
		x, errX := parseNumber(a.Value)
		y, errY := parseNumber(b.Value)
		if errX == nil && errY == nil && x != y {
			return cmp.Compare(x, y)
		}
		return compareLabels(a.Value, b.Value)
	})
	return list
}
