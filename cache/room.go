package cache

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/queue"
)

// roomWaiter is a request that waits for room. Those that readers wait for are
// asked first, and else in the order they came; one that fits does not wait
// for one that does not.
type roomWaiter struct {
	t     *transfer
	need  int64
	class queue.Class
	ready chan struct{} // something may have changed
}

// reserve makes sure that need more bytes of a transfer fit under the budget
// and above the disk's floor, evicting what is coldest. Errors are a
// [NoSpaceError], ctx's, or the disk's.
func (c *Cache) reserve(ctx context.Context, t *transfer, need int64, as queue.Class) error {
	w := &roomWaiter{t: t, need: need, class: as, ready: make(chan struct{}, 1)}
	c.do(func() {
		i := len(c.books.waiting)
		for i > 0 && c.books.waiting[i-1].class > as {
			i--
		}
		c.books.waiting = slices.Insert(c.books.waiting, i, w)
	})
	defer c.wakeRoomWaiters()
	defer c.do(func() {
		c.books.waiting = slices.DeleteFunc(c.books.waiting, func(x *roomWaiter) bool { return x == w })
	})
	deadline := time.NewTimer(c.options.RoomWait)
	defer deadline.Stop()
	late := false
	for {
		done, victims, err := c.tryReserve(w, late)
		if done || err != nil {
			return err
		}
		if len(victims) > 0 {
			c.evict(victims) // what cannot be removed is passed over the next time
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
func (c *Cache) tryReserve(w *roomWaiter, late bool) (done bool, victims []*item, err error) {
	for {
		var before uint64
		c.do(func() { before = c.books.changes })
		free, floor, err := c.space()
		if err != nil {
			return false, nil, err
		}
		again := false
		c.do(func() {
			// Blocks that were allocated meanwhile are in neither account.
			if again = c.books.changes != before; !again {
				done, victims, err = c.decide(w, late, free, floor)
			}
		})
		if !again {
			return done, victims, err
		}
	}
}

// space returns the disk's free bytes, and those that are to stay free.
func (c *Cache) space() (free, floor int64, err error) {
	free, total, err := c.store.Space(c.store.Dir)
	floor = c.options.Floor
	if floor == 0 {
		floor = min(total/20, 1<<30)
	}
	return free, max(floor, 0), err
}

// decide is tryReserve's decision. Callers hold mu.
func (c *Cache) decide(w *roomWaiter, late bool, free, floor int64) (done bool, victims []*item, err error) {
	b := &c.books
	over := max(b.used+b.reserved+w.need-b.budget, w.need+b.unallocated+floor-free)
	if over <= 0 {
		w.t.account.reserved += w.need
		b.reserved += w.need
		b.unallocated += w.need
		b.changes++
		return true, nil, nil
	}
	if victims = c.victims(over, false); len(victims) > 0 {
		return false, victims, nil
	}
	all := w.t.account.reserved + w.need
	switch {
	case all+b.pinned > b.budget:
		why := fmt.Sprintf("the budget is %d bytes", b.budget)
		if b.pinned > 0 {
			why += fmt.Sprintf(", of which %d are pinned", b.pinned)
		}
		return false, nil, &NoSpaceError{Need: all, Why: why, Never: true}
	case w.need+floor-free > b.used-b.pinned:
		return false, nil, &NoSpaceError{Need: w.need, Why: fmt.Sprintf("the disk has %d bytes free, of which %d are to stay free", free, floor), Never: true}
	case late:
		return false, nil, &NoSpaceError{Need: w.need, Why: fmt.Sprintf("of the budget of %d bytes, %d are pinned, %d in use, and %d reserved by transfers", b.budget, b.pinned, b.used-b.pinned-b.evictable(), b.reserved)}
	}
	return false, nil, nil
}

// evictForDisk makes room when the disk is full although the books are not.
func (c *Cache) evictForDisk(need int64) bool {
	var victims []*item
	c.do(func() { victims = c.victims(need, true) })
	return len(victims) > 0 && c.evict(victims) == nil
}

// wakeRoomWaiters wakes those that wait for room.
func (c *Cache) wakeRoomWaiters() {
	c.do(func() {
		for _, w := range c.books.waiting {
			select {
			case w.ready <- struct{}{}:
			default:
			}
		}
	})
}
