package tree

import (
	"sort"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// A Snapshot is the file list of one commit. Nodes are numbered from 0, the
// root. It is immutable and safe for concurrent use. Methods that take a node
// number panic when it is not in [0, Len()), like indexing does.
type Snapshot struct {
	nodes []node
	dirs  []uint32 // the directories in order: their first children ascend
	forms []keyForm
	text  []string // the arena
}

// Len returns the number of nodes, directories included.
func (s *Snapshot) Len() int { return len(s.nodes) }

// Files returns the number of files and links.
func (s *Snapshot) Files() int { return len(s.nodes) - len(s.dirs) }

// Kind returns what node n is.
func (s *Snapshot) Kind(n int) Kind { return s.nodes[n].kind() }

// Name returns the last element of the path of n; "" for the root.
func (s *Snapshot) Name(n int) string { return s.name(s.nodes[n]) }

func (s *Snapshot) name(n node) string {
	return s.text[n.chunk()][n.nameOff():][:n.nameLen()]
}

// Size returns a file's size in bytes, the length of a link's target, and 0
// for a directory.
func (s *Snapshot) Size(n int) int64 {
	if s.nodes[n].kind() == Dir {
		return 0
	}
	return int64(s.nodes[n].info)
}

// Key returns a file's key, exactly as it was added; the zero Key for
// directories and links.
func (s *Snapshot) Key(n int) annex.Key {
	r := s.record(n)
	return r.key()
}

// Target returns where a link points, verbatim; "" for other nodes.
func (s *Snapshot) Target(n int) string { return s.record(n).target }

// record takes node n out of the arrays.
func (s *Snapshot) record(i int) record {
	n := s.nodes[i]
	r := record{name: s.name(n), kind: n.kind(), size: s.Size(i)}
	if r.kind == Dir {
		return r
	}
	rest := s.text[n.chunk()][n.nameOff()+n.nameLen():]
	switch {
	case r.kind == Link:
		r.target = rest[2:][:int(rest[0])<<8|int(rest[1])]
	case n.form() == 0:
		r.digest = rest[1:][:rest[0]]
	default:
		r.form = s.forms[n.form()]
		r.digest = rest[:r.form.n]
	}
	return r
}

// Children returns the entries of directory dir: count nodes from first on,
// in byte order of their names. It is 0, 0 when dir is not a directory.
func (s *Snapshot) Children(dir int) (first, count int) {
	n := s.nodes[dir]
	if n.kind() != Dir {
		return 0, 0
	}
	return int(n.info >> 32), int(uint32(n.info))
}

// Parent returns the directory that n is in; the root's is the root.
func (s *Snapshot) Parent(n int) int {
	_ = s.nodes[n]
	i := sort.Search(len(s.dirs), func(i int) bool {
		return int(s.nodes[s.dirs[i]].info>>32) > n
	})
	if i == 0 {
		return 0
	}
	return int(s.dirs[i-1])
}

// Lookup returns the entry of directory dir with that name.
func (s *Snapshot) Lookup(dir int, name string) (int, bool) {
	first, count := s.Children(dir)
	run := s.nodes[first : first+count]
	i := sort.Search(count, func(i int) bool { return s.name(run[i]) >= name })
	if i < count && s.name(run[i]) == name {
		return first + i, true
	}
	return 0, false
}

// Find returns the node at a path such as "sub-01/anat"; "" is the root.
// Paths are exact: no leading, trailing or double slashes, no "." or "..".
func (s *Snapshot) Find(path string) (int, bool) { return find(s.Lookup, path) }

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
func (s *Snapshot) Path(n int) string {
	var up []int
	length := 0
	for n != 0 {
		up = append(up, n)
		length += s.nodes[n].nameLen() + 1
		n = s.Parent(n)
	}
	var b strings.Builder
	b.Grow(length)
	for i := len(up) - 1; i >= 0; i-- {
		b.WriteString(s.Name(up[i]))
		if i > 0 {
			b.WriteByte('/')
		}
	}
	return b.String()
}
