package cache

import (
	"context"
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// check is an object on disk being compared with its key.
type check struct {
	done   chan struct{}
	cancel context.CancelFunc
}

// startCheck starts the object's check, or joins the one that runs. A wrong
// object is removed. Callers hold mu, and a reference to o.
func (c *Cache) startCheck(o *object) *check {
	if o.check != nil {
		return o.check
	}
	ctx, cancel := context.WithCancel(c.ctx)
	k := &check{done: make(chan struct{}), cancel: cancel}
	o.check = k
	c.work.Add(1)
	go func() {
		defer c.work.Done()
		defer close(k.done)
		defer cancel()
		st, err := c.store.check(ctx, o.key, o.size)
		c.mu.Lock()
		defer c.mu.Unlock()
		o.check = nil
		switch {
		case o.state != present:
		case err == nil:
			o.trusted, o.flushed = true, false
			o.mtime, o.inode = st.mtime, st.inode
			c.setState(o, present, st.blocks)
			c.fresh = append(c.fresh, o)
		case ctx.Err() == nil:
			o.trusted = false
			c.note(o, "", fmt.Errorf("the cached content is damaged and removed: %w", err))
			c.startRemoval(o)
		}
		c.forget(o)
	}()
	return k
}

// check compares an object's file with its key.
func (s store) check(ctx context.Context, key annex.Key, size int64) (fileState, error) {
	f, before, err := s.open(key)
	if err != nil {
		return before, err
	}
	defer f.Close()
	if before.size != size {
		return before, fmt.Errorf("%w: it has %d bytes, not %d", ErrMismatch, before.size, size)
	}
	h, want, _ := key.NewHash()
	if err := hashFile(ctx, h, f); err != nil {
		return before, err
	}
	after, err := stateOf(f)
	if err != nil {
		return before, err
	}
	if hex.EncodeToString(h.Sum(nil)) != want || after.mtime != before.mtime {
		return before, ErrMismatch
	}
	return after, nil
}

// Verify hashes what the cache holds of a key, whatever is known of it. A
// damaged object is removed, and the error is [ErrMismatch]. Without an object
// there is nothing to do.
func (c *Cache) Verify(ctx context.Context, key annex.Key) error {
	c.mu.Lock()
	o := c.objects[key]
	if o == nil || o.state != present || o.evicting != nil || c.closed {
		c.mu.Unlock()
		return nil
	}
	o.refs++
	k := c.startCheck(o)
	c.mu.Unlock()
	err := wait(ctx, k.done)
	c.mu.Lock()
	defer c.mu.Unlock()
	o.refs--
	if err == nil && !o.trusted {
		err = fmt.Errorf("%s: %w", key, ErrMismatch)
	}
	if o.refs == 0 && o.check != nil {
		o.check.cancel()
	}
	c.forget(o)
	return err
}

func hashFile(ctx context.Context, h hash.Hash, r io.Reader) error {
	for {
		n, err := io.CopyN(h, r, chunk)
		if err == io.EOF && n < chunk {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
