package cache

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/supply"
)

// sources are a transfer's. Guarded by the lock.
type sources struct {
	supply.Supply
	origin  Origin             // whose they are
	unplace context.CancelFunc // while a Placer is at work
}

// pass goes on to the next source. Callers hold the lock.
func (t *transfer) pass(i int, err error) {
	if t.supply.Fail(i, err) { // else another request has found out already
		t.c.log.Warn("source failed", "file", t.use.Name, "key", t.o.Key, "source", t.supply.Name(i), "err", err)
	}
}

// blame finds out whose the wrong bytes were. Callers hold the lock.
func (t *transfer) blame(names []string) {
	for _, i := range t.supply.Blame(names) {
		t.pass(i, ErrMismatch)
	}
}

// load asks for the sources.
func (t *transfer) load() {
	var list []Source
	var err error
	origin := t.use.Origin
	if origin != nil {
		err = t.c.shelf.Guard("Sources", func() (err error) {
			list, err = origin.Sources(t.ctx, t.o.Key)
			return err
		})
	}
	t.c.do(func() {
		t.supply.origin = origin
		t.supply.Load(list, err)
	})
}

// exhausted is what happens when no source is left. Those who cannot wait for
// an outage to pass are refused; if nothing can come back, all who want it from
// this origin are. Callers hold the lock.
func (t *transfer) exhausted() (step func(), again time.Time) {
	s := &t.supply
	if s.IsOut() {
		t.expire(time.Now())
		if len(t.wanted.waiters) == 0 {
			t.loseInterest()
			s.Again() // for who comes next
			return nil, again
		}
		return nil, t.nextExpiry(s.Pause(time.Now()))
	}
	err := s.Unknown()
	if err == nil {
		err = t.fetchError()
	}
	mine := func(w *waiter) bool { return w.h.use.Origin == s.origin }
	told := slices.ContainsFunc(t.wanted.waiters, func(w *waiter) bool { return mine(w) && !w.h.use.Speculative })
	if told || errors.Is(err, ErrMismatch) {
		t.c.journal.Note(t.o.Key, t.f.Dataset, t.use.Name, err)
		if !errors.Is(err, ErrOffline) { // that says nothing about the content
			t.c.failures.note(t.f.ID(), err, t.c.options.FailureTTL)
		}
	}
	t.refuse(err, mine)
	if len(t.wanted.waiters) == 0 {
		t.loseInterest()
	}
	*s = sources{}
	t.kick() // the others have sources of their own
	return nil, again
}

func (t *transfer) fetchError() error {
	return &FetchError{Key: t.o.Key, Name: t.use.Name, Tried: t.supply.Tried()}
}

// deadline is when a waiter's patience ends, unless bytes come. Callers hold
// the lock.
func (t *transfer) deadline(w *waiter) time.Time {
	from := w.since
	if t.content.progress.After(from) {
		from = t.content.progress
	}
	if w.h.use.Speculative {
		return from
	}
	return from.Add(w.h.use.Patience)
}

// expire refuses those whose patience has ended. Callers hold the lock.
func (t *transfer) expire(now time.Time) {
	var err error
	t.wanted.waiters = slices.DeleteFunc(t.wanted.waiters, func(w *waiter) bool {
		if now.Before(t.deadline(w)) {
			return false
		}
		if err == nil {
			err = t.fetchError()
		}
		w.err = err
		close(w.done)
		if !w.h.use.Speculative {
			w.h.failed, w.h.until = err, now.Add(t.c.options.FailureTTL)
			t.c.journal.Note(t.o.Key, t.f.Dataset, w.h.use.Name, err)
		}
		return true
	})
}

// nextExpiry returns the first moment at which somebody's patience ends, or
// the given one if that is earlier. Callers hold the lock.
func (t *transfer) nextExpiry(at time.Time) time.Time {
	for _, w := range t.wanted.waiters {
		if d := t.deadline(w); d.Before(at) {
			at = d
		}
	}
	return at
}
