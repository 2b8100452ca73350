package fs

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// modes are how open files are served. The kernel has one rule (iomode.c):
// while an inode is open, all its openings are passthrough with one backing
// id, or none is; a violation is EIO for whoever opens. So the first opening
// decides, the others follow, and the id goes when the last one is released.
// A file that becomes complete while it is open is passed through the next
// time. The kernel leaves a mode before it sends RELEASE, so counting here is
// never too low.
type modes struct {
	kernel interface { // *fuse.Server
		RegisterBackingFd(*fuse.BackingMap) (int32, syscall.Errno)
		UnregisterBackingFd(int32) syscall.Errno
	}
	possible bool // set before the first open

	mu    sync.Mutex // guards the following, and registering
	nodes map[uint64]*openNode
}

type openNode struct {
	opens   int
	pass    bool
	spoiled bool // what the kernel reads is wrong
	backing int32
}

// errSpoiled says that a file is open whose content turned out wrong: the kernel
// would read that for everybody.
var errSpoiled = errors.New("its content was wrong, and a program still has that open: it must be closed first")

// open counts an opening of a node, by its id, and says how it is served: by the kernel
// from the file with that id, or (ok is false) through this process. file is
// the node's complete content, or nil.
func (m *modes) open(node uint64, file *os.File) (backing int32, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.nodes[node]
	if o == nil {
		o = &openNode{}
		if m.possible && file != nil {
			o.backing, o.pass = m.register(file)
		}
		m.nodes[node] = o
	}
	if o.spoiled {
		return 0, false, errSpoiled
	}
	o.opens++
	return o.backing, o.pass, nil
}

// spoil says that the content that node is open with is wrong.
func (m *modes) spoil(node uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o := m.nodes[node]; o != nil && o.pass {
		o.spoiled = true
	}
}

// release is the end of one opening.
func (m *modes) release(node uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.nodes[node]
	if o == nil {
		return
	}
	if o.opens--; o.opens > 0 {
		return
	}
	delete(m.nodes, node)
	if o.pass {
		m.kernel.UnregisterBackingFd(o.backing)
	}
}

func (m *modes) register(file *os.File) (id int32, ok bool) {
	conn, err := file.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = conn.Control(func(fd uintptr) {
		var no syscall.Errno
		id, no = m.kernel.RegisterBackingFd(&fuse.BackingMap{Fd: int32(fd)})
		ok = no == 0
	})
	return id, ok && err == nil
}

// probe tries passthrough with a file in dir.
func (m *modes) probe(dir string) error {
	file, err := os.CreateTemp(dir, ".passthrough-*")
	if err != nil {
		return err
	}
	defer file.Close()
	if err := os.Remove(file.Name()); err != nil {
		return err
	}
	id, ok := m.register(file)
	if !ok {
		return fmt.Errorf("the kernel refuses to register files in %s", dir)
	}
	m.possible = true
	m.kernel.UnregisterBackingFd(id)
	return nil
}

// stackDepth returns how many file systems passthrough has to reach through:
// 2 when dir is on an overlay. That keeps the mount from being a layer of
// another overlay, so it is not asked for otherwise.
func stackDepth(dir string) int {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) == nil && st.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return 2
	}
	return 1
}
