package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// check is an object on disk being compared with its key.
type check struct {
	done   chan struct{}
	cancel context.CancelFunc
	asked  int   // requests to verify that wait for it; guarded by Cache.mu
	err    error // valid after done
}

// leave ends a check that nobody waits for. Callers hold Cache.mu, and know of
// no open handle.
func (k *check) leave() {
	if k.asked == 0 {
		k.cancel()
	}
}

// startCheck starts the object's check, or joins the one that runs. A damaged
// object is removed. Callers hold mu.
func (c *Cache) startCheck(o *object) *check {
	if o.check != nil {
		return o.check
	}
	ctx, cancel := context.WithCancel(c.ctx)
	k := &check{done: make(chan struct{}), cancel: cancel}
	o.check = k
	c.settle(o)
	finish := func(info disk.Info, err error) {
		c.do(func() {
			o.check, k.err = nil, err
			c.checked(o, info, err)
			c.settle(o)
		})
		cancel()
		close(k.done)
	}
	c.spawn("a check", func() {
		info, err := c.store.Check(ctx, o.key, o.size)
		if isDamage(err) {
			c.disavow(o)
		}
		finish(info, err)
	}, func(err error) { finish(disk.Info{}, err) })
	return k
}

// checked draws the conclusions from a check. Callers hold mu.
func (c *Cache) checked(o *object, info disk.Info, err error) {
	switch {
	case o.phase != present && o.phase != unchecked:
	case err == nil:
		changed := o.id != info.ID
		o.id = info.ID
		c.books.set(&o.file, info.Charge(), c.pinned[o.key])
		if o.phase == unchecked {
			c.move(o, present)
		}
		o.synced = o.synced && !changed
	case errors.Is(err, fs.ErrNotExist):
		c.vanished(o)
	case isDamage(err):
		c.damaged(o, err)
	}
	// Whatever else happened says nothing about the object.
	if o.phase == present && !o.synced {
		c.ledger.unsynced = append(c.ledger.unsynced, o)
	}
}

// Verify hashes what the cache holds of a key, whatever is known of it. A
// damaged object is removed, or set aside if it is pinned; what was served of it
// is revoked; and the error is [ErrMismatch]. Any other error says that it could
// not be found out. Without an object there is nothing to do.
func (c *Cache) Verify(ctx context.Context, key annex.Key) error {
	var k *check
	c.do(func() {
		o := c.objects[key]
		if o == nil || o.phase != present && o.phase != unchecked || c.closed {
			return
		}
		k = c.startCheck(o)
		k.asked++
	})
	if k == nil {
		return nil
	}
	err := wait(ctx, k.done)
	c.do(func() {
		k.asked--
		if o := c.objects[key]; o != nil && o.check == k && len(o.handles) == 0 {
			k.leave()
		}
	})
	if err != nil {
		return err
	}
	switch {
	case k.err == nil:
		return nil
	case isDamage(k.err):
		return fmt.Errorf("%s: %w", key, errors.Join(ErrMismatch, k.err))
	}
	return k.err
}
