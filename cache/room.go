package cache

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"time"
)

// roomWaiter is a transfer that waits for others to free room. Those that
// readers wait for are served first, and else in the order they came.
type roomWaiter struct {
	t     *transfer
	need  int64
	class class
	ready chan struct{} // something may have changed
}

// reserve makes sure that need more bytes of a transfer fit under the budget
// and above the disk's floor, evicting what is coldest.
func (c *Cache) reserve(ctx context.Context, t *transfer, need int64, as class) error {
	w := &roomWaiter{t: t, need: need, class: as, ready: make(chan struct{}, 1)}
	c.mu.Lock()
	i := len(c.waiting)
	for i > 0 && c.waiting[i-1].class > as {
		i--
	}
	c.waiting = slices.Insert(c.waiting, i, w)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.waiting = slices.DeleteFunc(c.waiting, func(x *roomWaiter) bool { return x == w })
		c.mu.Unlock()
		c.pump()
	}()
	deadline := time.NewTimer(c.options.RoomWait)
	defer deadline.Stop()
	late := false
	for {
		done, victims, err := c.tryReserve(w, late)
		if done || err != nil {
			return err
		}
		if len(victims) > 0 {
			if err := c.evict(victims); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			late = true
		case <-w.ready:
		}
	}
}

// tryReserve reserves, or names what must be evicted first, or says that it
// must wait (no victims, no error), or that it cannot be.
func (c *Cache) tryReserve(w *roomWaiter, late bool) (done bool, victims []*object, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[0] != w && !late {
		return false, nil, nil
	}
	free, floor, err := c.store.space(c.options.Floor)
	if err != nil {
		return false, nil, err
	}
	over := max(c.used+c.reserved+w.need-c.budget, w.need+c.unmade+floor-free)
	if over <= 0 {
		w.t.reserved += w.need
		c.reserved += w.need
		c.unmade += w.need
		return true, nil, nil
	}
	if victims = c.victims(over, false); len(victims) > 0 {
		return false, victims, nil
	}
	pinned, open := c.fixedBlocks()
	all := w.t.reserved + w.need
	switch {
	case all+pinned > c.budget:
		why := fmt.Sprintf("the budget is %d bytes", c.budget)
		if pinned > 0 {
			why += fmt.Sprintf(", of which %d are pinned", pinned)
		}
		return false, nil, &NoSpaceError{Need: all, Why: why}
	case w.need+floor-free > c.used-pinned:
		return false, nil, &NoSpaceError{Need: w.need, Why: fmt.Sprintf("the disk has %d bytes free, of which %d are to stay free", free, floor)}
	case late:
		return false, nil, &NoSpaceError{Need: w.need, Why: fmt.Sprintf("of the budget of %d bytes, %d are pinned, %d open, and %d reserved by transfers", c.budget, pinned, open, c.reserved)}
	}
	return false, nil, nil
}

// fixedBlocks sums what can never be evicted (pinned) and what cannot be
// evicted now (open). Callers hold mu.
func (c *Cache) fixedBlocks() (pinned, open int64) {
	for e := c.lru.order.Front(); e != nil; e = e.Next() {
		switch o := e.Value.(*object); {
		case c.pins.has(o.key):
			pinned += o.blocks
		case o.refs > 0:
			open += o.blocks
		}
	}
	return pinned, open
}

// victims picks the coldest evictable objects that make up for over bytes, and
// marks them. Unused partial files go first. Without enough of them it picks
// none, unless some are better than none. Callers hold mu and then call evict.
func (c *Cache) victims(over int64, some bool) []*object {
	if over <= 0 {
		return nil
	}
	var found []*object
	for _, want := range []presence{partial, present} {
		if want == partial && c.partials == 0 {
			continue
		}
		for e := c.lru.order.Front(); e != nil && over > 0; e = e.Next() {
			o := e.Value.(*object)
			if o.state == want && c.evictable(o) {
				found = append(found, o)
				over -= o.blocks
			}
		}
	}
	if over > 0 && !some {
		return nil
	}
	for _, o := range found {
		o.evicting = make(chan struct{})
	}
	return found
}

func (c *Cache) evictable(o *object) bool {
	return o.refs == 0 && o.evicting == nil && o.flushing == nil && o.transfer == nil && o.check == nil && o.state != absent && !c.pins.has(o.key)
}

// evict removes marked objects from the disk. One that cannot be removed stays
// on the books; the first such error is returned.
func (c *Cache) evict(marked []*object) (first error) {
	for _, o := range marked {
		err := c.removeFile(o)
		c.mu.Lock()
		if err == nil {
			c.recall(o) // a part that nobody verified
			c.setState(o, absent, 0)
		} else if first == nil {
			first = fmt.Errorf("cannot evict %s: %w", o.key, err)
			c.log.Error("cannot evict", "key", o.key, "err", err)
		}
		close(o.evicting)
		o.evicting = nil
		c.forget(o)
		c.mu.Unlock()
	}
	return first
}

func (c *Cache) removeFile(o *object) error {
	if o.state == partial {
		if err := os.Remove(c.store.partial(o.key)); err != nil && !os.IsNotExist(err) {
			return err
		}
		return nil
	}
	return c.store.remove(o.key)
}

// startRemoval removes an object that is not what it should be, in the
// background. Callers hold mu.
func (c *Cache) startRemoval(o *object) {
	if o.evicting != nil || c.closed {
		return
	}
	o.evicting = make(chan struct{})
	c.work.Add(1)
	go func() {
		defer c.work.Done()
		c.evict([]*object{o})
		c.pump()
	}()
}

// take makes the partial file that is there part of a transfer's reservation.
// Callers hold mu.
func (c *Cache) take(t *transfer) {
	t.reserved, t.made = t.o.blocks, t.o.blocks
	c.reserved += t.reserved
	c.setState(t.o, absent, 0)
}

// allocated notes that n bytes of a reservation are now in the disk's own
// books; less than nothing, that they no longer are.
func (c *Cache) allocated(t *transfer, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = max(min(n, t.reserved-t.made), -t.made)
	t.made += n
	c.unmade -= n
}

// gone notes that nothing of a reservation is on the disk any more.
func (c *Cache) gone(t *transfer) { c.allocated(t, math.MinInt64) }

// settle exchanges a transfer's reservation for what is on disk now: the
// published object, or a partial file of left bytes in blocks, or nothing.
// Callers hold mu.
func (c *Cache) settle(t *transfer, final *fileState, left int64) {
	o := t.o
	c.reserved -= t.reserved
	c.unmade -= t.reserved - t.made
	t.reserved, t.made = 0, 0
	switch {
	case final != nil:
		c.setState(o, present, final.blocks)
		o.trusted, o.flushed = true, false
		o.mtime, o.inode, o.owner = final.mtime, final.inode, t.use.Owner
		c.lru.touch(o)
		c.fresh = append(c.fresh, o)
	case left > 0:
		c.setState(o, partial, left)
		o.owner = t.use.Owner
		c.fresh = append(c.fresh, o)
	}
}

// evictForDisk makes room when the disk is full although the budget is not.
func (c *Cache) evictForDisk(need int64) bool {
	c.mu.Lock()
	victims := c.victims(need, true)
	c.mu.Unlock()
	return len(victims) > 0 && c.evict(victims) == nil
}

// pump wakes the first of those that wait for room.
func (c *Cache) pump() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) > 0 {
		select {
		case c.waiting[0].ready <- struct{}{}:
		default:
		}
	}
}
