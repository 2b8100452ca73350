package cache

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/supply"
)

// sources are a transfer's. Guarded by Cache.mu.
type sources struct {
	supply.Supply
	origin  Origin             // whose they are
	unplace context.CancelFunc // while a Placer is at work
}

// pass goes on to the next source. Callers hold mu.
func (t *transfer) pass(i int, err error) {
	if t.supply.Fail(i, err) { // else another request has found out already
		t.c.log.Warn("source failed", "file", t.use.Name, "key", t.o.key, "source", t.supply.Name(i), "err", err)
	}
}

// blame finds out whose the wrong bytes were. Callers hold mu.
func (t *transfer) blame(names []string) {
	for _, i := range t.supply.Blame(names) {
		t.pass(i, ErrMismatch)
	}
}

// ask sees to it that what is wanted is under way, as far as that can be done
// with the lock held, and returns what is to be done without it. Callers hold
// mu.
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

// patient reports whether somebody waits out an outage. Callers hold mu.
func (t *transfer) patient() bool {
	return slices.ContainsFunc(t.wanted.waiters, func(w *waiter) bool { return time.Now().Before(t.deadline(w)) })
}

// load asks for the sources.
func (t *transfer) load() {
	var list []Source
	var err error
	origin := t.use.Origin
	if origin != nil {
		err = t.c.guard("Sources", func() (err error) {
			list, err = origin.Sources(t.ctx, t.o.key)
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
// this origin are. Callers hold mu.
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
		t.c.noteFor(t.o, t.f.dataset, t.use.Name, err)
		if !errors.Is(err, ErrOffline) { // that says nothing about the content
			t.c.failures.note(t.f.id(), err, t.c.options.FailureTTL)
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
	return &FetchError{Key: t.o.key, Name: t.use.Name, Tried: t.supply.Tried()}
}

// deadline is when a waiter's patience ends, unless bytes come. Callers hold
// mu.
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

// expire refuses those whose patience has ended. Callers hold mu.
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
			t.c.noteFor(t.o, t.f.dataset, w.h.use.Name, err)
		}
		return true
	})
}

// nextExpiry returns the first moment at which somebody's patience ends, or
// the given one if that is earlier. Callers hold mu.
func (t *transfer) nextExpiry(at time.Time) time.Time {
	for _, w := range t.wanted.waiters {
		if d := t.deadline(w); d.Before(at) {
			at = d
		}
	}
	return at
}
