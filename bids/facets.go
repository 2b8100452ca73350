package bids

import "slices"

// Facet is a dimension of a dataset with the values that its files have.
type Facet struct {
	Name   string // sub, ses, modality, suffix, ext, task …
	Values []FacetValue
}

// FacetValue is a value and how many files have it.
type FacetValue struct {
	Value string
	Files int
}

// Facets returns what there is to select by in the subject trees of the
// dataset itself: first sub, ses, modality, suffix and ext, then the other
// entities in the order they have in file names. Values are ordered, numbers
// by their value; a directory recording is one file, tables do not count.
func (c *Catalog) Facets() []Facet {
	sel := &selector{Catalog: c, pipelineIn: make([]bool, len(c.words.text))}
	sel.pipelineIn[0] = true
	universe := sel.universe()
	names := []string{"sub", "ses", dimModality, dimSuffix, dimExt}
	for _, key := range append(c.keysOf(universe), "tpl", "cohort") {
		if !slices.Contains(names, key) {
			names = append(names, key)
		}
	}
	var facets []Facet
	for _, name := range names {
		d := &dimension{name: name}
		if !isPseudo(name) {
			d.key, _ = c.words.find(name)
		}
		counts := c.count(d, universe)
		f := Facet{Name: name}
		for _, v := range c.words.sorted(counts) {
			w, _ := c.words.find(v)
			f.Values = append(f.Values, FacetValue{v, counts[w]})
		}
		if len(f.Values) > 0 {
			facets = append(facets, f)
		}
	}
	return facets
}
