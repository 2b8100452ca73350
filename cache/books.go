package cache

import (
	"container/heap"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/layout"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
)

type itemKind uint8

const (
	objectItem itemKind = iota
	partialItem
	asideItem
)

// item is a file of the cache that takes room. Guarded by Cache.mu.
type item struct {
	kind   itemKind
	o      *object
	f      *fill  // of a partialItem
	blocks int64  // on disk, in bytes
	seq    uint64 // last use
	owner  string
	at     int       // in the heap of what can be evicted, or -1
	going  bool      // it is being removed
	stuck  time.Time // it could not be removed: left alone until then
}

// books are the cache's accounts, in bytes of disk. Guarded by Cache.mu.
//
// used + reserved never exceeds the budget, but for pinned files that a smaller
// budget no longer holds.
type books struct {
	budget      int64
	used        int64 // files at rest
	reserved    int64 // for transfers: what they have on disk, and what they may add
	unallocated int64 // of reserved, what is not allocated on the disk yet
	pinned      int64 // of used
	cold        [3]coldest
	stuck       []*item
	waiting     []*roomWaiter
	clock       uint64 // counts uses
	changes     uint64 // counts changes of unallocated
}

// set changes what an item takes.
func (b *books) set(i *item, blocks int64, pinned bool) {
	if pinned {
		b.pinned += blocks - i.blocks
	}
	b.used += blocks - i.blocks
	if i.at >= 0 {
		b.cold[i.kind].blocks += blocks - i.blocks
	}
	i.blocks = blocks
}

// place puts an item among what can be evicted, or takes it out.
func (b *books) place(i *item, evictable bool) {
	evictable = evictable && !i.going && (i.stuck.IsZero() || time.Now().After(i.stuck))
	cold := &b.cold[i.kind]
	switch {
	case evictable && i.at < 0:
		heap.Push(cold, i)
		cold.blocks += i.blocks
	case !evictable && i.at >= 0:
		heap.Remove(cold, i.at)
		cold.blocks -= i.blocks
	case evictable:
		heap.Fix(cold, i.at)
	}
}

// evictable returns how much can be evicted, in bytes.
func (b *books) evictable() (n int64) {
	for k := range b.cold {
		n += b.cold[k].blocks
	}
	return n
}

// coldest is a heap of items by their last use.
type coldest struct {
	items  []*item
	blocks int64 // of all, in bytes
}

func (h *coldest) Len() int           { return len(h.items) }
func (h *coldest) Less(i, j int) bool { return h.items[i].seq < h.items[j].seq }
func (h *coldest) Swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.items[i].at, h.items[j].at = i, j
}

// Push implements heap.Interface.
func (h *coldest) Push(x any) {
	i := x.(*item)
	i.at = len(h.items)
	h.items = append(h.items, i)
}

// Pop implements heap.Interface.
func (h *coldest) Pop() any {
	last := len(h.items) - 1
	i := h.items[last]
	h.items[last] = nil
	h.items = h.items[:last]
	i.at = -1
	return i
}

// victims picks what makes up for over bytes and marks it: what is damaged
// first, then partial files, then objects, the coldest of each first. Without
// enough of them it picks none, unless some are better than none. Callers hold
// mu and then call evict.
func (c *Cache) victims(over int64, some bool) (found []*item) {
	if over <= 0 || !some && c.books.evictable() < over {
		return nil
	}
	for _, kind := range []itemKind{asideItem, partialItem, objectItem} {
		cold := &c.books.cold[kind]
		for over > 0 && cold.Len() > 0 {
			i := cold.items[0]
			over -= i.blocks
			c.mark(i)
			found = append(found, i)
		}
	}
	return found
}

// mark says that the caller is going to remove an item. Callers hold mu.
func (c *Cache) mark(i *item) {
	switch i.kind {
	case objectItem:
		c.move(i.o, removing)
	case partialItem:
		i.f.removed = make(chan struct{})
		c.settle(i.o)
	case asideItem:
		i.going = true
		c.settle(i.o)
	}
}

// evict removes marked items from the disk.
func (c *Cache) evict(marked []*item) (first error) {
	for _, i := range marked {
		if err := c.removeMarked(i, false); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// removeMarked removes a marked item. One that cannot be removed stays on the
// books and is left alone for a while: others make room instead.
func (c *Cache) removeMarked(i *item, aside bool) error {
	var err error
	var left int64 // of a partial file that could not be removed
	switch i.kind {
	case objectItem:
		err = c.store.RemoveObject(i.o.key, aside)
	case partialItem:
		if err = c.store.RemoveFill(i.f.file); err != nil {
			left = c.store.Left(i.f.file.Ident.Name()) // some of its files may be gone
			if c.store.IsGone(i.f.file.Ident.Name()) {
				err = nil
			}
		}
	case asideItem:
		if err = c.store.Remove(c.store.SetAside(i.o.key)); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	c.do(func() {
		o, pinned := i.o, c.pinned[i.o.key]
		if err != nil {
			c.log.Error("cannot remove", "key", o.key, "err", err)
			if i.kind == partialItem && left > 0 { // else it cannot be looked at
				c.books.set(i, left, pinned)
			}
			i.stuck = time.Now().Add(stuckFor)
			c.books.stuck = append(c.books.stuck, i)
		} else {
			if aside {
				c.books.set(&o.aside, i.blocks, false)
			}
			c.books.set(i, 0, pinned && i.kind != asideItem)
			i.stuck = time.Time{}
		}
		switch {
		case i.kind == partialItem:
			if err == nil && i.f.exposed {
				c.revoke(o, i.f.dataset) // nothing can prove these bytes any more
				i.f.exposed = false
			}
			close(i.f.removed)
			i.f.removed = nil
			// A file that was thrown away is not the same when it is made again.
			i.f.file = partial.New(c.store, c.store.Partials(), i.f.file.Ident, o.size)
			c.settle(o)
		case i.kind == asideItem:
			i.going = false
			c.settle(o)
		case err != nil:
			c.move(o, unchecked)
		default:
			c.move(o, absent)
		}
	})
	if err != nil {
		return fmt.Errorf("cannot remove %s: %w", i.o.key, err)
	}
	return nil
}

// unstick gives what could not be removed another chance. Callers hold mu.
func (c *Cache) unstick() {
	var still []*item
	for _, i := range c.books.stuck {
		if time.Now().Before(i.stuck) {
			still = append(still, i)
		} else {
			c.settle(i.o)
		}
	}
	c.books.stuck = still
}

// account is a transfer's part of the books, in bytes of disk. Guarded by
// Cache.mu.
type account struct {
	reserved  int64
	allocated int64 // of them allocated on the disk
}

// take makes the partial file that is at rest part of a transfer's
// reservation. Callers hold mu.
func (c *Cache) take(t *transfer) {
	n := t.f.item.blocks
	c.books.set(&t.f.item, 0, c.pinned[t.o.key])
	t.account = account{n, n}
	c.books.reserved += n
}

// noteAllocated notes that n bytes of a reservation are now in the disk's own
// books; less than nothing, that they no longer are. Callers hold mu.
func (c *Cache) noteAllocated(t *transfer, n int64) {
	n = max(min(n, t.account.reserved-t.account.allocated), -t.account.allocated)
	t.account.allocated += n
	c.books.unallocated -= n
	c.books.changes++
}

// release exchanges a transfer's reservation for what is on disk now: the
// published object of that many blocks, or a partial file of left bytes, or
// nothing. Callers hold mu.
func (c *Cache) release(t *transfer, object, left int64) {
	b, o, pinned := &c.books, t.o, c.pinned[t.o.key]
	b.reserved -= t.account.reserved
	b.unallocated -= t.account.reserved - t.account.allocated
	b.changes++
	t.account = account{}
	if object >= 0 {
		b.set(&o.file, object, pinned)
		o.file.owner = t.use.Owner
	}
	if left > 0 {
		b.set(&t.f.item, left, pinned)
		t.f.item.owner = t.use.Owner
	}
}

// cost is what a content takes at most, in bytes, when it is fetched whole.
func (t *transfer) cost() int64 { return layout.Charge(t.o.size) }

type interval = partial.Interval
