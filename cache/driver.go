package cache

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/readplan"
	"github.com/uniharmony/uniharmonyfs/cache/internal/shelf"
)

// join returns the key's transfer from the handle's dataset, starting it, and
// makes the handle one of its users. Callers hold the lock.
func (c *Cache) join(h *Handle) *transfer {
	f := c.shelf.MakeFill(h.o, h.use.Dataset)
	t := transferOf(f)
	if t == nil {
		t = &transfer{
			c: c, f: f, o: h.o, use: h.use,
			done: make(chan struct{}), wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
			wanted: wishes{handles: make(map[*Handle]bool), plans: make(map[*Handle]readplan.Plan)},
		}
		t.room <- struct{}{}
		t.content.suspect = c.failures.suspect(f.ID())
		t.content.progress = time.Now()
		t.ctx, t.cancel = context.WithCancel(c.shelf.Context)
		t.account = c.shelf.OpenAccount(f)
		f.Transfer = t
		c.shelf.Settle(h.o)
		c.shelf.Spawn("a transfer", t.drive, t.crash)
	}
	t.wanted.handles[h] = true
	h.t = t
	return t
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
// the time again if that is not zero. Callers hold the lock.
func (t *transfer) next() (step func(), again time.Time) {
	c := &t.content
	idle := len(c.requests) == 0
	unwanted := len(t.wanted.handles) == 0 && !t.wanted.keep
	switch {
	case t.phase >= ending:
		return nil, again
	case t.closing, unwanted && !(c.part != nil && t.isWhole()), t.o.Phase() == shelf.Present:
		if !idle {
			if t.o.Phase() == shelf.Present {
				t.dropRequests(0)
			}
			return nil, again
		}
		t.phase = ending
		if t.o.Phase() == shelf.Present {
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
	if c.limit > 0 && !c.proven && c.part != nil && c.part.Hashed() == t.o.Size {
		return func() { t.proveWindowed(c.part) }, again
	}
	return nil, again
}

// mustOpen reports whether the partial file is needed before sources are.
func (t *transfer) mustOpen() bool {
	return t.wants() && (t.account.Allocated > 0 || t.o.Size == 0)
}

// open opens the partial file.
func (t *transfer) open() {
	p := t.f.File
	stock, err := p.Open()
	t.c.do(func() {
		if err != nil {
			t.failLocally(nil, fmt.Errorf("its partial file cannot be opened: %w", err))
			return
		}
		if t.f.Exposed && len(stock.Have) == 0 {
			// Somebody has meddled with it: nothing can prove what was served.
			t.c.shelf.Revoke(t.o, t.f.Dataset)
			t.f.Exposed = false
		}
		t.content.part, t.content.stock = p, stock
		t.reclaim()
		t.wakeWaiters()
	})
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

// ask sees to it that what is wanted is under way, as far as that can be done
// with the lock held, and returns what is to be done without it. Callers hold
// the lock.
func (t *transfer) ask() (step func(), again time.Time) {
	s := &t.supply
	now := time.Now()
	if resume := s.Paused(); !resume.IsZero() {
		t.expire(now)
		if len(t.wanted.waiters) == 0 {
			t.loseInterest()
			return nil, again
		}
		if now.Before(resume) {
			return nil, t.nextExpiry(resume)
		}
		s.Again()
	}
	if !s.Loaded() {
		if len(t.wanted.waiters) == 0 {
			return nil, again
		}
		t.use = t.wanted.waiters[0].h.use
		for _, w := range t.wanted.waiters {
			if !w.h.use.Speculative {
				t.use = w.h.use // its failures are told
				break
			}
		}
		return t.load, again
	}
	from, i := s.Current()
	if from == nil {
		return t.exhausted()
	}
	if p, ok := from.(Placer); ok {
		if nobody := len(t.wanted.waiters) == 0; t.content.stock.Have.Sum() > 0 && s.IsOut() && s.Rounds() < patientRounds && (nobody || t.patient()) {
			// What brings only the whole makes worthless what is here: those
			// that were out of reach a moment ago are tried once more first, and
			// when nobody waits, by who reads next.
			return t.exhausted()
		}
		return t.askPlacer(p, i)
	}
	if t.content.part == nil {
		return t.open, again
	}
	t.askRanges(from, i)
	return nil, again
}

// patientRounds is how often sources that are out of reach are tried before
// what is here is given up for a source that brings the whole only.
const patientRounds = 4

// patient reports whether somebody waits out an outage. Callers hold the lock.
func (t *transfer) patient() bool {
	return slices.ContainsFunc(t.wanted.waiters, func(w *waiter) bool { return time.Now().Before(t.deadline(w)) })
}
