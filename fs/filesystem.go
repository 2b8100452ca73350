package fs

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"strconv"
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

// A fileSystem answers the kernel's messages about one mount.
type fileSystem struct {
	fuse.RawFileSystem // what is not here: ENOSYS
	Options

	parts    *parts
	uid, gid uint32

	noOpendir bool // the kernel knows that directories need no opening
	control   controlNodes
	handles   handles
	modes     modes
	buffers   bufferPool
}

var _ fuse.RawFileSystem = (*fileSystem)(nil)

func newFileSystem(root *Part, o Options) *fileSystem {
	s := &fileSystem{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		Options:       o,
		parts:         newParts(root),
		uid:           uint32(unix.Geteuid()),
		gid:           uint32(unix.Getegid()),
		handles:       handles{open: map[uint64]*handle{}},
		modes:         modes{nodes: map[uint64]*openNode{}},
	}
	s.control.first = math.MaxUint64
	if o.Control != nil {
		s.control.first = uint64(root.View.Tree().Len()) + 1
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

// Lookup implements fuse.RawFileSystem.
func (s *fileSystem) Lookup(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if s.Control != nil {
		if st, mine := s.lookupControl(in.NodeId, name, out); mine {
			return st
		}
	}
	dir, st := s.at(interrupt{cancel}, in.NodeId)
	if !st.Ok() {
		return st
	}
	if len(name) > maxName {
		return fuse.Status(unix.ENAMETOOLONG)
	}
	dir, err := s.parts.inside(interrupt{cancel}, dir)
	if err != nil {
		return s.fail("looking for "+strconv.Quote(name), dir, err)
	}
	n, ok := dir.View.Lookup(dir.n, name)
	switch {
	case ok:
		s.entry(dir.to(n), out)
	case dir.n == 0 && dir.Members != nil:
		switch err := dir.Members.Find(interrupt{cancel}, name); {
		case errors.Is(err, fs.ErrNotExist): // but perhaps later
			return fuse.ENOENT
		case err != nil:
			return s.fail("looking for "+strconv.Quote(name), dir, entering{err})
		}
		s.entry(s.parts.member(dir, name), out)
	default: // node id 0: it does not exist, and the kernel may remember that
		out.SetEntryTimeout(forever)
	}
	return fuse.OK
}

// at returns the shown node that the kernel calls id.
func (s *fileSystem) at(ctx context.Context, id uint64) (place, fuse.Status) {
	p, ok, err := s.parts.at(ctx, id)
	switch {
	case err != nil:
		s.Log.Error("a list of files cannot be had again", "node", id, slog.Any("error", err))
		return p, fuse.Status(s.errno(err))
	case !ok:
		return p, fuse.ENOENT
	}
	return p, fuse.OK
}

// entry fills in everything about a shown node.
func (s *fileSystem) entry(p place, out *fuse.EntryOut) {
	out.NodeId = p.id()
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	s.attr(p, &out.Attr)
}

// GetAttr implements fuse.RawFileSystem.
func (s *fileSystem) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	out.SetTimeout(forever)
	if s.control.has(in.NodeId) {
		s.controlAttr(in.NodeId, &out.Attr)
		return fuse.OK
	}
	p, st := s.at(interrupt{cancel}, in.NodeId)
	if !st.Ok() {
		return st
	}
	s.attr(p, &out.Attr)
	return fuse.OK
}

func (s *fileSystem) attr(p place, out *fuse.Attr) {
	size := p.View.Size(p.n)
	*out = fuse.Attr{
		Ino:       p.inode(),
		Size:      uint64(size),
		Blocks:    (uint64(size) + 511) / 512,
		Mode:      p.mode() | 0o444,
		Nlink:     1,
		Blksize:   4096,
		Owner:     fuse.Owner{Uid: s.uid, Gid: s.gid},
		Mtime:     p.sec,
		Mtimensec: p.nsec,
	}
	switch p.tree().Kind(p.n) {
	case tree.Dir:
		out.Mode |= 0o111
		out.Nlink = p.links()
	case tree.Link:
		out.Mode |= 0o777
	}
	if s.Layer {
		out.Mode |= 0o200
	}
	out.Atime, out.Atimensec = out.Mtime, out.Mtimensec
	out.Ctime, out.Ctimensec = out.Mtime, out.Mtimensec
}

// links returns a directory's link count, as other file systems have it:
// itself, its name, and ".." of every directory in it. Some programs do not
// look for directories below one that has only 2. What is below a border is not
// known: 1 says so.
func (p place) links() uint32 {
	if p.isBorder() || p.n == 0 && p.Members != nil {
		return 1
	}
	links := uint32(2)
	for _, n := range p.View.Entries(p.n) {
		if p.tree().Kind(int(n)) == tree.Dir {
			links++
		}
	}
	return links
}

// mode returns the type bits of a node.
func (p place) mode() uint32 {
	switch p.tree().Kind(p.n) {
	case tree.Dir:
		return fuse.S_IFDIR
	case tree.Link:
		return fuse.S_IFLNK
	}
	return fuse.S_IFREG
}

// Readlink implements fuse.RawFileSystem.
func (s *fileSystem) Readlink(cancel <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	p, st := s.at(interrupt{cancel}, in.NodeId)
	if !st.Ok() {
		return nil, st
	}
	if p.tree().Kind(p.n) != tree.Link {
		return nil, fuse.EINVAL
	}
	return []byte(p.tree().Target(p.n)), fuse.OK
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
func (s *fileSystem) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return s.list(cancel, in, func(e fuse.DirEntry, _ place) bool { return out.AddDirEntry(e) })
}

// ReadDirPlus implements fuse.RawFileSystem.
func (s *fileSystem) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return s.list(cancel, in, func(e fuse.DirEntry, p place) bool {
		entry := out.AddDirLookupEntry(e)
		if entry != nil && p.part != nil {
			s.entry(p, entry)
		}
		return entry != nil
	})
}

// list calls add for the entries of a directory from in.Offset on, until it
// says that there is no more room. Entry 0 is ".", 1 is "..", 2 the view's
// first. p is the entry's node, or empty when nothing is to be told about it.
func (s *fileSystem) list(cancel <-chan struct{}, in *fuse.ReadIn, add func(e fuse.DirEntry, p place) bool) fuse.Status {
	if s.control.has(in.NodeId) {
		return s.listControl(in, add)
	}
	dir, st := s.at(interrupt{cancel}, in.NodeId)
	if !st.Ok() {
		return st
	}
	if dir.tree().Kind(dir.n) != tree.Dir {
		return fuse.ENOTDIR
	}
	entries, err := s.parts.inside(interrupt{cancel}, dir)
	if err != nil {
		return s.fail("listing", dir, err)
	}
	i := in.Offset
	if !addDots(&i, dir.inode(), dir.parent().inode(), add) {
		return fuse.OK
	}
	run, names := entries.View.Entries(entries.n), entries.memberNames()
	for ; i-2 < uint64(len(run)+len(names)); i++ {
		var p place
		var name string
		if k := int(i - 2); k < len(run) {
			p = entries.to(int(run[k]))
			name = p.tree().Name(p.n)
		} else {
			name = names[k-len(run)]
			p = s.parts.member(entries, name)
		}
		if !add(fuse.DirEntry{Name: name, Mode: p.mode(), Ino: p.inode(), Off: i + 1}, p) {
			break
		}
	}
	return fuse.OK
}

// addDots adds "." and ".." as far as they come after *i, and moves *i on.
func addDots(i *uint64, self, parent uint64, add func(fuse.DirEntry, place) bool) bool {
	for ; *i < 2; *i++ {
		e := fuse.DirEntry{Name: ".", Mode: fuse.S_IFDIR, Ino: self, Off: *i + 1}
		if *i == 1 {
			e.Name, e.Ino = "..", parent
		}
		if !add(e, place{}) {
			return false
		}
	}
	return true
}

// StatFs implements fuse.RawFileSystem.
func (s *fileSystem) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	const block = 4096
	nodes, bytes := s.parts.totals()
	total, free := uint64(bytes), uint64(0)
	if s.Options.StatFs != nil {
		total, free = s.Options.StatFs()
	}
	*out = fuse.StatfsOut{
		Blocks: (total + block - 1) / block, Bfree: free / block, Bavail: free / block,
		Files: uint64(nodes), Bsize: block, Frsize: block, NameLen: maxName,
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
