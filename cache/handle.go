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
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/cache/internal/proof"
	"github.com/uniharmony/uniharmonyfs/cache/internal/queue"
	"github.com/uniharmony/uniharmonyfs/cache/internal/readplan"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Handle is a key that is in use: while it is open, its object is not evicted.
// Its methods are safe for concurrent use.
type Handle struct {
	c   *Cache
	o   *object
	use Use

	file    atomic.Pointer[openFile] // the object's file, once it is there and verified
	misled  atomic.Bool              // it was served bytes that turned out wrong
	through atomic.Bool

	// Guarded by Cache.mu.
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
		if c.closed {
			err = ErrClosed
			return
		}
		h.o = c.object(key, size)
		h.o.handles[h] = true
		here = h.o.phase == present
		if reader {
			if here {
				c.seen.hits++
			} else {
				c.seen.misses++
			}
			c.touch(h.o)
		} else {
			c.settle(h.o)
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
// handle. Callers hold mu.
func (h *Handle) takenBack() <-chan struct{} {
	o := h.o
	if o.revocations.by[""]+o.revocations.by[h.use.Dataset] > 0 {
		return o.revocations.over
	}
	f := o.fills[h.use.Dataset]
	if f == nil || !f.exposed {
		return nil
	}
	t := f.transfer
	switch {
	case f.removed != nil:
		return f.removed
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
func (h *Handle) Size() int64 { return h.o.size }

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
	if off >= h.o.size {
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
	if h.o.revocations.sum.Load() == 0 {
		return false
	}
	revoked := false
	h.c.do(func() { revoked = h.o.revocations.by[""]+h.o.revocations.by[h.use.Dataset] > 0 })
	return revoked
}

// readFile reads the object's file.
func (h *Handle) readFile(f disk.File, p []byte, off int64) (int, error) {
	want := min(int64(len(p)), h.o.size-off)
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
		h.c.do(func() { h.c.damaged(h.o, err) })
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
	h.c.do(func() {
		if h.o.phase == present && h.o.id == before.ID && before.Size == after.Size && before.MTime == after.MTime {
			h.o.id = after.ID
			h.c.ledger.dirty[h.o.key] = true
		}
	})
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
		delete(h.o.handles, h)
		if len(h.o.handles) == 0 && h.o.check != nil {
			h.o.check.leave()
		}
		c.settle(h.o)
	})
	c.wakeRoomWaiters()
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
		if err := wait(ctx, t.done); err != nil {
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
	var k *check
	here := false
	c.do(func() {
		f := o.fills[h.use.Dataset]
		switch {
		case c.closed || h.closed:
			err = ErrClosed
		case h.t != nil:
			t = h.t
		case o.phase == present:
			here = true
		case o.phase == removing:
			gone = o.removed
		case o.phase == unchecked:
			k = c.startCheck(o)
		case f != nil && f.removed != nil:
			gone = f.removed
		case f != nil && f.transfer != nil && f.transfer.phase >= ending:
			gone = f.transfer.done
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
		if err := wait(ctx, k.done); err != nil {
			return nil, err
		}
		if k.err != nil && !isDamage(k.err) && !errors.Is(k.err, proof.ErrChanged) {
			return nil, k.err
		}
	case gone != nil:
		return nil, wait(ctx, gone)
	}
	return t, err
}

// openFile opens the object's file if it is what the ledger says. Evidence that
// it is not demotes the object; that it cannot be opened at the moment does not.
func (h *Handle) openFile() error {
	c, o := h.c, h.o
	f, info, err := c.store.OpenObject(o.key, o.size)
	kept := false
	defer func() {
		if f != nil && !kept {
			f.Close()
		}
	}()
	c.do(func() {
		switch {
		case o.phase != present:
			err = proof.ErrChanged
		case errors.Is(err, fs.ErrNotExist):
			c.log.Warn("an object is gone: it is fetched again", "key", o.key)
			c.vanished(o)
			err = proof.ErrChanged
		case isDamage(err):
			c.damaged(o, err)
			err = proof.ErrChanged
		case err != nil:
		case info.ID != o.id:
			c.move(o, unchecked)
			err = proof.ErrChanged
		case !h.closed && h.file.CompareAndSwap(nil, &openFile{f}):
			kept, o.served = true, true
		}
	})
	return err
}

func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
