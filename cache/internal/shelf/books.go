package shelf

import (
	"container/heap"
	"time"
)

type itemKind uint8

const (
	objectItem itemKind = iota
	partialItem
	asideItem
)

// item is a file of the cache that takes room. Guarded by the lock.
type item struct {
	kind   itemKind
	o      *Object
	f      *Fill  // of a partialItem
	blocks int64  // on disk, in bytes
	seq    uint64 // last use
	owner  string
	at     int       // in the heap of what can be evicted, or -1
	going  bool      // it is being removed
	stuck  time.Time // it could not be removed: left alone until then
}

// books are the cache's accounts, in bytes of disk. Guarded by the lock.
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
