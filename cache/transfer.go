package cache

import (
	"context"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/layout"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/cache/internal/queue"
	"github.com/uniharmony/uniharmonyfs/cache/internal/readplan"
	"github.com/uniharmony/uniharmonyfs/cache/internal/shelf"
)

// transferPhase is how far a transfer is:
//
//	filling    readers are served as bytes come
//	verifying  all bytes are here; readers are served as before
//	ending     it is published, or put to rest: nobody joins, readers wait for
//	           the end and look again
//	ended      the books are closed
//
// Transitions: filling → verifying → ending → ended; verifying → filling when
// the bytes were wrong or the disk failed; filling → ending when nobody needs it
// any more, or another dataset's transfer has published the object.
type transferPhase uint8

const (
	filling transferPhase = iota
	verifying
	ending
	ended
)

// transfer is one key being brought from one dataset's sources. It lives as
// long as somebody has the key open and it is not complete; what is asked of
// the sources at any time is what its readers wish for.
//
// One goroutine drives it: whoever changes something wakes it, and it decides
// what is to be done next ([transfer.next]). So nothing of a transfer is
// done twice, and what waits for the disk or a source is in nobody's way. All
// fields are guarded by the lock, but for those that never change.
type transfer struct {
	c      *Cache
	f      *shelf.Fill
	o      *shelf.Object
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended
	wake   chan struct{} // something has changed; of room for one

	phase   transferPhase
	use     Use // on whose behalf sources are asked
	account shelf.Account
	content content
	supply  sources
	wanted  wishes
	room    chan struct{} // holds a token while nobody makes room
	closing bool          // whoever uses it
}

// content is what a transfer has.
type content struct {
	part     *partial.File // nil until it is opened, and after it was thrown away
	stock    partial.Stock // what is in it
	claimed  partial.Ranges
	requests []*request // under way
	placed   int64      // bytes that a Placer reports
	placing  bool
	past     []past // partial files that were thrown away after they had been served
	suspect  bool   // there were wrong bytes: no more in good faith
	limit    int64  // 0, or how much may be on disk of what never fits as a whole
	given    int    // with a limit: how often some was given back
	proven   bool   // with a limit: all of it was hashed, and is right
	unproven bool   // with a limit: some was given back before it was hashed
	saved    time.Time
	progress time.Time // when bytes came last that are worth the name
	trickled int64     // bytes since
}

// wishes is what is wanted of a transfer.
type wishes struct {
	handles  map[*Handle]bool
	waiters  []*waiter
	plans    map[*Handle]readplan.Plan // what they read next
	complete bool                      // fetch the rest when there is time
	keep     bool                      // also without a reader
}

// transferOf returns the transfer that has a fill, or nil. Callers hold the lock.
func transferOf(f *shelf.Fill) *transfer {
	if f == nil || f.Transfer == nil {
		return nil
	}
	return f.Transfer.(*transfer)
}

// transfers returns all that have not ended. Callers hold the lock.
func (c *Cache) transfers() (all []*transfer) {
	c.shelf.Objects(func(o *shelf.Object) {
		o.Fills(func(f *shelf.Fill) {
			if t := transferOf(f); t != nil {
				all = append(all, t)
			}
		})
	})
	return all
}

// ObjectIsHere implements [shelf.Transfer].
func (t *transfer) ObjectIsHere() { t.kick() }

// Yield implements [shelf.Transfer].
func (t *transfer) Yield(those func(owner string) bool) <-chan struct{} {
	if len(t.wanted.handles) > 0 || !those(t.use.Owner) {
		return nil
	}
	t.shut()
	return t.done
}

// cost is what a content takes at most, in bytes, when it is fetched whole.
func (t *transfer) cost() int64 { return layout.Charge(t.o.Size) }

type interval = partial.Interval

// kick wakes the driver. Anybody may call it.
func (t *transfer) kick() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// isWhole reports whether all bytes are in the partial file.
func (t *transfer) isWhole() bool {
	return t.content.limit == 0 && t.content.stock.Have.Has(interval{Off: 0, End: t.o.Size})
}

// wants reports whether anything is wished for that is not here.
func (t *transfer) wants() bool {
	if len(t.wanted.waiters) > 0 || t.wanted.complete || t.wanted.keep {
		return true
	}
	for _, p := range t.wanted.plans {
		if t.content.stock.Have.Gap(p.Ahead()).Len() > 0 {
			return true
		}
	}
	return false
}

// unhashed returns how far the hash could go on over bytes that came out of
// turn, when that is worth it; or 0.
func (t *transfer) unhashed() int64 {
	const worth, most = 4 << 20, 8 << 20
	c := &t.content
	if c.part == nil {
		return 0
	}
	done := c.part.Hashed()
	end := c.stock.Have.From(done)
	if end-done > worth || c.limit > 0 && (end == t.o.Size || end-done > c.limit/8) && end > done {
		return min(end, done+most)
	}
	return 0
}

// leave is the end of a handle's use. Callers hold the lock.
func (t *transfer) leave(h *Handle) {
	delete(t.wanted.handles, h)
	delete(t.wanted.plans, h)
	t.refuse(ErrClosed, func(w *waiter) bool { return w.h == h })
	if len(t.wanted.handles) == 0 && t.phase < ending {
		t.wanted.keep = t.wanted.keep || t.wanted.complete && t.content.limit == 0 && t.content.stock.Have.Sum() > t.o.Size/2
		if !t.wanted.keep {
			t.wanted.complete = false
			t.dropRequests(smallRest)
		}
	}
	t.kick()
}

// smallRest is what is left of a request, in bytes, to let it run to its end:
// ending it would cost the connection.
const smallRest = 2 << 20

// dropRequests ends requests that are not nearly done. Callers hold the lock.
func (t *transfer) dropRequests(nearly int64) {
	for _, r := range t.content.requests {
		if !r.running || r.End-r.pos > nearly {
			r.cancel()
		}
	}
	if t.supply.unplace != nil {
		t.supply.unplace()
	}
}

// shut ends the transfer, whoever uses it. Callers hold the lock.
func (t *transfer) shut() {
	t.closing, t.wanted.keep = true, false
	if t.phase < ending {
		t.refuse(ErrClosed, nil)
	}
	t.cancel()
	t.kick()
}

// reclaim says anew what is here or under way. Callers hold the lock.
func (t *transfer) reclaim() {
	c := &t.content
	c.claimed = append(partial.Ranges(nil), c.stock.Have...)
	for _, r := range c.requests {
		c.claimed.Add(interval{Off: r.pos, End: r.End})
	}
}

// class is the most urgent class among the waiters. Callers hold the lock.
func (t *transfer) class() queue.Class {
	as := queue.Background
	for _, w := range t.wanted.waiters {
		as = min(as, w.class)
	}
	return as
}
