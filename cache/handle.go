package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
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
}

// Open opens a key's content. It never waits for the network, and not for
// more of the disk than looking at one file: what is missing comes when it is
// read. It fails for keys whose content could not be verified.
func (c *Cache) Open(key annex.Key, use Use) (*Handle, error) {
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
	if here {
		c.hits++
		c.lru.touch(o)
		c.dirty[key] = true
	} else {
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

// ReadAt reads like [io.ReaderAt], waiting until the bytes are there and
// verified. When ctx ends it returns at once; what is under way goes on for
// other readers.
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, syscall.EINVAL
	}
	if off >= h.o.size {
		return 0, io.EOF
	}
	f := h.File()
	if f == nil {
		if err := h.ready(ctx, true); err != nil {
			return 0, err
		}
		if f = h.File(); f == nil {
			return 0, ErrClosed
		}
	}
	return f.ReadAt(p, off)
}

// Wait returns the file of verified content when it is complete, behind those
// that read. The file belongs to the handle and is valid until Close.
func (h *Handle) Wait(ctx context.Context) (*os.File, error) {
	if err := h.ready(ctx, false); err != nil {
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
	f := h.file
	h.file = nil
	h.mu.Unlock()
	if f != nil {
		f.Close()
	}
	c, o := h.c, h.o
	c.mu.Lock()
	o.refs--
	if o.refs == 0 {
		if o.transfer != nil {
			o.transfer.cancel()
		}
		if o.check != nil {
			o.check.cancel()
		}
		c.forget(o)
	}
	c.mu.Unlock()
	c.pump()
	return nil
}

// rounds bounds how often an object may vanish or turn out wrong under a
// reader before it is told.
const rounds = 4

// ready returns when the handle has its file. demand puts the transfer before
// those that nobody reads yet.
func (h *Handle) ready(ctx context.Context, demand bool) error {
	c, o := h.c, h.o
	var err error
	for range rounds {
		if h.File() != nil {
			return nil
		}
		c.mu.Lock()
		switch {
		case c.closed:
			c.mu.Unlock()
			return ErrClosed
		case o.evicting != nil:
			gone := o.evicting
			c.mu.Unlock()
			err = wait(ctx, gone)
		case o.state == present && o.trusted:
			c.mu.Unlock()
			if err = h.openFile(); err == nil {
				return nil
			}
			continue
		case o.state == present:
			k := c.startCheck(o)
			c.mu.Unlock()
			err = wait(ctx, k.done)
		default:
			if err := o.recentFailure(); err != nil {
				c.mu.Unlock()
				return err
			}
			t := c.startTransfer(o, h.use, demand)
			t.waiters++
			c.mu.Unlock()
			err = wait(ctx, t.done)
			c.mu.Lock()
			t.waiters--
			c.mu.Unlock()
			// A transfer that ended for want of readers just before this one
			// came says nothing about the content.
			if err == nil && t.err != nil && !t.left {
				return t.err
			}
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("%s changes under its readers: %w", h.use.Name, errors.Join(err, syscall.EIO))
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
