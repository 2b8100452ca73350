package fs

import (
	"context"
	"hash/fnv"
	"math"
	gopath "path"
	"sync"

	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// A part is a view of the mount with its place in it.
type part struct {
	*Part
	tree   *tree.Tree
	number uint64 // in the order in which they were entered; the root is 0
	inodes uint64 // what the inode numbers begin with: from the path alone
	above  place  // the border that it lies below, or the root that it is a member of; of the mount's root nothing
	name   string // of a member
	depth  int
	sec    uint64 // of its time
	nsec   uint32
}

// A place is a node of a part.
type place struct {
	*part
	n int
}

// nodeBits are enough for the numbers of a tree's nodes.
const nodeBits = 26

// id is what the kernel calls a node while it is mounted.
func (p place) id() uint64 { return p.number<<nodeBits | uint64(p.n) + 1 }

// inode is its number for programs: the same in every mount.
func (p place) inode() uint64 { return p.inodes | uint64(p.n) + 1 }

// path is that in the mount.
func (p place) path() string {
	path := p.tree.Path(p.n)
	for p.number > 0 {
		path = gopath.Join(p.name, path)
		p = p.above
		path = gopath.Join(p.tree.Path(p.n), path)
	}
	return path
}

// parent is the directory that a place is in; the root's is the root.
func (p place) parent() place {
	switch {
	case p.number > 0 && p.n == 0 && p.name != "":
		return p.above
	case p.number > 0 && p.n == 0: // it is seen as the border
		return p.above.parent()
	}
	dir := place{p.part, p.tree.Parent(p.n)}
	if dir.number > 0 && dir.n == 0 && dir.name == "" {
		return dir.above
	}
	return dir
}

// isBorder reports whether another part lies below a directory.
func (p place) isBorder() bool {
	return p.Borders != nil && p.tree.Kind(p.n) == tree.Dir && p.Borders.Has(p.n)
}

// maxDepth bounds parts below each other: deeper borders are empty directories. A
// path can hardly be that deep.
const maxDepth = 256

// parts are those of a mount, by number and by place.
type parts struct {
	mu      sync.RWMutex // guards the following
	all     []*part
	below   map[uint64]*part // by the border's id
	members map[member]*part
	of      map[*Part]*part
}

// member is one that a part has, by name.
type member struct {
	Members
	name string
}

// Has implements [Borders]: a member is a directory, and what it shows lies below it.
func (m member) Has(int) bool { return true }

// Enter implements [Borders].
func (m member) Enter(ctx context.Context, _ int) (*Part, error) { return m.Members.Enter(ctx, m.name) }

func newParts(root *Part) *parts {
	t := &parts{below: make(map[uint64]*part), members: make(map[member]*part), of: make(map[*Part]*part)}
	t.add(root, place{}, "")
	return t
}

// add adds a part below a border, or a member.
func (t *parts) add(p *Part, above place, name string) *part {
	one := &part{Part: p, tree: p.View.Tree(), number: uint64(len(t.all)), above: above, name: name}
	if one.number > 0 {
		h := fnv.New64a()
		h.Write([]byte(place{one, 0}.path()))
		one.inodes = h.Sum64() << nodeBits
		one.depth = above.depth + 1
	}
	if !p.Time.IsZero() {
		one.sec, one.nsec = uint64(p.Time.Unix()), uint32(p.Time.Nanosecond())
	}
	t.all = append(t.all, one)
	t.of[p] = one
	return one
}

// root is the mount itself.
func (t *parts) root() place {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return place{t.all[0], 0}
}

func (t *parts) find(p *Part) (*part, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	one, ok := t.of[p]
	return one, ok
}

// at returns the shown node that the kernel calls id.
func (t *parts) at(id uint64) (place, bool) {
	number, n := id>>nodeBits, int(id&(1<<nodeBits-1))-1
	t.mu.RLock()
	defer t.mu.RUnlock()
	if number > math.MaxInt32 || int(number) >= len(t.all) {
		return place{}, false
	}
	p := place{t.all[number], n}
	return p, p.View.Shown(n)
}

// inside returns where the entries of a directory are: in it, or at the root of the
// part below it, which may have to be entered.
func (t *parts) inside(ctx context.Context, dir place) (place, error) {
	if !dir.isBorder() || dir.depth >= maxDepth {
		return dir, nil
	}
	id := dir.id()
	t.mu.RLock()
	known := t.below[id]
	t.mu.RUnlock()
	if known != nil {
		return place{known, 0}, nil
	}
	p, err := dir.Borders.Enter(ctx, dir.n)
	if err != nil {
		return dir, entering{err}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	known = t.below[id] // others may have been faster
	if known == nil {
		known = t.add(p, dir, "")
		t.below[id] = known
	}
	return place{known, 0}, nil
}

// bare is a directory and nothing in it.
var bare = sync.OnceValue(func() *tree.View {
	b := tree.NewBuilder()
	err := b.AddDir("", nil)
	var root *tree.Tree
	if err == nil {
		root, err = b.Tree()
	}
	if err != nil {
		panic(err) // it has no names that could be wrong
	}
	return root.View(nil, nil)
})

// member returns the directory of a name that a part has as a member.
func (t *parts) member(of place, name string) place {
	m := member{of.Members, name}
	t.mu.RLock()
	known := t.members[m]
	t.mu.RUnlock()
	if known != nil {
		return place{known, 0}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if known = t.members[m]; known == nil {
		known = t.add(&Part{View: bare(), Time: of.Time, Borders: m}, of, name)
		t.members[m] = known
	}
	return place{known, 0}
}

// memberNames are those that are listed in a directory.
func (p place) memberNames() []string {
	if p.n != 0 || p.Members == nil {
		return nil
	}
	return p.Members.Names()
}

// totals are how many nodes are shown, and their bytes.
func (t *parts) totals() (nodes int, bytes int64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, p := range t.all {
		nodes += p.View.Nodes()
		bytes += p.View.Bytes()
	}
	return nodes, bytes
}
