package bids

import (
	"slices"
	"strings"
)

// fewCandidates is how many files are looked at one by one. A directory can
// hold a hundred thousand sidecars, of which one or two apply to a file.
const fewCandidates = 32

// maxGroups is how many indices of directories are kept. Files come directory
// by directory; all indices of a large dataset would take more memory than the
// rest of a selection.
const maxGroups = 64

// group is a set of files of one directory in which companions are looked for.
type group struct {
	dir         int32
	suffix, ext string // ext "": any
	extra       string // entities that do not count, joined
}

// groupIndex finds files of a group by their entities: for each set of keys
// that they use, by the values of these keys.
type groupIndex struct {
	keys  map[string][]word // by themselves as text
	files map[string][]int32
}

// candidates returns files of a directory that may apply to f, among them all
// that do.
func (sel *selector) candidates(f file, d int32, suffix, ext string, extra []string) []int32 {
	all := sel.named(d, suffix, ext)
	if len(all) <= fewCandidates {
		return all
	}
	g := group{d, suffix, ext, strings.Join(extra, " ")}
	index := sel.groups[g]
	if index == nil {
		if len(sel.groups) >= maxGroups {
			clear(sel.groups)
		}
		index = sel.index(all, extra)
		sel.groups[g] = index
	}
	var found []int32
	var id []byte
	for _, keys := range index.keys {
		if !sel.more(4 * (1 + len(keys))) {
			return nil
		}
		id = id[:0]
		for _, k := range keys {
			id = sel.appendPair(id, pair{k, sel.value(f, k)})
		}
		found = append(found, index.files[string(id)]...)
	}
	slices.Sort(found)
	return found
}

func (c *Catalog) index(files []int32, extra []string) *groupIndex {
	x := &groupIndex{make(map[string][]word), make(map[string][]int32)}
	var pairs []pair
	var set, id []byte
	for _, i := range files {
		pairs = pairs[:0]
		for _, p := range c.entities(c.files[i]) {
			if !slices.Contains(extra, c.words.text[p.key]) {
				pairs = append(pairs, p)
			}
		}
		slices.SortFunc(pairs, func(a, b pair) int { return int(a.key) - int(b.key) })
		set, id = set[:0], id[:0]
		for _, p := range pairs {
			set, id = c.appendPair(set, pair{p.key, 0}), c.appendPair(id, p)
		}
		if _, known := x.keys[string(set)]; !known {
			keys := make([]word, len(pairs))
			for n, p := range pairs {
				keys[n] = p.key
			}
			x.keys[string(set)] = keys
		}
		x.files[string(id)] = append(x.files[string(id)], i)
	}
	return x
}

// appendPair appends an entity in a form that equal ones have in common.
func (c *Catalog) appendPair(to []byte, p pair) []byte {
	for _, w := range [...]word{p.key, c.words.number[p.value]} {
		to = append(to, byte(w>>24), byte(w>>16), byte(w>>8), byte(w))
	}
	return to
}
