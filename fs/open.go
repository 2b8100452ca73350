package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// A handle is one opening of a file.
type handle struct {
	place
	content Content // nil for a control file
	data    []byte  // of a control file
}

// handles are what is open, by the number the kernel knows it by.
type handles struct {
	mu   sync.RWMutex // guards the following
	open map[uint64]*handle
	last uint64
}

func (t *handles) add(h *handle) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	t.open[t.last] = h
	return t.last
}

func (t *handles) get(fh uint64) *handle {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.open[fh]
}

func (t *handles) take(fh uint64) *handle {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.open[fh]
	delete(t.open, fh)
	return h
}

func (t *handles) takeAll() map[uint64]*handle {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.open
	t.open = map[uint64]*handle{}
	return all
}

func (t *handles) count() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.open)
}

// Open implements fuse.RawFileSystem.
func (s *fileSystem) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if in.Flags&unix.O_ACCMODE != unix.O_RDONLY || in.Flags&unix.O_TRUNC != 0 {
		return fuse.EROFS
	}
	if s.control.has(in.NodeId) {
		return s.openControl(in.NodeId, out)
	}
	p, st := s.at(interrupt{cancel}, in.NodeId)
	if !st.Ok() {
		return st
	}
	if p.tree().Kind(p.n) == tree.Dir {
		return fuse.EISDIR
	}
	content, err := p.Opener.OpenContent(p.n)
	if err != nil {
		return s.fail("open", p, interrupt{cancel}.orOthers(err))
	}
	id, pass, err := s.modes.open(p.id(), content.File())
	if err != nil {
		content.Close()
		return s.fail("open", p, err)
	}
	out.Fh = s.handles.add(&handle{place: p, content: content})
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH
	if pass {
		out.OpenFlags = fuse.FOPEN_PASSTHROUGH | fuse.FOPEN_NOFLUSH
		out.BackingID = id
	}
	return fuse.OK
}

// Release implements fuse.RawFileSystem.
func (s *fileSystem) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	if h := s.handles.take(in.Fh); h != nil {
		s.close(h)
	}
}

func (s *fileSystem) close(h *handle) {
	if h.content == nil {
		return
	}
	s.modes.release(h.id())
	if err := h.content.Close(); err != nil {
		s.fail("close", h.place, err)
	}
}

// Read implements fuse.RawFileSystem. The kernel's own buffer is not used:
// whoever is late in filling a buffer of ours harms nobody.
func (s *fileSystem) Read(cancel <-chan struct{}, in *fuse.ReadIn, _ []byte) (fuse.ReadResult, fuse.Status) {
	h := s.handles.get(in.Fh)
	if h == nil {
		return nil, fuse.EBADF
	}
	size := int64(len(h.data))
	if h.content != nil {
		size = h.View.Size(h.n)
	}
	off := int64(in.Offset)
	n := min(size-off, int64(in.Size), maxRead)
	if off < 0 || n <= 0 {
		return fuse.ReadResultData(nil), fuse.OK
	}
	if h.content == nil {
		return fuse.ReadResultData(h.data[off : off+n]), fuse.OK
	}
	buf := s.buffers.get(int(n))
	buf.used = int(n)
	if err := readAt(interrupt{cancel}, h.content, buf.bytes[:n], off); err != nil {
		return nil, s.fail("read", h.place, interrupt{cancel}.orOthers(err)) // buf is left to whoever may still have it
	}
	return buf, fuse.OK
}

// readAt fills p or fails: the kernel would take a short read for the end of
// the file.
func readAt(ctx context.Context, c Content, p []byte, off int64) error {
	n, err := c.ReadAt(ctx, p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil, errors.Is(err, io.EOF):
		return fmt.Errorf("%w: the content ends at %d, %d bytes early", io.ErrUnexpectedEOF, off+int64(n), len(p)-n)
	}
	return err
}

// A buffer is a read's result.
type buffer struct {
	bytes []byte
	used  int
	pool  *sync.Pool
}

// Bytes implements fuse.ReadResult.
func (b *buffer) Bytes(dst []byte) ([]byte, fuse.Status) {
	return append(dst[:0], b.bytes[:b.used]...), fuse.OK
}

// Slices makes go-fuse write the buffer to the kernel as it is, and call Done
// after that.
func (b *buffer) Slices() ([][]byte, fuse.Status) {
	return [][]byte{b.bytes[:b.used]}, fuse.OK
}

// Size implements fuse.ReadResult.
func (b *buffer) Size() int { return b.used }

// Done implements fuse.ReadResult.
func (b *buffer) Done() { b.pool.Put(b) }

// interrupt is a request's cancel channel as a context: closed when the
// calling process was signalled or the connection ended.
type interrupt struct{ cancel <-chan struct{} }

// Deadline implements context.Context.
func (interrupt) Deadline() (deadline time.Time, ok bool) { return }

// Done implements context.Context.
func (c interrupt) Done() <-chan struct{} { return c.cancel }

// Value implements context.Context.
func (interrupt) Value(any) any { return nil }

// Err implements context.Context.
func (c interrupt) Err() error {
	select {
	case <-c.cancel:
		return context.Canceled
	default:
		return nil
	}
}

// orOthers hides that something was cancelled unless it was for this request: a program
// that was not signalled would ask again, without end.
func (c interrupt) orOthers(err error) error {
	if errors.Is(err, context.Canceled) && c.Err() == nil {
		return errors.New(err.Error())
	}
	return err
}
