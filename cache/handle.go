package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/life"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/cache/internal/proof"
	"github.com/uniharmony/uniharmonyfs/cache/internal/queue"
	"github.com/uniharmony/uniharmonyfs/cache/internal/readplan"
	"github.com/uniharmony/uniharmonyfs/cache/internal/shelf"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Handle is a key that is in use: while it is open, its object is not evicted.
// Its methods are safe for concurrent use.
type Handle struct {
	c   *Cache
	o   *shelf.Object
	use Use

	file    atomic.Pointer[openFile] // the object's file, once it is there and verified
	misled  atomic.Bool              // it was served bytes that turned out wrong
	through atomic.Bool

	// Guarded by the lock.
	closed bool
	t      *transfer     // that the handle is a user of
	seen   *partial.File // that it was served from
	window readplan.Window
	failed error // a wait ended so a moment ago: the kernel asks twice
	until  time.Time
}

type openFile struct{ disk.File }

// Open opens a key's content. It never waits for the network, and not for
// more of the disk than looking at one file: what is missing comes when it is
// read. It fails for keys whose content could not be verified.
func (c *Cache) Open(key annex.Key, use Use) (*Handle, error) { return c.open(key, use, true) }

// open is Open, on a reader's behalf or not.
func (c *Cache) open(key annex.Key, use Use, reader bool) (*Handle, error) {
	size, err := proof.Size(key)
	if err != nil {
		return nil, err
	}
	h := &Handle{c: c, use: use}
	here := false
	var over <-chan struct{}
	c.do(func() {
		if c.shelf.IsShut() {
			err = ErrClosed
			return
		}
		h.o = c.shelf.Use(key, size, h, reader)
		here = h.o.Phase() == shelf.Present
		switch {
		case reader && here:
			c.hits++
		case reader:
			c.misses++
		}
		over = h.takenBack()
	})
	if err != nil {
		return nil, err
	}
	if here {
		// What is wrong with the file is found again, and told, at the read.
		h.openFile()
	}
	if over != nil {
		h.awaitRevocation(over)
	}
	return h, nil
}

// takenBack returns what to wait for while bytes that were served before are, or
// are about to be, forgotten; or nil. A transfer that will have its bytes
// forgotten at its end is joined instead, so that it does not end under this
// handle. Callers hold the lock.
func (h *Handle) takenBack() <-chan struct{} {
	if over := h.o.Revoking(h.use.Dataset); over != nil {
		return over
	}
	f := h.o.Fill(h.use.Dataset)
	if f == nil || !f.Exposed {
		return nil
	}
	t := transferOf(f)
	switch {
	case f.Removed() != nil:
		return f.Removed()
	case t != nil && t.phase >= ending:
		return t.done
	case t != nil && h.t == nil && (t.content.limit > 0 || len(t.content.past) > 0):
		h.c.join(h)
	}
	return nil
}

// awaitRevocation lets an opening wait, for a moment at most, while bytes of
// before are being forgotten: a read must not wait for that, since the kernel
// waits for reads before it forgets.
func (h *Handle) awaitRevocation(over <-chan struct{}) {
	enough := time.NewTimer(time.Second)
	defer enough.Stop()
	for over != nil {
		select {
		case <-over:
		case <-enough.C:
			return
		}
		h.c.do(func() { over = h.takenBack() })
	}
}

// Size returns the content's size in bytes.
func (h *Handle) Size() int64 { return h.o.Size }

// File returns the file of verified content that is complete, for kernel
// passthrough, or nil. It belongs to the handle and is valid until Close.
func (h *Handle) File() *os.File {
	if f := h.file.Load(); f != nil && !h.misled.Load() {
		return f.OS()
	}
	return nil
}

// ReadAt reads like [io.ReaderAt], waiting until the bytes are there: as they
// arrive from sources that name the exact version, all but the last of them;
// else when the whole is verified. While all sources are out of reach it waits
// as long as [Use.Patience] says. When ctx ends it returns at once; what is
// under way goes on for other readers. Should bytes that were read here turn
// out to be wrong, every later read fails with [ErrMismatch].
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, syscall.EINVAL
	}
	if off >= h.o.Size {
		return 0, io.EOF
	}
	n := 0
	err := h.withFile(ctx, func(f disk.File, t *transfer) (err error) {
		if f != nil {
			n, err = h.readFile(f, p, off)
		} else {
			n, err = t.read(ctx, h, p, off)
		}
		return err
	})
	if h.isMisled() {
		return 0, errMisled
	}
	return n, err
}

// isMisled reports whether the reader must not be served: what it has of the
// content, or what is kept for it, may be wrong.
func (h *Handle) isMisled() bool {
	if h.misled.Load() {
		return true
	}
	if !h.o.MayRevoke() {
		return false
	}
	revoked := false
	h.c.do(func() { revoked = h.o.Revoking(h.use.Dataset) != nil })
	return revoked
}

// Mislead implements [shelf.User].
func (h *Handle) Mislead() {
	if h.file.Load() != nil {
		h.misled.Store(true)
	}
}

// readFile reads the object's file.
func (h *Handle) readFile(f disk.File, p []byte, off int64) (int, error) {
	want := min(int64(len(p)), h.o.Size-off)
	n, err := f.ReadAt(p[:want], off)
	switch {
	case int64(n) == want && want < int64(len(p)):
		return n, io.EOF
	case int64(n) == want:
		return n, nil
	case errors.Is(err, fs.ErrClosed):
		return 0, ErrClosed
	case errors.Is(err, io.EOF):
		// Somebody has cut it short.
		err = fmt.Errorf("%w: it ends at byte %d", ErrMismatch, off+int64(n))
		h.c.do(func() { h.c.shelf.Damaged(h.o, err) })
	}
	return 0, err
}

// ReadThrough says that the file is going to be read from start to end, so
// that its first read asks for more than a look at it.
func (h *Handle) ReadThrough() { h.through.Store(true) }

// Wait returns the file of verified content when it is complete, behind those
// that read. The file belongs to the handle and is valid until Close.
func (h *Handle) Wait(ctx context.Context) (*os.File, error) {
	if err := h.ready(ctx, queue.Background); err != nil {
		return nil, err
	}
	if f := h.File(); f != nil {
		return f, nil
	}
	return nil, ErrClosed
}

// Share calls do with the file of verified content, which must be here, to link
// it to another name. A link changes the file's CTime: that alone is believed
// afterwards.
func (h *Handle) Share(do func(*os.File) error) error {
	f := h.file.Load()
	if f == nil {
		return ErrClosed
	}
	before, err := f.Stat()
	if err != nil {
		return err
	}
	if err := do(f.OS()); err != nil {
		return err
	}
	after, err := f.Stat()
	if err != nil {
		return err
	}
	h.c.shelf.Linked(h.o, before, after)
	return nil
}

// Close ends the use of the key. The last user's end also ends a transfer.
func (h *Handle) Close() error {
	c := h.c
	again := false
	c.do(func() { again, h.closed = h.closed, true })
	if again {
		return nil
	}
	// An object can be evicted as soon as nobody has it open: by then its file
	// must be closed, or its blocks would stay in use.
	if f := h.file.Swap(nil); f != nil {
		f.Close()
	}
	c.do(func() {
		if t := h.t; t != nil {
			h.t = nil
			t.leave(h)
		}
		c.shelf.Leave(h.o, h)
	})
	c.shelf.WakeRoomWaiters()
	return nil
}

// rounds bounds how often an object may vanish or turn out wrong under a
// reader before it is told.
const rounds = 8

// ready returns when the handle has its file.
func (h *Handle) ready(ctx context.Context, as queue.Class) error {
	return h.withFile(ctx, func(f disk.File, t *transfer) error {
		if f != nil {
			return nil
		}
		if err := t.whole(ctx, h, as); err != nil {
			return err
		}
		return errEnded
	})
}

// withFile calls do with the object's file or, while it is not complete, with
// its transfer, until that has not ended meanwhile.
func (h *Handle) withFile(ctx context.Context, do func(disk.File, *transfer) error) error {
	var err error
	for range rounds {
		if h.isMisled() {
			return errMisled
		}
		if f := h.file.Load(); f != nil {
			return do(f.File, nil)
		}
		var t *transfer
		if t, err = h.attach(ctx); err != nil {
			return err
		} else if t == nil {
			continue
		}
		if err = do(nil, t); !errors.Is(err, errEnded) {
			return err
		}
		if err := life.Wait(ctx, t.done); err != nil {
			return err
		}
		h.detach(t)
	}
	return fmt.Errorf("%s changes under its readers: %w", h.use.Name, errors.Join(err, syscall.EIO))
}

// detach leaves a transfer that has ended.
func (h *Handle) detach(t *transfer) {
	h.c.do(func() {
		if h.t == t {
			h.t = nil
			t.leave(h)
		}
	})
}

// attach opens the object's file, or joins its transfer. Neither is done when
// the object's state must be looked at again.
func (h *Handle) attach(ctx context.Context) (t *transfer, err error) {
	c, o := h.c, h.o
	var gone <-chan struct{} // something to wait for
	var k *shelf.Check
	here := false
	c.do(func() {
		f := o.Fill(h.use.Dataset)
		switch {
		case c.shelf.IsShut() || h.closed:
			err = ErrClosed
		case h.t != nil:
			t = h.t
		case o.Phase() == shelf.Present:
			here = true
		case o.Phase() == shelf.Removing:
			gone = o.Removed()
		case o.Phase() == shelf.Unchecked:
			k = c.shelf.StartCheck(o)
		case f != nil && f.Removed() != nil:
			gone = f.Removed()
		case f != nil && f.Transfer != nil && transferOf(f).phase >= ending:
			gone = transferOf(f).done
		default:
			t = c.join(h)
		}
	})
	switch {
	case here:
		if err := h.openFile(); err != nil && !errors.Is(err, proof.ErrChanged) {
			return nil, err
		}
	case k != nil:
		return nil, k.Wait(ctx)
	case gone != nil:
		return nil, life.Wait(ctx, gone)
	}
	return t, err
}

// openFile opens the object's file for the handle.
func (h *Handle) openFile() error {
	return h.c.shelf.OpenFile(h.o, func(f disk.File) bool {
		return !h.closed && h.file.CompareAndSwap(nil, &openFile{f})
	})
}
