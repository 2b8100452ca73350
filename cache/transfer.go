package cache

import (
	"context"
	"fmt"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/cache/internal/queue"
	"github.com/uniharmony/uniharmonyfs/cache/internal/readplan"
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
// fields are guarded by Cache.mu, but for those that never change.
type transfer struct {
	c      *Cache
	f      *fill
	o      *object
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended
	wake   chan struct{} // something has changed; of room for one

	phase   transferPhase
	use     Use // on whose behalf sources are asked
	account account
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

// join returns the key's transfer from the handle's dataset, starting it, and
// makes the handle one of its users. Callers hold mu.
func (c *Cache) join(h *Handle) *transfer {
	f := c.fill(h.o, h.use.Dataset)
	t := f.transfer
	if t == nil {
		t = &transfer{
			c: c, f: f, o: h.o, use: h.use,
			done: make(chan struct{}), wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
			wanted: wishes{handles: make(map[*Handle]bool), plans: make(map[*Handle]readplan.Plan)},
		}
		t.room <- struct{}{}
		t.content.suspect = c.failures.suspect(f.id())
		t.content.progress = time.Now()
		t.ctx, t.cancel = context.WithCancel(c.ctx)
		c.take(t)
		f.transfer = t
		c.settle(h.o)
		c.spawn("a transfer", t.drive, t.crash)
	}
	t.wanted.handles[h] = true
	h.t = t
	return t
}

// kick wakes the driver. Anybody may call it.
func (t *transfer) kick() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// drive does what is to be done until the transfer has ended.
func (t *transfer) drive() {
	for {
		var step func()
		var again time.Time
		t.c.do(func() { step, again = t.next() })
		if step != nil {
			step()
			select {
			case <-t.done:
				return
			default:
				continue
			}
		}
		t.rouse(again)
	}
}

// rouse returns when something has changed, or at the time again if that is not
// zero.
func (t *transfer) rouse(again time.Time) {
	if again.IsZero() {
		<-t.wake
		return
	}
	alarm := time.NewTimer(time.Until(again))
	defer alarm.Stop()
	select {
	case <-t.wake:
	case <-alarm.C:
	}
}

// next decides what is to be done next, without the lock; nil is to wait, until
// the time again if that is not zero. Callers hold mu.
func (t *transfer) next() (step func(), again time.Time) {
	c := &t.content
	idle := len(c.requests) == 0
	unwanted := len(t.wanted.handles) == 0 && !t.wanted.keep
	switch {
	case t.phase >= ending:
		return nil, again
	case t.closing, unwanted && !(c.part != nil && t.isWhole()), t.o.phase == present:
		if !idle {
			if t.o.phase == present {
				t.dropRequests(0)
			}
			return nil, again
		}
		t.phase = ending
		if t.o.phase == present {
			return t.overtaken, again
		}
		return t.rest, again
	case c.part == nil && t.mustOpen():
		return t.open, again
	case c.part != nil && t.isWhole():
		if !idle {
			return nil, again
		}
		t.phase = verifying
		return t.finish, again
	}
	if t.wants() {
		if step, again = t.ask(); step != nil {
			return step, again
		}
	}
	if trim := t.overLimit(); trim.Len() > 0 {
		return func() { t.giveBack(trim) }, again
	}
	if end := t.unhashed(); end > 0 {
		return func() { t.hash(end) }, again
	}
	if c.limit > 0 && !c.proven && c.part != nil && c.part.Hashed() == t.o.size {
		return func() { t.proveWindowed(c.part) }, again
	}
	return nil, again
}

// mustOpen reports whether the partial file is needed before sources are.
func (t *transfer) mustOpen() bool {
	return t.wants() && (t.account.allocated > 0 || t.o.size == 0)
}

// isWhole reports whether all bytes are in the partial file.
func (t *transfer) isWhole() bool {
	return t.content.limit == 0 && t.content.stock.Have.Has(interval{Off: 0, End: t.o.size})
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

// open opens the partial file.
func (t *transfer) open() {
	p := t.f.file
	stock, err := p.Open()
	t.c.do(func() {
		if err != nil {
			t.failLocally(nil, fmt.Errorf("its partial file cannot be opened: %w", err))
			return
		}
		if t.f.exposed && len(stock.Have) == 0 {
			// Somebody has meddled with it: nothing can prove what was served.
			t.c.revoke(t.o, t.f.dataset)
			t.f.exposed = false
		}
		t.content.part, t.content.stock = p, stock
		t.reclaim()
		t.wakeWaiters()
	})
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
	if end-done > worth || c.limit > 0 && (end == t.o.size || end-done > c.limit/8) && end > done {
		return min(end, done+most)
	}
	return 0
}

func (t *transfer) hash(end int64) {
	p := t.content.part // only the driver replaces it
	err := p.CatchUp(t.ctx, end)
	if err != nil && t.ctx.Err() == nil {
		t.disown(p) // nothing can prove it
		t.throwAway(p)
		t.c.do(func() { t.failLocally(nil, fmt.Errorf("its partial file cannot be read: %w", err)) })
	}
}

// leave is the end of a handle's use. Callers hold mu.
func (t *transfer) leave(h *Handle) {
	delete(t.wanted.handles, h)
	delete(t.wanted.plans, h)
	t.refuse(ErrClosed, func(w *waiter) bool { return w.h == h })
	if len(t.wanted.handles) == 0 && t.phase < ending {
		t.wanted.keep = t.wanted.keep || t.wanted.complete && t.content.limit == 0 && t.content.stock.Have.Sum() > t.o.size/2
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

// dropRequests ends requests that are not nearly done. Callers hold mu.
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

// shut ends the transfer, whoever uses it. Callers hold mu.
func (t *transfer) shut() {
	t.closing, t.wanted.keep = true, false
	if t.phase < ending {
		t.refuse(ErrClosed, nil)
	}
	t.cancel()
	t.kick()
}

// reclaim says anew what is here or under way. Callers hold mu.
func (t *transfer) reclaim() {
	c := &t.content
	c.claimed = append(partial.Ranges(nil), c.stock.Have...)
	for _, r := range c.requests {
		c.claimed.Add(interval{Off: r.pos, End: r.End})
	}
}

// class is the most urgent class among the waiters. Callers hold mu.
func (t *transfer) class() queue.Class {
	as := queue.Background
	for _, w := range t.wanted.waiters {
		as = min(as, w.class)
	}
	return as
}
