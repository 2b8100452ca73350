package bids

import (
	"maps"
	"slices"

	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/bids/internal/layout"
	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// dimension is one filter, compiled for a catalog: the words it accepts.
type dimension struct {
	name   string      // the flag without dashes
	key    layout.Word // of an entity; 0 for modality, suffix and extension
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
func (c names) compile(q filter.Query) *query {
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
	add(filter.Datatype, q.Datatype)
	add(filter.Suffix, q.Suffix)
	add(filter.Extension, q.Ext)
	for _, key := range slices.Sorted(maps.Keys(entities)) {
		if !slices.Contains(first, key) {
			add(key, entities[key])
		}
	}
	return out
}

func (c names) dimension(name string, values []string) *dimension {
	d := &dimension{name: name, values: values, accept: make([]bool, len(c.Words.Text))}
	if !filter.IsPseudo(name) {
		if key, ok := c.Words.Find(name); ok {
			d.key = key
		} else {
			d.key = layout.NoWord
		}
	}
	for _, v := range values {
		d.any = d.any || v == filter.Any
		d.accept[0] = d.accept[0] || v == filter.None
		for w := range d.accept[1:] {
			if filter.Matches(name, v, c.Words.Text[w+1]) {
				d.accept[w+1] = true
			}
		}
	}
	return d
}

// of returns what a file has in the dimension, or 0.
func (d *dimension) of(c names, f layout.File) layout.Word {
	switch {
	case d.key == layout.NoWord:
		return 0
	case d.key != 0:
		return c.Effective(f, d.key)
	case d.name == filter.Datatype:
		return c.Dirs[f.Dir].Datatype
	case d.name == filter.Suffix:
		return f.Suffix
	}
	return f.Ext
}

// isCondition reports whether the dimension is not one of names.
func (d *dimension) isCondition() bool { return d.groups != nil || d.paths != nil || d.where != nil }

// match reports whether file i is within the dimension.
func (d *dimension) match(c names, i int32) bool {
	if d.groups != nil {
		return slices.ContainsFunc(d.groups, func(q *query) bool { return q.match(c, i) })
	}
	if d.paths != nil {
		return d.paths.Match(c.PathOf(i))
	}
	if d.where != nil {
		return d.where.match(i)
	}
	w := d.of(c, c.Files[i])
	return d.accept[w] || d.any && w != 0
}

func (q *query) match(c names, i int32) bool {
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
func (c names) check(q *query, universe []int32) error {
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
				if found = filter.Matches(d.name, v, c.Words.Text[w]); found {
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
func (c names) count(d *dimension, files []int32) map[layout.Word]int {
	n := make([]int, len(c.Words.Text))
	for _, i := range files {
		n[d.of(c, c.Files[i])]++
	}
	have := make(map[layout.Word]int)
	for w, n := range n {
		if n > 0 && w > 0 {
			have[layout.Word(w)] = n
		}
	}
	return have
}
