package fs

import (
	"context"
	"hash/fnv"
	gopath "path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// A part is a view of the mount with its place in it. The view itself may have been
// forgotten since it was last looked at: then it is entered again.
type part struct {
	number uint64 // in the order in which they were entered; the root is 0
	inodes uint64 // what the inode numbers begin with: from the path alone
	above  node   // the border that it lies below, or the root that it is a member of; of the mount's root nothing
	path   string // in the mount
	name   string // of a member
	depth  int
	sec    uint64 // of its time
	nsec   uint32
	nodes  int // of its view
	bytes  int64

	seen atomic.Pointer[Part] // nil: forgotten
	used atomic.Int64         // when, in seconds
}

// A node is one of a part, whose view need not be known.
type node struct {
	*part
	n int
}

// nodeBits are enough for the numbers of a tree's nodes.
const nodeBits = 26

// id is what the kernel calls a node while it is mounted.
func (n node) id() uint64 { return n.number<<nodeBits | uint64(n.n) + 1 }

// inode is its number for programs: the same in every mount.
func (n node) inode() uint64 { return n.inodes | uint64(n.n) + 1 }

// A place is a node with the view that it is in.
type place struct {
	node
	*Part
}

func (p place) tree() *tree.Tree { return p.View.Tree() }

// to is another node of the same part.
func (p place) to(n int) place { return place{node{p.part, n}, p.Part} }

// at is its path in the mount.
func (p place) at() string { return gopath.Join(p.path, p.tree().Path(p.n)) }

// parent is the directory that a place is in; the root's is the root.
func (p place) parent() node {
	if p.n == 0 && p.name != "" {
		return p.above
	}
	dir := node{p.part, p.tree().Parent(p.n)}
	if dir.n == 0 && dir.number > 0 && dir.name == "" { // it is seen as the border
		return dir.above
	}
	return dir
}

// isBorder reports whether another part lies below a directory.
func (p place) isBorder() bool {
	return p.Borders != nil && p.tree().Kind(p.n) == tree.Dir && p.Borders.Has(p.n)
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
	t := &parts{below: make(map[uint64]*part), members: make(map[member]*part)}
	t.add(root, node{}, "", "")
	return t
}

// add adds a part that is to be seen at a path: below a border, or as a member.
func (t *parts) add(p *Part, above node, path, name string) *part {
	one := &part{number: uint64(len(t.all)), above: above, path: path, name: name, nodes: p.View.Nodes(), bytes: p.View.Bytes()}
	if one.number > 0 {
		h := fnv.New64a()
		h.Write([]byte(path))
		one.inodes = h.Sum64() << nodeBits
		one.depth = above.depth + 1
	}
	if !p.Time.IsZero() {
		one.sec, one.nsec = uint64(p.Time.Unix()), uint32(p.Time.Nanosecond())
	}
	one.seen.Store(p)
	one.use()
	t.all = append(t.all, one)
	return one
}

// use notes that somebody looked.
func (p *part) use() {
	if now := time.Now().Unix(); p.used.Load() != now {
		p.used.Store(now)
	}
}

// root is the mount itself.
func (t *parts) root() place {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return place{node{t.all[0], 0}, t.all[0].seen.Load()}
}

// of returns the part at a path, if somebody has looked into it.
func (t *parts) of(path string) *part {
	t.mu.RLock()
	defer t.mu.RUnlock()
	i := slices.IndexFunc(t.all, func(p *part) bool { return p.path == path && (p.name == "" || p.number == 0) })
	if i < 0 {
		return nil
	}
	return t.all[i]
}

// at returns the shown node that the kernel calls id. Where its view was forgotten it
// may fail.
func (t *parts) at(ctx context.Context, id uint64) (p place, ok bool, err error) {
	number, n := id>>nodeBits, int(id&(1<<nodeBits-1))-1
	t.mu.RLock()
	var one *part
	if number < uint64(len(t.all)) {
		one = t.all[number]
	}
	t.mu.RUnlock()
	if one == nil {
		return place{}, false, nil
	}
	p, err = t.see(ctx, node{one, n})
	return p, err == nil && p.View.Shown(n), err
}

// see returns a node with its view, which is entered again if it was forgotten.
func (t *parts) see(ctx context.Context, n node) (place, error) {
	n.use()
	if p := n.seen.Load(); p != nil {
		return place{n, p}, nil
	}
	border, err := t.see(ctx, n.above)
	if err != nil {
		return place{}, err
	}
	p, err := border.Borders.Enter(ctx, border.n)
	if err != nil {
		return place{}, entering{err}
	}
	n.seen.Store(p)
	return place{n, p}, nil
}

// forget forgets the views of what lies below borders and was not looked at since a
// time, and returns the paths of all that are forgotten.
func (t *parts) forget(since time.Time) (paths []string) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, p := range t.all {
		if p.number == 0 || p.name != "" {
			continue
		}
		if p.used.Load() < since.Unix() {
			p.seen.Store(nil)
		}
		if p.seen.Load() == nil {
			paths = append(paths, p.path)
		}
	}
	return paths
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
		p, err := t.see(ctx, node{known, 0})
		if err != nil {
			return dir, err
		}
		return p, nil
	}
	p, err := dir.Borders.Enter(ctx, dir.n)
	if err != nil {
		return dir, entering{err}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	known = t.below[id] // others may have been faster
	if known == nil {
		known = t.add(p, dir.node, dir.at(), "")
		t.below[id] = known
	}
	return place{node{known, 0}, p}, nil
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
	if known == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if known = t.members[m]; known == nil {
			known = t.add(&Part{View: bare(), Time: of.Time, Borders: m}, of.node, gopath.Join(of.at(), name), name)
			t.members[m] = known
		}
	}
	return place{node{known, 0}, known.seen.Load()}
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
		nodes += p.nodes
		bytes += p.bytes
	}
	return nodes, bytes
}
