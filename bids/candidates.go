package bids

import (
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/internal/layout"
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
	keys  map[string][]layout.Word // by themselves as text
	files map[string][]int32
}

// candidates returns files of a directory that may apply to f, among them all
// that do.
func (sel *selector) candidates(f layout.File, d int32, suffix, ext string, extra []string) []int32 {
	all := sel.Named(d, suffix, ext)
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
			id = sel.appendPair(id, layout.Pair{Key: k, Value: sel.Value(f, k)})
		}
		found = append(found, index.files[string(id)]...)
	}
	slices.Sort(found)
	return found
}

func (c names) index(files []int32, extra []string) *groupIndex {
	x := &groupIndex{make(map[string][]layout.Word), make(map[string][]int32)}
	var pairs []layout.Pair
	var set, id []byte
	for _, i := range files {
		pairs = pairs[:0]
		for _, p := range c.Entities(c.Files[i]) {
			if !slices.Contains(extra, c.Words.Text[p.Key]) {
				pairs = append(pairs, p)
			}
		}
		slices.SortFunc(pairs, func(a, b layout.Pair) int { return int(a.Key) - int(b.Key) })
		set, id = set[:0], id[:0]
		for _, p := range pairs {
			set, id = c.appendPair(set, layout.Pair{Key: p.Key}), c.appendPair(id, p)
		}
		if _, known := x.keys[string(set)]; !known {
			keys := make([]layout.Word, len(pairs))
			for n, p := range pairs {
				keys[n] = p.Key
			}
			x.keys[string(set)] = keys
		}
		x.files[string(id)] = append(x.files[string(id)], i)
	}
	return x
}

// appendPair appends an entity in a form that equal ones have in common.
func (c names) appendPair(to []byte, p layout.Pair) []byte {
	for _, w := range [...]layout.Word{p.Key, c.Words.Number[p.Value]} {
		to = append(to, byte(w>>24), byte(w>>16), byte(w>>8), byte(w))
	}
	return to
}
