package cache

import (
	"fmt"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/cache/internal/readplan"
)

// A content that never fits into the cache as a whole streams through it: of
// its partial file only a window is on disk at a time, and what lies behind the
// readers is given back. It is hashed as it comes, so a reader who goes through
// it from its start reads its last chunk only when all was right. Who wants the
// end alone, or everything verified first, is refused.

const windowMost = 64 << 20

// becomeWindowed makes a transfer of what does not fit one with a window.
// Callers hold the lock.
func (t *transfer) becomeWindowed(why *NoSpaceError) {
	budget, pinned := t.c.shelf.Budget()
	limit := min((budget-pinned)/4, int64(windowMost)) / readplan.ChunkSize * readplan.ChunkSize
	if limit < t.c.options.window {
		t.failLocally(nil, why)
		return
	}
	t.content.limit = limit
	t.wanted.complete, t.wanted.keep = false, false
	for h, p := range t.wanted.plans {
		t.wanted.plans[h] = t.limited(p)
	}
	var refused []*waiter
	for _, w := range t.wanted.waiters {
		if t.hopeless(w) != nil {
			refused = append(refused, w)
		}
	}
	for _, w := range refused {
		t.refuse(t.hopeless(w), func(x *waiter) bool { return x == w })
	}
	t.kick()
}

// windowCost is what a window takes at most, in bytes of disk.
func windowCost(limit int64) int64 { return limit + 4*disk.Block }

// limited cuts a read plan to what the window holds. Callers hold the lock.
func (t *transfer) limited(p readplan.Plan) readplan.Plan {
	limit := t.content.limit
	if limit == 0 {
		return p
	}
	each := max(limit/2/int64(max(len(t.wanted.handles), 1))/readplan.ChunkSize*readplan.ChunkSize, readplan.ChunkSize)
	p.Now.End = min(p.Now.End, p.Now.Off+max(each, 1<<20))
	p.Until = min(p.Until, p.Now.Off+each)
	p.Complete = false
	return p
}

// hopeless returns why a waiter for a content that streams through can never be
// served. Callers hold the lock.
func (t *transfer) hopeless(w *waiter) error {
	c := &t.content
	if c.limit == 0 {
		return nil
	}
	why := ""
	switch {
	case w.whole:
		why = "the whole of it would have to be kept"
	case !t.inFaith(w.h):
		why = "it streams through, so it cannot be verified before it is read"
	case !t.supply.Exact():
		why = "it streams through, and its source does not name the exact version: it would have to be verified before it is read"
	case w.Len() > c.limit/2:
		why = "it streams through, and more was asked for at once than is kept of it"
	case w.End > readplan.Last(t.o.Size) && !c.proven && c.part != nil && readplan.Last(t.o.Size)-c.stock.Have.From(c.part.Hashed()) > c.limit/2:
		why = "it streams through, and its end is verified only for a reader who goes through it from its start"
	default:
		return nil
	}
	budget, pinned := t.c.shelf.Budget()
	return &NoSpaceError{Need: t.cost(), Why: fmt.Sprintf("it is larger than the budget of %d bytes, of which %d are pinned; %s", budget, pinned, why), Never: true}
}

// windowFor is what a waiter needs of a content that streams through. Callers
// hold the lock.
func (t *transfer) windowFor(w *waiter) interval {
	want := interval{Off: w.Off / readplan.ChunkSize * readplan.ChunkSize, End: min((w.End+readplan.ChunkSize-1)/readplan.ChunkSize*readplan.ChunkSize, t.o.Size)}
	if w.End > readplan.Last(t.o.Size) && !t.content.proven && t.content.part != nil {
		want.Off = min(want.Off, t.content.part.Hashed()) // all up to there goes into the hash
	}
	return want
}

// withinLimit cuts a gap to what the window has room for. Callers hold the lock.
func (t *transfer) withinLimit(gap interval) interval {
	c := &t.content
	if c.limit == 0 {
		return gap
	}
	room := (c.limit - c.claimed.Sum()) / readplan.ChunkSize * readplan.ChunkSize
	gap.End = min(gap.End, gap.Off+max(room, 0))
	return gap
}

// overLimit returns a part of the window that nobody wants any more, when room
// is needed. Callers hold the lock.
func (t *transfer) overLimit() interval {
	c := &t.content
	if c.limit == 0 || c.part == nil || c.claimed.Sum() < c.limit/2 {
		return interval{}
	}
	last := readplan.Last(t.o.Size)
	var wanted partial.Ranges
	wanted.Add(interval{Off: last, End: t.o.Size})
	for _, w := range t.wanted.waiters {
		wanted.Add(t.windowFor(w))
	}
	for _, p := range t.wanted.plans {
		wanted.Add(p.Ahead())
	}
	hashed := c.part.Hashed()
	for _, i := range c.stock.Have {
		gap := wanted.Gap(i)
		// What the hash has yet to see stays as long as it follows it.
		if c.stock.Have.From(hashed) > gap.Off && gap.End > hashed {
			gap.End = max(hashed, gap.Off)
		}
		gap.Off = (gap.Off + readplan.ChunkSize - 1) / readplan.ChunkSize * readplan.ChunkSize
		gap.End = gap.End / readplan.ChunkSize * readplan.ChunkSize
		if gap.Off < gap.End {
			return gap
		}
	}
	return interval{}
}

// giveBack takes a part out of the window.
func (t *transfer) giveBack(i interval) {
	p := t.content.part
	t.c.do(func() {
		t.content.stock.Remove(i)
		t.content.given++
		t.content.unproven = t.content.unproven || i.End > p.Hashed()
	})
	// The bytes are off the books before they are zeros on the disk, and their
	// place is claimed until they are.
	err := p.Punch(i)
	t.c.do(func() {
		t.c.shelf.NoteAllocated(&t.account, -i.Len())
		t.reclaim()
		if err != nil {
			t.failLocally(nil, err)
		}
		t.kick()
	})
}

// tooLargeToPlace returns why a source that brings the whole only must not be
// asked. Callers hold the lock.
func (t *transfer) tooLargeToPlace() error {
	if t.content.limit == 0 {
		return nil
	}
	return &NoSpaceError{Need: t.cost(), Why: "it is larger than the budget, and this source brings the whole only", Never: true}
}
