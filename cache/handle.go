package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Handle is a key that is in use: while it is open, its object is not evicted.
// Its methods are safe for concurrent use.
type Handle struct {
	c   *Cache
	o   *object
	use Use

	mu     sync.Mutex // guards the following
	file   *os.File   // the object's file, once it is there and trusted
	closed bool
	t      *transfer // that the handle is a user of
	seen   *part     // that it was served from

	through atomic.Bool
	window  window // guarded by transfer.mu
}

// Open opens a key's content. It never waits for the network, and not for
// more of the disk than looking at one file: what is missing comes when it is
// read. It fails for keys whose content could not be verified.
func (c *Cache) Open(key annex.Key, use Use) (*Handle, error) { return c.open(key, use, true) }

// open is Open, on a reader's behalf or not.
func (c *Cache) open(key annex.Key, use Use, reader bool) (*Handle, error) {
	size, ok := key.Size()
	if !ok {
		return nil, fmt.Errorf("%w: %s says no size", ErrUnverifiable, key)
	}
	if _, _, ok := key.NewHash(); !ok {
		return nil, fmt.Errorf("%w: %s has no hash that is known here", ErrUnverifiable, key)
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	o := c.object(key, size)
	o.refs++
	here := o.state == present && o.evicting == nil
	switch {
	case here && reader:
		c.hits++
		c.lru.touch(o)
		c.dirty[key] = true
	case reader:
		c.misses++
	}
	c.mu.Unlock()
	h := &Handle{c: c, o: o, use: use}
	if here {
		// What is wrong with the file is found again, and told, at the read.
		h.openFile()
	}
	return h, nil
}

// Size returns the content's size in bytes.
func (h *Handle) Size() int64 { return h.o.size }

// File returns the file of verified content that is complete, for kernel
// passthrough, or nil. It belongs to the handle and is valid until Close.
func (h *Handle) File() *os.File {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.file
}

// ReadAt reads like [io.ReaderAt], waiting until the bytes are there: as they
// arrive from sources that name the exact version, all but the last of them;
// else when the whole is verified. When ctx ends it returns at once; what is
// under way goes on for other readers. Should bytes that were read here turn
// out to be wrong, every later read fails with [ErrMismatch].
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, syscall.EINVAL
	}
	if off >= h.o.size {
		return 0, io.EOF
	}
	if p := h.saw(); p != nil && p.wrong.Load() {
		return 0, errWrong
	}
	n := 0
	err := h.withFile(ctx, func(f *os.File, t *transfer) (err error) {
		if f != nil {
			n, err = f.ReadAt(p, off)
		} else {
			n, err = t.read(ctx, h, p, off)
		}
		return err
	})
	return n, err
}

// ReadThrough says that the file is going to be read from start to end, so
// that its first read asks for more than a look at it.
func (h *Handle) ReadThrough() { h.through.Store(true) }

// saw returns the partial file that the handle was served from.
func (h *Handle) saw() *part {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen
}

// serve notes that the handle is served from a partial file.
func (h *Handle) serve(p *part) {
	h.mu.Lock()
	known := h.seen == p
	h.seen = p
	h.mu.Unlock()
	if known || h.use.Wrong == nil {
		return
	}
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	if h.o.served == nil {
		h.o.served = make(map[string]func())
	}
	h.o.served[h.use.Owner+"\x00"+h.use.Name] = h.use.Wrong
}

// Wait returns the file of verified content when it is complete, behind those
// that read. The file belongs to the handle and is valid until Close.
func (h *Handle) Wait(ctx context.Context) (*os.File, error) {
	if err := h.ready(ctx, background); err != nil {
		return nil, err
	}
	if f := h.File(); f != nil {
		return f, nil
	}
	return nil, ErrClosed
}

// Close ends the use of the key. The last user's end also ends a transfer.
func (h *Handle) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	f, t := h.file, h.t
	h.file, h.t = nil, nil
	h.mu.Unlock()
	if f != nil {
		f.Close()
	}
	if t != nil {
		t.leave(h)
	}
	c, o := h.c, h.o
	c.mu.Lock()
	o.refs--
	if o.refs == 0 && o.check != nil {
		o.check.cancel()
	}
	c.forget(o)
	c.mu.Unlock()
	c.pump()
	return nil
}

// rounds bounds how often an object may vanish or turn out wrong under a
// reader before it is told.
const rounds = 8

// ready returns when the handle has its file.
func (h *Handle) ready(ctx context.Context, as class) error {
	return h.withFile(ctx, func(f *os.File, t *transfer) error {
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
func (h *Handle) withFile(ctx context.Context, do func(*os.File, *transfer) error) error {
	var err error
	for range rounds {
		if f := h.File(); f != nil {
			return do(f, nil)
		}
		t := h.transfer()
		if t == nil {
			if t, err = h.attach(ctx); err != nil {
				return err
			} else if t == nil {
				continue
			}
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

func (h *Handle) transfer() *transfer {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.t
}

// detach leaves a transfer that has ended.
func (h *Handle) detach(t *transfer) {
	h.mu.Lock()
	mine := h.t == t
	if mine {
		h.t = nil
	}
	h.mu.Unlock()
	if mine {
		t.leave(h)
	}
}

// attach opens the object's file, or joins its transfer. Neither is done when
// the object's state must be looked at again.
func (h *Handle) attach(ctx context.Context) (*transfer, error) {
	c, o := h.c, h.o
	c.mu.Lock()
	switch {
	case c.closed:
		c.mu.Unlock()
		return nil, ErrClosed
	case o.evicting != nil:
		gone := o.evicting
		c.mu.Unlock()
		return nil, wait(ctx, gone)
	case o.state == present && o.trusted:
		c.mu.Unlock()
		if err := h.openFile(); err != nil && !errors.Is(err, errDemoted) {
			return nil, err
		}
		return nil, nil
	case o.state == present:
		k := c.startCheck(o)
		c.mu.Unlock()
		return nil, wait(ctx, k.done)
	case o.transfer != nil && o.transfer.ending:
		t := o.transfer
		c.mu.Unlock()
		return nil, wait(ctx, t.done)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	defer c.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	if h.t == nil {
		h.t = c.join(h)
	}
	return h.t, nil
}

// openFile opens the object's file if it is what the ledger says. Otherwise
// the object is demoted: to untrusted when it is another file of the right
// size, to absent when it is none.
func (h *Handle) openFile() error {
	c, o := h.c, h.o
	f, st, err := c.store.open(o.key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.state != present || o.evicting != nil {
		if err == nil {
			f.Close()
		}
		return errDemoted
	}
	if err != nil || st.size != o.size {
		if err == nil {
			f.Close()
		}
		c.log.Warn("object is not what it was: it is fetched again", "key", o.key, "err", err)
		c.startRemoval(o)
		return errDemoted
	}
	if st.mtime != o.mtime || st.inode != o.inode {
		o.trusted = false
	}
	if !o.trusted {
		f.Close()
		return errDemoted
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.file != nil {
		f.Close()
		return nil
	}
	h.file = f
	return nil
}

// errDemoted says that what seemed to be here is not.
var errDemoted = errors.New("object is not what it was")

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
