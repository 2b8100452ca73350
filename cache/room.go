package cache

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

// roomWaiter is a transfer that waits for others to free room. They are
// served in the order they came.
type roomWaiter struct {
	o     *object
	need  int64
	ready chan struct{} // something may have changed
}

// reserve makes sure that a transfer's blocks fit under the budget and above
// the disk's floor, evicting what is coldest. The partial file that may be
// there becomes part of the reservation.
func (c *Cache) reserve(ctx context.Context, o *object, need int64) error {
	w := &roomWaiter{o: o, need: need, ready: make(chan struct{}, 1)}
	c.mu.Lock()
	c.waiting = append(c.waiting, w)
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
	o := w.o
	if c.waiting[0] != w && !late {
		return false, nil, nil
	}
	free, floor, err := c.store.space(c.options.Floor)
	if err != nil {
		return false, nil, err
	}
	over := max(c.used-o.blocks+c.reserved+w.need-c.budget, w.need+c.unmade+floor-free-o.blocks)
	if over <= 0 {
		c.setState(o, absent, 0)
		c.reserved += w.need
		c.unmade += w.need
		return true, nil, nil
	}
	if victims = c.victims(over, false, o); len(victims) > 0 {
		return false, victims, nil
	}
	pinned, open := c.fixedBlocks(o)
	switch {
	case w.need+pinned > c.budget:
		why := fmt.Sprintf("the budget is %d bytes", c.budget)
		if pinned > 0 {
			why += fmt.Sprintf(", of which %d are pinned", pinned)
		}
		return false, nil, &NoSpaceError{Need: w.need, Why: why}
	case w.need+floor-free > c.used-pinned:
		return false, nil, &NoSpaceError{Need: w.need, Why: fmt.Sprintf("the disk has %d bytes free, of which %d are to stay free", free, floor)}
	case late:
		return false, nil, &NoSpaceError{Need: w.need, Why: fmt.Sprintf("of the budget of %d bytes, %d are pinned, %d open, and %d reserved by other transfers", c.budget, pinned, open, c.reserved)}
	}
	return false, nil, nil
}

// fixedBlocks sums what can never be evicted (pinned) and what cannot be
// evicted now (open), leaving out one object. Callers hold mu.
func (c *Cache) fixedBlocks(except *object) (pinned, open int64) {
	for e := c.lru.order.Front(); e != nil; e = e.Next() {
		switch o := e.Value.(*object); {
		case o == except:
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
func (c *Cache) victims(over int64, some bool, except ...*object) []*object {
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
			if o.state == want && c.evictable(o) && !slices.Contains(except, o) {
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
	return o.refs == 0 && o.evicting == nil && o.transfer == nil && o.check == nil && o.state != absent && !c.pins.has(o.key)
}

// evict removes marked objects from the disk. One that cannot be removed stays
// on the books; the first such error is returned.
func (c *Cache) evict(marked []*object) (first error) {
	for _, o := range marked {
		err := c.removeFile(o)
		c.mu.Lock()
		if err == nil {
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

// allocated notes that a reservation is now in the disk's own books.
func (c *Cache) allocated(o *object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.transfer != nil && !o.transfer.ticket.made {
		o.transfer.ticket.made = true
		c.unmade -= charge(o.size)
	}
}

// settle exchanges a transfer's reservation for what is on disk now.
func (c *Cache) settle(t *transfer, need int64) {
	o := t.o
	var left int64
	if t.final == nil {
		left = c.leftover(o)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reserved -= need
	if !t.ticket.made {
		c.unmade -= need
	}
	switch {
	case t.final != nil:
		c.setState(o, present, t.final.blocks)
		o.trusted, o.flushed = true, false
		o.mtime, o.inode, o.owner = t.final.mtime, t.final.inode, t.use.Owner
		c.lru.touch(o)
		c.fresh = append(c.fresh, o)
	case left > 0:
		c.setState(o, partial, left)
		o.owner = t.use.Owner
	}
}

// leftover returns the blocks, in bytes, of what a failed transfer leaves for
// the next.
func (c *Cache) leftover(o *object) int64 {
	f, st, err := openFile(c.store.partial(o.key), os.O_RDONLY)
	if err != nil {
		return 0
	}
	defer f.Close()
	if st.size == 0 {
		os.Remove(f.Name())
		return 0
	}
	return st.blocks
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
