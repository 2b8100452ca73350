package cache

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
)

// simDisk is a disk in memory that has inodes, holes and blocks as a real one,
// fails and delays as it is told, counts what is allocated, loses what was not
// flushed, and says when a published inode is changed.
type simDisk struct {
	mu     sync.Mutex
	nodes  map[string]*simNode // by path
	ino    uint64
	total  int64 // bytes
	linked int64 // allocated, of files that have a name
	rnd    *rand.Rand
	boot   byte
	dead   bool // it was left behind by a kill
	broken func(format string, args ...any)
	limit  func() int64    // what may be allocated below the cache, or <0
	losses map[string]bool // paths of files that lost something
	mood   diskMood
}

// diskMood is how often operations fail, in percent, and how long they take.
type diskMood struct {
	open, read, write, full, sync, remove int
	slow                                  time.Duration
}

type simNode struct {
	ino          uint64
	dir          bool
	blocks       map[int64]*[disk.Block]byte // allocated
	size         int64
	mode         fs.FileMode
	mtime, ctime int64
	synced       map[int64][disk.Block]byte // what a power cut leaves
	lost         map[int64]bool             // blocks that a failed fsync has left to the kernel's memory
	lossy        bool                       // there were some
	syncedSize   int64
	published    bool
	links        int
}

func newSimDisk(seed uint64, total int64) *simDisk {
	return &simDisk{nodes: map[string]*simNode{"/": {dir: true}}, total: total, rnd: rand.New(rand.NewPCG(seed, 7)), losses: make(map[string]bool), broken: func(string, ...any) {}, limit: func() int64 { return -1 }}
}

// clone is the disk as another process finds it, after a power cut or not.
func (d *simDisk) clone(powerCut bool) *simDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	c := newSimDisk(d.rnd.Uint64(), d.total)
	c.ino, c.boot, c.losses = d.ino, d.boot, maps.Clone(d.losses)
	if powerCut {
		c.boot++
	}
	for path, n := range d.nodes {
		m := *n
		m.blocks = make(map[int64]*[disk.Block]byte)
		for at, b := range n.blocks {
			copied := *b
			m.blocks[at] = &copied
		}
		m.synced, m.lost = maps.Clone(n.synced), maps.Clone(n.lost)
		if powerCut && !n.dir {
			c.cutPower(&m)
		}
		c.nodes[path] = &m
		c.linked += int64(len(m.blocks)) * disk.Block
	}
	return c
}

// cutPower makes of a file what may be left of it: each block as it was flushed
// last, or as it is, or zeros.
func (d *simDisk) cutPower(n *simNode) {
	if d.rnd.IntN(4) == 0 {
		n.size = n.syncedSize
	}
	for at := range n.blocks {
		if n.lost[at] || d.rnd.IntN(3) > 0 {
			*n.blocks[at] = n.synced[at]
		}
	}
	n.lost = nil
	n.written()
}

// written takes note that the disk has what is there, but for what was lost.
func (n *simNode) written() {
	kept := make(map[int64][disk.Block]byte)
	for at, b := range n.blocks {
		if n.lost[at] {
			kept[at] = n.synced[at]
		} else {
			kept[at] = *b
		}
	}
	n.synced, n.syncedSize = kept, n.size
}

// lose is what a failed fsync does: of what was to be written some is not, and
// the kernel takes it for written.
func (n *simNode) lose(rnd *rand.Rand) {
	n.lost = maps.Clone(n.lost)
	if n.lost == nil {
		n.lost = make(map[int64]bool)
	}
	for at, b := range n.blocks {
		if *b != n.synced[at] && rnd.IntN(2) == 0 {
			n.lost[at], n.lossy = true, true
		}
	}
	n.written()
}

// begin is what every operation does first: it may take its time, and fail.
func (d *simDisk) begin(percent int, no error) error {
	d.mu.Lock()
	slow, hit, dead := time.Duration(0), d.rnd.IntN(100) < percent, d.dead
	if d.mood.slow > 0 {
		slow = time.Duration(d.rnd.Int64N(int64(d.mood.slow)))
	}
	d.mu.Unlock()
	if slow > 0 {
		time.Sleep(slow)
	}
	if dead {
		return syscall.EIO
	}
	if hit {
		return no
	}
	return nil
}

func (d *simDisk) moodNow() diskMood {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mood
}

func (d *simDisk) setMood(m diskMood) (before diskMood) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before, d.mood = d.mood, m
	return before
}

func pathErr(op, path string, err error) error { return &fs.PathError{Op: op, Path: path, Err: err} }

func (d *simDisk) open(path string, write, create bool) (disk.File, error) {
	if err := d.begin(d.moodNow().open, syscall.EMFILE); err != nil {
		return nil, pathErr("open", path, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.nodes[path]
	switch {
	case create && n != nil:
		return nil, pathErr("open", path, syscall.EEXIST)
	case create:
		if p := d.nodes[filepath.Dir(path)]; p == nil || !p.dir {
			return nil, pathErr("open", path, syscall.ENOENT)
		}
		if d.rnd.IntN(100) < d.mood.full {
			return nil, pathErr("open", path, syscall.ENOSPC)
		}
		d.ino++
		n = &simNode{ino: d.ino, blocks: make(map[int64]*[disk.Block]byte), synced: make(map[int64][disk.Block]byte), mode: 0o600, links: 1}
		n.touch()
		d.nodes[path] = n
	case n == nil:
		return nil, pathErr("open", path, syscall.ENOENT)
	case n.dir:
		return nil, pathErr("open", path, disk.ErrNotRegular)
	}
	if write && n.published {
		d.broken("a published inode is opened for writing: %s", path)
	}
	return &simFile{d: d, n: n, path: path, write: write}, nil
}

func (n *simNode) touch() {
	n.mtime = time.Now().UnixNano()
	n.ctime = n.mtime
}

func (d *simDisk) Open(path string) (disk.File, error)      { return d.open(path, false, false) }
func (d *simDisk) OpenWrite(path string) (disk.File, error) { return d.open(path, true, false) }
func (d *simDisk) Create(path string) (disk.File, error)    { return d.open(path, true, true) }

func (n *simNode) info() disk.Info {
	mode := n.mode
	if n.dir {
		mode |= fs.ModeDir
	}
	return disk.Info{ID: disk.ID{Dev: 1, Inode: n.ino, Size: n.size, MTime: n.mtime, CTime: n.ctime}, Mode: mode, Blocks: int64(len(n.blocks)) * disk.Block}
}

func (d *simDisk) Stat(path string) (disk.Info, error) {
	if err := d.begin(0, nil); err != nil {
		return disk.Info{}, pathErr("stat", path, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.nodes[path]; n != nil {
		return n.info(), nil
	}
	return disk.Info{}, pathErr("stat", path, syscall.ENOENT)
}

func (d *simDisk) List(dir string) (names []string, err error) {
	if err := d.begin(0, nil); err != nil {
		return nil, pathErr("readdir", dir, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.nodes[dir]; n == nil || !n.dir {
		return nil, pathErr("readdir", dir, syscall.ENOENT)
	}
	for path := range d.nodes {
		if path != dir && filepath.Dir(path) == dir {
			names = append(names, filepath.Base(path))
		}
	}
	slices.Sort(names)
	return names, nil
}

func (d *simDisk) MkdirAll(dir string, _ fs.FileMode) error {
	if err := d.begin(d.moodNow().full, syscall.ENOSPC); err != nil {
		return pathErr("mkdir", dir, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for at := dir; at != "/"; at = filepath.Dir(at) {
		if n := d.nodes[at]; n == nil {
			d.nodes[at] = &simNode{dir: true, mode: 0o755}
		} else if !n.dir {
			return pathErr("mkdir", dir, syscall.ENOTDIR)
		}
	}
	return nil
}

func (d *simDisk) Chmod(path string, mode fs.FileMode) error {
	if err := d.begin(d.moodNow().remove, syscall.EPERM); err != nil {
		return pathErr("chmod", path, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.nodes[path]
	if n == nil {
		return pathErr("chmod", path, syscall.ENOENT)
	}
	n.mode, n.ctime = mode, time.Now().UnixNano()
	return nil
}

func (d *simDisk) Rename(from, to string) error {
	if err := d.begin(d.moodNow().full, syscall.ENOSPC); err != nil {
		return pathErr("rename", from, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n, over := d.nodes[from], d.nodes[to]
	if p := d.nodes[filepath.Dir(to)]; n == nil || p == nil {
		return pathErr("rename", from, syscall.ENOENT)
	}
	if over != nil {
		if over.published {
			d.broken("a published object is replaced: %s", to)
		}
		d.linked -= int64(len(over.blocks)) * disk.Block
		over.links--
	}
	n.published = strings.Contains(to, "/objects/")
	n.ctime = time.Now().UnixNano()
	d.nodes[to], d.losses[to] = n, n.lossy
	delete(d.nodes, from)
	return nil
}

func (d *simDisk) Remove(path string) error {
	if err := d.begin(d.moodNow().remove, syscall.EPERM); err != nil {
		return pathErr("remove", path, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.nodes[path]
	if n == nil {
		return pathErr("remove", path, syscall.ENOENT)
	}
	if n.dir {
		for other := range d.nodes {
			if other != path && filepath.Dir(other) == path {
				return pathErr("remove", path, syscall.ENOTEMPTY)
			}
		}
	}
	d.linked -= int64(len(n.blocks)) * disk.Block
	n.links--
	delete(d.nodes, path)
	return nil
}

func (d *simDisk) Boot() [16]byte { return [16]byte{1, d.boot} }

func (d *simDisk) SyncDir(dir string) error { return d.begin(d.moodNow().sync, syscall.EIO) }

func (d *simDisk) Space(string) (free, total int64, err error) {
	if err := d.begin(0, nil); err != nil {
		return 0, 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.total - d.linked, d.total, nil
}

// harm changes a file behind the cache's back.
func (d *simDisk) harm(path, how string, rnd *rand.Rand) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.nodes[path]
	if n == nil || n.dir || n.size == 0 {
		return false
	}
	at := rnd.Int64N(n.size)
	b := n.blocks[at/disk.Block]
	switch how {
	case "rot": // the medium: nothing tells
		if b == nil {
			return false
		}
		b[at%disk.Block] ^= 1
		n.synced[at/disk.Block] = *b
		delete(n.lost, at/disk.Block)
	case "change":
		if b == nil {
			return false
		}
		b[at%disk.Block] ^= 1
		n.ctime = max(time.Now().UnixNano(), n.ctime+1) // its mtime is set back
	case "cut":
		n.size = at
		n.touch()
	case "remove":
		d.linked -= int64(len(n.blocks)) * disk.Block
		n.links--
		delete(d.nodes, path)
	default:
		panic(fmt.Sprint("harm ", how))
	}
	return true
}

// below sums what is allocated below directories.
func (d *simDisk) below(dirs ...string) (sum int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for path, n := range d.nodes {
		for _, dir := range dirs {
			if strings.HasPrefix(path, dir+"/") {
				sum += int64(len(n.blocks)) * disk.Block
			}
		}
	}
	return sum
}

// lost reports whether a failed fsync took something of the file that has, or had
// last, this path.
func (d *simDisk) lost(path string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.losses[path]
}
