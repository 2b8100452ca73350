package cache

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// supply is which source is asked, and how those asked before failed. A failure
// has one of two classes: an outage may pass by itself, and the source is asked
// again for as long as a reader has patience; any other is final. Guarded by
// Cache.mu.
type supply struct {
	origin  Origin // whose sources these are
	loaded  bool
	list    []Source
	failed  []error // by source; nil: it may be asked
	blamed  []bool  // by source: it had wrong bytes once
	listErr error   // why there may be more
	rounds  int     // outages in a row
	resume  time.Time
	unplace context.CancelFunc // while a Placer is at work
}

// current returns the source that is asked, and its number; or nil.
func (s *supply) current() (Source, int) {
	for i, from := range s.list {
		if s.failed[i] == nil {
			return from, i
		}
	}
	return nil, -1
}

// exact reports whether what comes next is of the exact version, as far as is
// known.
func (s *supply) exact() bool {
	from, _ := s.current()
	return from == nil || from.Exact()
}

// tried lists how the sources failed.
func (s *supply) tried() (all []Attempt) {
	for i, err := range s.failed {
		if err != nil {
			all = append(all, Attempt{Source: s.list[i].String(), Err: err})
		}
	}
	if s.listErr != nil {
		all = append(all, Attempt{Source: "the list of sources", Err: s.listErr})
	}
	return all
}

// isOut reports whether a source may come back by itself.
func (s *supply) isOut() bool {
	return source.IsOutage(s.listErr) || slices.ContainsFunc(s.failed, source.IsOutage)
}

// again gives the sources that were out of reach another chance.
func (s *supply) again() {
	if source.IsOutage(s.listErr) {
		*s = supply{rounds: s.rounds}
		return
	}
	for i, err := range s.failed {
		if source.IsOutage(err) {
			s.failed[i] = nil
		}
	}
	s.resume = time.Time{}
}

// pass goes on to the next source. Callers hold mu.
func (t *transfer) pass(i int, err error) {
	s := &t.supply
	if i < 0 || i >= len(s.list) || s.failed[i] != nil {
		return // another request has found out already
	}
	t.c.log.Warn("source failed", "file", t.use.Name, "key", t.o.key, "source", s.list[i], "err", err)
	s.failed[i] = err
}

// blame finds out whose the wrong bytes were. A source gets a second chance,
// for the fault may lie with the way. Callers hold mu.
func (t *transfer) blame(names []string) {
	s := &t.supply
	var from []int
	for i, one := range s.list {
		if slices.Contains(names, one.String()) {
			from = append(from, i)
		}
	}
	if _, i := s.current(); len(from) == 0 && i >= 0 {
		from = []int{i}
	}
	if len(from) > 1 {
		// Whose they were shows when one has sent all.
		from = from[:1]
	}
	for _, i := range from {
		if s.blamed[i] {
			t.pass(i, ErrMismatch)
		}
		s.blamed[i] = true
	}
}

// ask sees to it that what is wanted is under way, as far as that can be done
// with the lock held, and returns what is to be done without it. Callers hold
// mu.
func (t *transfer) ask() (step func(), again time.Time) {
	s := &t.supply
	now := time.Now()
	if !s.resume.IsZero() {
		t.expire(now)
		if len(t.wanted.waiters) == 0 {
			t.loseInterest()
			return nil, again
		}
		if now.Before(s.resume) {
			return nil, t.nextExpiry(s.resume)
		}
		s.again()
	}
	if !s.loaded {
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
	from, i := s.current()
	if from == nil {
		return t.exhausted()
	}
	if p, ok := from.(Placer); ok {
		if t.content.stock.Have.Sum() > 0 && s.isOut() && s.rounds < patientRounds && t.patient() {
			// What brings only the whole makes worthless what is here: those
			// that were out of reach a moment ago are tried once more first.
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
		t.supply = supply{
			origin: origin, loaded: true, list: list, listErr: err, rounds: t.supply.rounds,
			failed: make([]error, len(list)), blamed: make([]bool, len(list)),
		}
	})
}

// exhausted is what happens when no source is left. Those who cannot wait for
// an outage to pass are refused; if nothing can come back, all who want it from
// this origin are. Callers hold mu.
func (t *transfer) exhausted() (step func(), again time.Time) {
	s := &t.supply
	if s.isOut() {
		t.expire(time.Now())
		if len(t.wanted.waiters) == 0 {
			t.loseInterest()
			s.again() // for who comes next
			return nil, again
		}
		s.resume = time.Now().Add(backoff(s.rounds))
		s.rounds++
		return nil, t.nextExpiry(s.resume)
	}
	err := t.fetchError()
	if s.listErr != nil && len(s.list) == 0 {
		err = s.listErr
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
	*s = supply{}
	t.kick() // the others have sources of their own
	return nil, again
}

func (t *transfer) fetchError() error {
	return &FetchError{Key: t.o.key, Name: t.use.Name, Tried: t.supply.tried()}
}

// backoff is how long to leave sources alone after so many outages in a row.
func backoff(rounds int) time.Duration {
	return min(200*time.Millisecond<<min(rounds, 10), 5*time.Second)
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
