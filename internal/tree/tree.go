package tree

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// A Tree is the file list of one commit. Nodes are numbered from 0, the
// root. It is immutable and safe for concurrent use. Methods that take a node
// number panic when it is not in [0, Len()), like indexing does.
type Tree struct {
	nodes []node
	dirs  []uint32 // the directories in order: their first children ascend
	forms []keyForm
	text  []string // the arena
}

// Len returns the number of nodes, directories included.
func (t *Tree) Len() int { return len(t.nodes) }

// Files returns the number of files and links.
func (t *Tree) Files() int { return len(t.nodes) - len(t.dirs) }

// Kind returns what node n is.
func (t *Tree) Kind(n int) Kind { return t.nodes[n].kind() }

// Name returns the last element of the path of n; "" for the root.
func (t *Tree) Name(n int) string {
	stem, tail := t.name(t.nodes[n])
	return stem + tail
}

// name returns the two parts of a name; the first may be empty.
func (t *Tree) name(n node) (stem, tail string) {
	text := t.at(n.off)
	if !n.inPlaces() {
		return "", text[:n.nameLen()]
	}
	return t.string(place(text)), t.string(place(text[4:]))
}

// at returns the text from a place in the arena on.
func (t *Tree) at(off uint32) string { return t.text[off>>chunkBits][off&(chunkSize-1):] }

// string is the reverse of [Builder.string].
func (t *Tree) string(off uint32) string {
	text := t.at(off)
	return text[1:][:text[0]]
}

func place(text string) uint32 {
	return uint32(text[0])<<24 | uint32(text[1])<<16 | uint32(text[2])<<8 | uint32(text[3])
}

// compare compares the name of n with another.
func (t *Tree) compare(n node, name string) int {
	stem, tail := t.name(n)
	k := min(len(stem), len(name))
	if c := strings.Compare(stem[:k], name[:k]); c != 0 || k < len(stem) {
		return cmp.Or(c, 1)
	}
	return strings.Compare(tail, name[len(stem):])
}

// Size returns a file's size in bytes, the length of a link's target, and 0
// for a directory.
func (t *Tree) Size(n int) int64 {
	if t.nodes[n].kind() == Dir {
		return 0
	}
	return int64(t.nodes[n].info)
}

// Key returns a file's key, exactly as it was added; the zero Key for
// directories and links.
func (t *Tree) Key(n int) annex.Key {
	r := t.record(n)
	return r.key()
}

// Target returns where a link points, verbatim; "" for other nodes.
func (t *Tree) Target(n int) string { return t.record(n).target }

// Entry returns what [Builder.AddDir] was given for node n.
func (t *Tree) Entry(n int) Entry {
	r := t.record(n)
	return r.entry()
}

// record takes node n out of the arrays.
func (t *Tree) record(i int) record {
	n := t.nodes[i]
	r := record{name: t.Name(i), kind: n.kind(), size: t.Size(i)}
	switch {
	case r.kind == Dir:
	case r.kind == Link:
		rest := t.payload(n)
		r.target = rest[2:][:int(rest[0])<<8|int(rest[1])]
	default:
		r.form, r.digest = t.forms[n.form()], t.digest(n)
	}
	return r
}

// payload returns the text that begins with what follows the name.
func (t *Tree) payload(n node) string {
	if n.inPlaces() {
		return t.at(n.off)[placesLen:]
	}
	return t.at(n.off)[n.nameLen():]
}

// digest returns the digest of a file's key, or an odd key's text.
func (t *Tree) digest(n node) string {
	rest := t.payload(n)
	if n.form() == 0 {
		return rest[1:][:rest[0]]
	}
	return rest[:t.forms[n.form()].n]
}

// WithKey returns the annexed files that have a key, in ascending order. It
// looks at all nodes: a million take some milliseconds.
func (t *Tree) WithKey(k annex.Key) (nodes []int) {
	size, _ := k.Size()
	form, digest, _ := splitKey(k, size)
	number, text := slices.Index(t.forms, form), k.String()
	for i, n := range t.nodes {
		switch {
		case n.kind() != Annexed:
		case n.form() == 0 && t.digest(n) == text,
			n.form() != 0 && n.form() == number && n.info == uint64(size) && t.digest(n) == digest:
			nodes = append(nodes, i)
		}
	}
	return nodes
}

// Children returns the entries of directory dir: count nodes from first on,
// in byte order of their names. It is 0, 0 when dir is not a directory.
func (t *Tree) Children(dir int) (first, count int) {
	n := t.nodes[dir]
	if n.kind() != Dir {
		return 0, 0
	}
	return int(n.info >> 32), int(uint32(n.info))
}

// Parent returns the directory that n is in; the root's is the root.
func (t *Tree) Parent(n int) int {
	_ = t.nodes[n]
	i := sort.Search(len(t.dirs), func(i int) bool {
		return int(t.nodes[t.dirs[i]].info>>32) > n
	})
	if i == 0 {
		return 0
	}
	return int(t.dirs[i-1])
}

// Lookup returns the entry of directory dir with that name.
func (t *Tree) Lookup(dir int, name string) (int, bool) {
	first, count := t.Children(dir)
	run := t.nodes[first : first+count]
	i, ok := slices.BinarySearchFunc(run, name, t.compare)
	if !ok {
		return 0, false
	}
	return first + i, true
}

// Find returns the node at a path such as "sub-01/anat"; "" is the root.
// Paths are exact: no leading, trailing or double slashes, no "." or "..".
func (t *Tree) Find(path string) (int, bool) { return find(t.Lookup, path) }

func find(lookup func(dir int, name string) (int, bool), path string) (int, bool) {
	n, ok := 0, true
	for path != "" && ok {
		name, rest, more := strings.Cut(path, "/")
		if more && rest == "" {
			return 0, false
		}
		n, ok = lookup(n, name)
		path = rest
	}
	return n, ok
}

// Path returns the path of n relative to the root, with slashes between its
// elements and none at the ends; "" for the root.
func (t *Tree) Path(n int) string {
	var up []int
	length := 0
	for n != 0 {
		up = append(up, n)
		stem, tail := t.name(t.nodes[n])
		length += len(stem) + len(tail) + 1
		n = t.Parent(n)
	}
	var b strings.Builder
	b.Grow(length)
	for i := len(up) - 1; i >= 0; i-- {
		stem, tail := t.name(t.nodes[up[i]])
		b.WriteString(stem)
		b.WriteString(tail)
		if i > 0 {
			b.WriteByte('/')
		}
	}
	return b.String()
}
