package bids

import (
	"maps"
	"slices"

	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// dimension is one filter, compiled for a catalog: the words it accepts.
type dimension struct {
	name   string // the flag without dashes
	key    word   // of an entity; 0 for modality, suffix and extension
	values []string
	accept []bool // by word; the word 0 is the absence of a value
	any    bool
	groups []*query     // only of the dimension "any of"
	paths  filter.Globs // only of the dimension "include"
	where  *where       // only of the dimension "where"
}

// query is a conjunction of dimensions.
type query struct {
	name string
	dims []*dimension
}

// compile compiles a query for the catalog's words. The order of dimensions is
// that in which an empty selection is explained.
func (c *Catalog) compile(q filter.Query) *query {
	out := &query{name: q.Name}
	entities := make(map[string][]string, len(q.Entities))
	for name, values := range q.Entities {
		key := schema.ShortKey(name)
		entities[key] = append(entities[key], values...)
	}
	add := func(name string, values []string) {
		if len(values) > 0 {
			out.dims = append(out.dims, c.dimension(name, values))
		}
	}
	first := []string{"sub", "ses"}
	for _, key := range first {
		add(key, entities[key])
	}
	add(filter.Datatype, q.Modality)
	add(filter.Suffix, q.Suffix)
	add(filter.Extension, q.Ext)
	for _, key := range slices.Sorted(maps.Keys(entities)) {
		if !slices.Contains(first, key) {
			add(key, entities[key])
		}
	}
	return out
}

func (c *Catalog) dimension(name string, values []string) *dimension {
	d := &dimension{name: name, values: values, accept: make([]bool, len(c.words.text))}
	if !filter.IsPseudo(name) {
		if key, ok := c.words.find(name); ok {
			d.key = key
		} else {
			d.key = noWord
		}
	}
	for _, v := range values {
		d.any = d.any || v == filter.Any
		d.accept[0] = d.accept[0] || v == filter.None
		for w := range d.accept[1:] {
			if filter.Matches(name, v, c.words.text[w+1]) {
				d.accept[w+1] = true
			}
		}
	}
	return d
}

// noWord is the key of an entity that no file has.
const noWord = ^word(0)

// of returns what a file has in the dimension, or 0.
func (d *dimension) of(c *Catalog, f file) word {
	switch {
	case d.key == noWord:
		return 0
	case d.key != 0:
		return c.effective(f, d.key)
	case d.name == filter.Datatype:
		return c.dirs[f.dir].modality
	case d.name == filter.Suffix:
		return f.suffix
	}
	return f.ext
}

// isCondition reports whether the dimension is not one of names.
func (d *dimension) isCondition() bool { return d.groups != nil || d.paths != nil || d.where != nil }

// match reports whether file i is within the dimension.
func (d *dimension) match(c *Catalog, i int32) bool {
	if d.groups != nil {
		return slices.ContainsFunc(d.groups, func(q *query) bool { return q.match(c, i) })
	}
	if d.paths != nil {
		return d.paths.Match(c.pathOf(i))
	}
	if d.where != nil {
		return d.where.match(i)
	}
	w := d.of(c, c.files[i])
	return d.accept[w] || d.any && w != 0
}

func (q *query) match(c *Catalog, i int32) bool {
	for _, d := range q.dims {
		if !d.match(c, i) {
			return false
		}
	}
	return true
}

// condition returns the query's --where, or nil.
func (q *query) condition() *where {
	for _, d := range q.dims {
		if d.where != nil {
			return d.where
		}
	}
	return nil
}

// check returns an error for the first value that no file of the universe
// matches.
func (c *Catalog) check(q *query, universe []int32) error {
	for _, d := range q.dims {
		if d.isCondition() {
			continue
		}
		have := c.count(d, universe)
		for _, v := range d.values {
			if v == filter.None || v == filter.Any && len(have) > 0 {
				continue
			}
			found := false
			for w := range have {
				if found = filter.Matches(d.name, v, c.words.text[w]); found {
					break
				}
			}
			if !found {
				return c.unknown(d, v, have, universe)
			}
		}
	}
	return nil
}

// count returns how many files have each word in a dimension.
func (c *Catalog) count(d *dimension, files []int32) map[word]int {
	n := make([]int, len(c.words.text))
	for _, i := range files {
		n[d.of(c, c.files[i])]++
	}
	have := make(map[word]int)
	for w, n := range n {
		if n > 0 && w > 0 {
			have[word(w)] = n
		}
	}
	return have
}
