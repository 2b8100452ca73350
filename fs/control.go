package fs

import (
	"slices"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// controlName is the hidden directory in the root.
const controlName = ".uniharmonyfs"

// controlNodes number the control directory and its files, from the end of
// the tree's on: ids are given on first sight and kept.
type controlNodes struct {
	first uint64 // the directory's id

	mu    sync.Mutex // guards the following
	ids   map[string]uint64
	names []string
}

func (c *controlNodes) has(id uint64) bool { return id >= c.first && id < 1<<nodeBits }

func (c *controlNodes) id(name string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, ok := c.ids[name]
	if !ok {
		c.names = append(c.names, name)
		id = c.first + uint64(len(c.names))
		c.ids[name] = id
	}
	return id
}

func (c *controlNodes) name(id uint64) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := id - c.first
	if i == 0 || i > uint64(len(c.names)) {
		return "", false
	}
	return c.names[i-1], true
}

// lookupControl answers for the control directory and what is in it; mine is
// false for all other names.
func (s *fileSystem) lookupControl(parent uint64, name string, out *fuse.EntryOut) (st fuse.Status, mine bool) {
	switch {
	case parent == s.control.first:
		if !slices.Contains(s.Control.Names(), name) {
			return fuse.ENOENT, true
		}
		out.NodeId = s.control.id(name)
	case parent == fuse.FUSE_ROOT_ID && name == controlName:
		if _, shadowed := s.parts.root().View.Lookup(0, name); shadowed {
			return 0, false
		}
		out.NodeId = s.control.first
	default:
		return 0, false
	}
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	s.controlAttr(out.NodeId, &out.Attr)
	return fuse.OK, true
}

// controlAttr gives control files the size 0, as those in /proc have: what
// they say is made when they are opened.
func (s *fileSystem) controlAttr(id uint64, out *fuse.Attr) {
	s.attr(s.parts.root(), out)
	out.Ino = id
	out.Nlink = 2
	if id != s.control.first {
		out.Mode, out.Nlink = fuse.S_IFREG|0o444, 1
	}
}

func (s *fileSystem) listControl(in *fuse.ReadIn, add func(fuse.DirEntry, place) bool) fuse.Status {
	if in.NodeId != s.control.first {
		return fuse.ENOTDIR
	}
	i := in.Offset
	if !addDots(&i, in.NodeId, fuse.FUSE_ROOT_ID, add) {
		return fuse.OK
	}
	names := s.Control.Names()
	for ; i-2 < uint64(len(names)); i++ {
		name := names[i-2]
		if !add(fuse.DirEntry{Name: name, Mode: fuse.S_IFREG, Ino: s.control.id(name), Off: i + 1}, place{}) {
			break
		}
	}
	return fuse.OK
}

// openControl opens a control file past the kernel's cache: its size is not
// known beforehand.
func (s *fileSystem) openControl(id uint64, out *fuse.OpenOut) fuse.Status {
	name, ok := s.control.name(id)
	if !ok {
		return fuse.EISDIR
	}
	data, err := s.Control.Read(name)
	if err != nil {
		return s.failControl(name, err)
	}
	out.Fh = s.handles.add(&handle{data: data})
	out.OpenFlags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH
	return fuse.OK
}
