package tree

import (
	"math/bits"
	"sort"
)

// A View is the part of a tree that is shown: some files and links, the
// directories above them, and nothing else; the root is always shown. Node
// numbers are the tree's. Views are immutable and safe for concurrent use.
type View struct {
	tree     *Tree
	shown    []uint64 // one bit a node
	nodes    []uint32 // the shown nodes, ascending: a directory's are adjacent
	replaced map[int][]byte
	files    int
	bytes    int64
}

// View returns the view of these nodes, given in any order. A directory is shown when
// something below it is, or when it is among them: then also an empty one. replaced
// has content that is shown instead of a file's own; the caller must not
// change the map or the bytes afterwards.
func (t *Tree) View(files []int, replaced map[int][]byte) *View {
	v := &View{tree: t, shown: make([]uint64, (t.Len()+63)/64), replaced: replaced}
	v.show(0)
	for _, n := range files {
		if v.Shown(n) {
			continue
		}
		v.show(n)
		if t.Kind(n) != Dir {
			v.files++
			v.bytes += v.Size(n)
		}
		for d := t.Parent(n); !v.Shown(d); d = t.Parent(d) {
			v.show(d)
		}
	}
	v.number()
	return v
}

// An Outline is what a view is without its tree: some bits a node, and what is shown
// instead of files' own content.
type Outline struct{ view View }

// Outline returns what [Tree.Again] makes an equal view of.
func (v *View) Outline() Outline {
	return Outline{View{shown: v.shown, replaced: v.replaced, files: v.files, bytes: v.bytes}}
}

// Again returns the view of an outline, which must be of one of an equal tree.
func (t *Tree) Again(o Outline) *View {
	v := o.view
	v.tree = t
	v.number()
	return &v
}

// number lists the shown nodes.
func (v *View) number() {
	total := 0
	for _, w := range v.shown {
		total += bits.OnesCount64(w)
	}
	v.nodes = make([]uint32, 0, total)
	for i, w := range v.shown {
		for ; w != 0; w &= w - 1 {
			v.nodes = append(v.nodes, uint32(i*64+bits.TrailingZeros64(w)))
		}
	}
}

func (v *View) show(n int) { v.shown[n/64] |= 1 << (n % 64) }

// Tree returns what v is a view of.
func (v *View) Tree() *Tree { return v.tree }

// Files returns the number of files and links shown.
func (v *View) Files() int { return v.files }

// Nodes returns the number of nodes shown, directories included.
func (v *View) Nodes() int { return len(v.nodes) }

// Bytes returns the sum of the sizes of what is shown, in bytes.
func (v *View) Bytes() int64 { return v.bytes }

// Shown reports whether node n is shown; false for numbers out of range.
func (v *View) Shown(n int) bool {
	return n >= 0 && n < v.tree.Len() && v.shown[n/64]>>(n%64)&1 == 1
}

// Size returns the size of node n as shown, in bytes.
func (v *View) Size(n int) int64 {
	if c, ok := v.replaced[n]; ok {
		return int64(len(c))
	}
	return v.tree.Size(n)
}

// Content returns what is shown instead of the file's own content, if
// anything is. It must not be changed.
func (v *View) Content(n int) ([]byte, bool) {
	c, ok := v.replaced[n]
	return c, ok
}

// Lookup returns the shown entry of directory dir with that name.
func (v *View) Lookup(dir int, name string) (int, bool) {
	n, ok := v.tree.Lookup(dir, name)
	if !ok || !v.Shown(n) {
		return 0, false
	}
	return n, true
}

// Find returns the shown node at a path, as [Tree.Find] does.
func (v *View) Find(path string) (int, bool) { return find(v.Lookup, path) }

// Entry returns the i-th shown entry of directory dir, from 0 on, in byte
// order of the names; ok is false from the end on.
func (v *View) Entry(dir, i int) (node int, ok bool) {
	run := v.Entries(dir)
	if i < 0 || i >= len(run) {
		return 0, false
	}
	return int(run[i]), true
}

// Entries returns the shown entries of directory dir, in byte order of their
// names. The slice is part of the view: it must not be changed.
func (v *View) Entries(dir int) []uint32 {
	first, count := v.tree.Children(dir)
	from := v.index(first)
	run := v.nodes[from:]
	return run[:sort.Search(min(count, len(run)), func(i int) bool { return int(run[i]) >= first+count })]
}

// index returns how many shown nodes come before node n.
func (v *View) index(n int) int {
	return sort.Search(len(v.nodes), func(i int) bool { return int(v.nodes[i]) >= n })
}
