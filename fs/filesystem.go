package fs

import (
	"math"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// forever is how long the kernel may believe what it was told.
const forever = 100 * 365 * 24 * time.Hour

// capNoOpendir is FUSE_NO_OPENDIR_SUPPORT of linux/fuse.h: OPENDIR may be
// answered with ENOSYS once, and is never sent again. Linux 5.1.
const capNoOpendir = 1 << 24

// maxRead bounds one READ, in bytes: more gains nothing.
const maxRead = 1 << 20

// maxName bounds a name, in bytes.
const maxName = 255

// A fileSystem answers the kernel's messages about one view.
type fileSystem struct {
	fuse.RawFileSystem // what is not here: ENOSYS
	Options

	view     *tree.View
	tree     *tree.Tree
	uid, gid uint32
	sec      uint64 // Options.Time
	nsec     uint32

	noOpendir bool // the kernel knows that directories need no opening
	control   controlNodes
	handles   handles
	modes     modes
	buffers   bufferPool
}

var _ fuse.RawFileSystem = (*fileSystem)(nil)

func newFileSystem(view *tree.View, o Options) *fileSystem {
	s := &fileSystem{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		Options:       o,
		view:          view,
		tree:          view.Tree(),
		uid:           uint32(unix.Geteuid()),
		gid:           uint32(unix.Getegid()),
		sec:           uint64(o.Time.Unix()),
		nsec:          uint32(o.Time.Nanosecond()),
		handles:       handles{open: map[uint64]*handle{}},
		modes:         modes{nodes: map[int]*openNode{}},
	}
	s.control.first = math.MaxUint64
	if o.Control != nil {
		s.control.first = uint64(s.tree.Len()) + 1
		s.control.ids = map[string]uint64{}
	}
	return s
}

// String implements fuse.RawFileSystem.
func (s *fileSystem) String() string { return fsSubtype }

// Init implements fuse.RawFileSystem.
func (s *fileSystem) Init(server *fuse.Server) {
	s.noOpendir = server.KernelSettings().Flags64()&capNoOpendir != 0
	s.modes.kernel = server
}

// node returns the number of the shown node with that id.
func (s *fileSystem) node(id uint64) (int, bool) {
	n := int(id) - 1
	return n, id <= math.MaxInt && s.view.Shown(n)
}

// Lookup implements fuse.RawFileSystem.
func (s *fileSystem) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if s.Control != nil {
		if st, mine := s.lookupControl(in.NodeId, name, out); mine {
			return st
		}
	}
	dir, ok := s.node(in.NodeId)
	if !ok {
		return fuse.ENOENT
	}
	if len(name) > maxName {
		return fuse.Status(unix.ENAMETOOLONG)
	}
	out.SetEntryTimeout(forever)
	n, ok := s.view.Lookup(dir, name)
	if !ok {
		return fuse.OK // node id 0: it does not exist, and the kernel may remember that
	}
	s.entry(n, out)
	return fuse.OK
}

// entry fills in everything about shown node n.
func (s *fileSystem) entry(n int, out *fuse.EntryOut) {
	out.NodeId = uint64(n) + 1
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	s.attr(n, &out.Attr)
}

// GetAttr implements fuse.RawFileSystem.
func (s *fileSystem) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	out.SetTimeout(forever)
	if s.control.has(in.NodeId) {
		s.controlAttr(in.NodeId, &out.Attr)
		return fuse.OK
	}
	n, ok := s.node(in.NodeId)
	if !ok {
		return fuse.ENOENT
	}
	s.attr(n, &out.Attr)
	return fuse.OK
}

func (s *fileSystem) attr(n int, out *fuse.Attr) {
	size := s.view.Size(n)
	*out = fuse.Attr{
		Ino:       uint64(n) + 1,
		Size:      uint64(size),
		Blocks:    (uint64(size) + 511) / 512,
		Mode:      s.mode(n) | 0o444,
		Nlink:     1,
		Blksize:   4096,
		Owner:     fuse.Owner{Uid: s.uid, Gid: s.gid},
		Mtime:     s.sec,
		Mtimensec: s.nsec,
	}
	switch s.tree.Kind(n) {
	case tree.Dir:
		out.Mode |= 0o111
		out.Nlink = s.links(n)
	case tree.Link:
		out.Mode |= 0o777
	}
	out.Atime, out.Atimensec = out.Mtime, out.Mtimensec
	out.Ctime, out.Ctimensec = out.Mtime, out.Mtimensec
}

// links returns a directory's link count, as other file systems have it:
// itself, its name, and ".." of every directory in it. Some programs do not
// look for directories below one that has only 2.
func (s *fileSystem) links(dir int) uint32 {
	links := uint32(2)
	for _, n := range s.view.Entries(dir) {
		if s.tree.Kind(int(n)) == tree.Dir {
			links++
		}
	}
	return links
}

// mode returns the type bits of n.
func (s *fileSystem) mode(n int) uint32 {
	switch s.tree.Kind(n) {
	case tree.Dir:
		return fuse.S_IFDIR
	case tree.Link:
		return fuse.S_IFLNK
	}
	return fuse.S_IFREG
}

// Readlink implements fuse.RawFileSystem.
func (s *fileSystem) Readlink(_ <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	n, ok := s.node(in.NodeId)
	if !ok || s.tree.Kind(n) != tree.Link {
		return nil, fuse.EINVAL
	}
	return []byte(s.tree.Target(n)), fuse.OK
}

// OpenDir implements fuse.RawFileSystem: directories need no opening.
func (s *fileSystem) OpenDir(_ <-chan struct{}, _ *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if s.noOpendir {
		return fuse.ENOSYS // the kernel stops asking, and keeps listings
	}
	out.OpenFlags = fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE
	return fuse.OK
}

// ReadDir implements fuse.RawFileSystem.
func (s *fileSystem) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return s.list(in, func(e fuse.DirEntry, _ int) bool { return out.AddDirEntry(e) })
}

// ReadDirPlus implements fuse.RawFileSystem.
func (s *fileSystem) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return s.list(in, func(e fuse.DirEntry, n int) bool {
		entry := out.AddDirLookupEntry(e)
		if entry != nil && n >= 0 {
			s.entry(n, entry)
		}
		return entry != nil
	})
}

// list calls add for the entries of a directory from in.Offset on, until it
// says that there is no more room. Entry 0 is ".", 1 is "..", 2 the view's
// first. n is the entry's node, or -1 when nothing is to be told about it.
func (s *fileSystem) list(in *fuse.ReadIn, add func(e fuse.DirEntry, n int) bool) fuse.Status {
	if s.control.has(in.NodeId) {
		return s.listControl(in, add)
	}
	dir, ok := s.node(in.NodeId)
	if !ok || s.tree.Kind(dir) != tree.Dir {
		return fuse.ENOTDIR
	}
	i := in.Offset
	if !addDots(&i, in.NodeId, uint64(s.tree.Parent(dir))+1, add) {
		return fuse.OK
	}
	run := s.view.Entries(dir)
	for ; i-2 < uint64(len(run)); i++ {
		n := int(run[i-2])
		e := fuse.DirEntry{Name: s.tree.Name(n), Mode: s.mode(n), Ino: uint64(n) + 1, Off: i + 1}
		if !add(e, n) {
			break
		}
	}
	return fuse.OK
}

// addDots adds "." and ".." as far as they come after *i, and moves *i on.
func addDots(i *uint64, self, parent uint64, add func(fuse.DirEntry, int) bool) bool {
	for ; *i < 2; *i++ {
		e := fuse.DirEntry{Name: ".", Mode: fuse.S_IFDIR, Ino: self, Off: *i + 1}
		if *i == 1 {
			e.Name, e.Ino = "..", parent
		}
		if !add(e, -1) {
			return false
		}
	}
	return true
}

// StatFs implements fuse.RawFileSystem.
func (s *fileSystem) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	const block = 4096
	total, free := uint64(s.view.Bytes()), uint64(0)
	if s.Options.StatFs != nil {
		total, free = s.Options.StatFs()
	}
	*out = fuse.StatfsOut{
		Blocks: (total + block - 1) / block, Bfree: free / block, Bavail: free / block,
		Files: uint64(s.view.Nodes()), Bsize: block, Frsize: block, NameLen: maxName,
	}
	return fuse.OK
}

// OnUnmount implements fuse.RawFileSystem: the kernel tells nothing about
// what was open when a connection ends.
func (s *fileSystem) OnUnmount() {
	for _, h := range s.handles.takeAll() {
		s.close(h)
	}
}

// A bufferPool keeps buffers for reads by their size, a power of two.
type bufferPool struct{ pools [9]sync.Pool }

const smallestBuffer = maxRead >> 8

// get returns a buffer of at least n bytes, n at most maxRead.
func (p *bufferPool) get(n int) *buffer {
	class, size := 0, smallestBuffer
	for size < n {
		class, size = class+1, size*2
	}
	if b, ok := p.pools[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{bytes: make([]byte, size), pool: &p.pools[class]}
}
