package cache

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/layout"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

const (
	flushEvery = time.Second      // data of new objects
	noteEvery  = 30 * time.Second // order of use
)

// ledgerState is what the ledger has yet to learn. Guarded by Cache.mu, but for
// the lock that is held while it is written.
type ledgerState struct {
	saving   disk.Turn
	dirty    map[annex.Key]bool // it is behind on these
	unsynced []*object          // written, not flushed
	resting  []*fill            // the same
}

// keepLedger runs until the cache is closed.
func (c *Cache) keepLedger() {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-c.ctx.Done():
			return
		case now := <-tick.C:
			due := false
			c.do(func() {
				c.unstick()
				c.failures.sweep()
				l := &c.ledger
				due = len(l.unsynced)+len(l.resting) > 0 || len(l.dirty) > 0 && now.Sub(last) >= noteEvery
			})
			c.wakeRoomWaiters()
			if !due {
				continue
			}
			last = now
			if err := c.flushLedger(c.ctx); err != nil {
				c.log.Warn("ledger is behind: objects may be hashed again", "err", err)
			}
		}
	}
}

// flushLedger flushes the data of new objects and brings the ledger up to
// date: first the data, then the record that vouches for it. When ctx ends, what
// was not flushed stays unvouched for.
func (c *Cache) flushLedger(ctx context.Context) error {
	var objects []*object
	var fills []*fill
	c.do(func() {
		objects, fills = c.ledger.unsynced, c.ledger.resting
		c.ledger.unsynced, c.ledger.resting = nil, nil
	})
	for len(fills) > 0 && ctx.Err() == nil {
		c.flushFill(fills[0])
		fills = fills[1:]
	}
	for len(objects) > 0 && ctx.Err() == nil {
		c.flushObject(objects[0])
		objects = objects[1:]
	}
	c.do(func() {
		c.ledger.resting = append(fills, c.ledger.resting...)
		c.ledger.unsynced = append(objects, c.ledger.unsynced...)
	})
	return c.saveLedger()
}

// saveLedger writes what has changed into the ledger.
func (c *Cache) saveLedger() error {
	c.ledger.saving.Lock()
	defer c.ledger.saving.Unlock()
	var put []Record
	var del []annex.Key
	c.do(func() {
		for key := range c.ledger.dirty {
			switch o := c.objects[key]; {
			case o != nil && o.phase == present && !o.synced:
				continue // it is going to be flushed
			case o != nil && o.phase == present:
				put = append(put, o.record())
			default:
				del = append(del, key)
			}
			delete(c.ledger.dirty, key)
		}
	})
	if c.options.Ledger == nil || len(put)+len(del) == 0 {
		return nil
	}
	err := c.options.Ledger.Save(put, del)
	if err != nil {
		c.do(func() {
			for _, r := range put {
				c.ledger.dirty[r.Key] = true
			}
			for _, key := range del {
				c.ledger.dirty[key] = true
			}
		})
	}
	return err
}

// disavow has the ledger vouch no more for an object that is damaged, before
// anybody is told: should this process end before the file is gone, the next one
// hashes it.
func (c *Cache) disavow(o *object) {
	if c.options.Ledger == nil {
		return
	}
	c.do(func() { o.synced = false }) // what is not flushed is not vouched for
	c.ledger.saving.Lock()
	defer c.ledger.saving.Unlock()
	if err := c.options.Ledger.Save(nil, []annex.Key{o.key}); err != nil {
		c.log.Error("the ledger still vouches for a damaged object", "key", o.key, "err", err)
	}
}

// flushObject flushes an object's data, unless it is being checked: then that
// decides. Meanwhile it is not evicted: an open file's blocks stay in use.
func (c *Cache) flushObject(o *object) error {
	var id disk.ID
	begun := false
	c.do(func() {
		if begun = o.phase == present && !o.synced && o.flushing == nil && o.check == nil; begun {
			o.flushing, id = make(chan struct{}), o.id
			c.settle(o)
		}
	})
	if !begun {
		return nil
	}
	err := c.store.Flush(o.key, o.size, id)
	c.do(func() {
		close(o.flushing)
		o.flushing = nil
		same := o.phase == present && o.id == id
		switch {
		case err == nil && same:
			o.synced = true
			c.ledger.dirty[o.key] = true
		case same && !errors.Is(err, layout.ErrUnopened):
			c.log.Error("not flushed", "key", o.key, "err", err)
			c.distrust(o, id)
		case same:
			c.log.Info("not flushed yet", "key", o.key, "err", err)
			c.ledger.unsynced = append(c.ledger.unsynced, o)
		}
		c.settle(o)
	})
	c.wakeRoomWaiters()
	return err
}

// distrust has what the disk holds of an object hashed. What it did not take the
// kernel alone may keep, for as long as it likes, and no later flush would tell.
// Callers hold mu.
func (c *Cache) distrust(o *object, id disk.ID) {
	if o.phase != present || o.id != id {
		return
	}
	c.move(o, unchecked)
	if !c.closed {
		c.startCheck(o)
	}
}

// Flush returns when the content of keys that is here would survive a power cut,
// or with what the disk said. What is not here is passed over. It is for what is
// promised, as pins are: all else is flushed in the background.
func (c *Cache) Flush(ctx context.Context, keys []annex.Key) error {
	for _, key := range keys {
		if err := c.flushKey(ctx, key); err != nil {
			return fmt.Errorf("%s would not survive a power cut: %w", key, err)
		}
	}
	return nil
}

func (c *Cache) flushKey(ctx context.Context, key annex.Key) error {
	for range rounds {
		var o *object
		var busy <-chan struct{}
		c.do(func() {
			switch o = c.objects[key]; {
			case o == nil:
			case o.check != nil:
				busy = o.check.done
			case o.flushing != nil:
				busy = o.flushing
			case o.phase != present || o.synced:
				o = nil
			}
		})
		err := error(nil)
		switch {
		case o == nil:
			return nil
		case busy != nil:
			err = wait(ctx, busy)
		default:
			err = c.flushObject(o)
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("it changes all the time: %w", syscall.EIO)
}

// flushFill flushes a partial file at rest.
func (c *Cache) flushFill(f *fill) {
	begun := false
	c.do(func() {
		if begun = f.item.blocks > 0 && f.transfer == nil && f.removed == nil && f.flushing == nil; begun {
			f.flushing = make(chan struct{})
			c.settle(f.o)
		}
	})
	if !begun {
		return
	}
	// A transfer that goes on with it meanwhile writes a map of its own.
	if err := f.file.Flush(); err != nil {
		c.log.Info("a partial file is not flushed", "key", f.o.key, "err", err)
	}
	c.do(func() {
		close(f.flushing)
		f.flushing = nil
		c.settle(f.o)
	})
	c.wakeRoomWaiters()
}
