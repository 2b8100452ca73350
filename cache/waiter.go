package cache

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/cache/internal/queue"
	"github.com/uniharmony/uniharmonyfs/cache/internal/readplan"
)

// waiter is someone who waits for bytes, or for the whole.
type waiter struct {
	interval
	plan   readplan.Plan
	h      *Handle
	whole  bool // until it is verified
	reader bool // waits in a read
	cheap  bool // a guess: not worth more than its bytes
	class  queue.Class
	since  time.Time
	done   chan struct{}
	err    error // valid after done
}

// errEnded says that the transfer has ended: the object is here, or another
// transfer is needed.
var errEnded = errors.New("the transfer has ended")

// read serves a read, waiting for its bytes.
func (t *transfer) read(ctx context.Context, h *Handle, p []byte, off int64) (int, error) {
	n := min(int64(len(p)), t.o.Size-off)
	want := interval{Off: off, End: off + n}
	for first := true; ; first = false {
		var part *partial.File
		var w *waiter
		var err error
		given := 0
		t.c.do(func() {
			part, w, err = t.look(h, want, first)
			given = t.content.given
		})
		if err != nil {
			return 0, err
		}
		if w != nil {
			if err := t.await(ctx, w); err != nil {
				return 0, err
			}
			continue
		}
		got, err := part.ReadAt(p[:n], off)
		switch {
		case part.IsWrong():
			return 0, errMisled
		case errors.Is(err, fs.ErrClosed), t.movedOn(part, given): // what was read may be cut short, or zeros
		case int64(got) == n && n < int64(len(p)):
			return got, io.EOF
		case int64(got) == n:
			return got, nil
		case err == nil || err == io.EOF:
			return 0, io.ErrUnexpectedEOF
		default:
			return 0, err
		}
	}
}

// movedOn reports whether a partial file was thrown away, or some of it given
// back to the disk, since it was looked at. That the bytes are there now says
// nothing: they may have come again.
func (t *transfer) movedOn(p *partial.File, given int) (moved bool) {
	t.c.do(func() { moved = t.content.part != p || t.content.given != given })
	return moved
}

// look finds the bytes in the partial file, or leaves a waiter for them.
// Callers hold the lock.
func (t *transfer) look(h *Handle, want interval, first bool) (*partial.File, *waiter, error) {
	c := &t.content
	switch {
	case t.phase >= ending || t.closing:
		return nil, nil, errEnded
	case h.misled.Load() || c.part != nil && c.part.IsWrong():
		return nil, nil, errMisled
	}
	here := t.servable(h, want)
	if first {
		h.window.Sure = h.through.Load()
		plan := h.window.Read(want, t.o.Size, here)
		t.wanted.plans[h] = t.limited(plan)
		t.wanted.complete = t.wanted.complete || plan.Complete && !h.use.NoReadAhead && c.limit == 0
	}
	if here && t.serve(h) {
		if c.claimed.Gap(t.wanted.plans[h].Ahead()).Len() > 0 || t.wanted.complete || c.limit > 0 {
			t.kick()
		}
		return c.part, nil, nil
	}
	w := &waiter{interval: want, plan: t.wanted.plans[h], h: h, reader: true, since: time.Now(), done: make(chan struct{})}
	if want.Off < w.plan.Now.Off || want.End > w.plan.Now.End { // of another read
		w.plan.Now = interval{Off: want.Off / readplan.ChunkSize * readplan.ChunkSize, End: min((want.End+readplan.ChunkSize-1)/readplan.ChunkSize*readplan.ChunkSize, t.o.Size)}
	}
	return nil, w, t.enlist(w)
}

// whole waits until the object is here and verified.
func (t *transfer) whole(ctx context.Context, h *Handle, as queue.Class) error {
	w := &waiter{interval: interval{Off: 0, End: t.o.Size}, h: h, whole: true, class: as, since: time.Now(), done: make(chan struct{})}
	var err error
	t.c.do(func() {
		if t.phase >= ending || t.closing {
			err = errEnded
			return
		}
		err = t.enlist(w)
	})
	if err != nil {
		return err
	}
	return t.await(ctx, w)
}

// enlist puts a waiter on the list, unless what it needs failed a moment ago.
// Callers hold the lock.
func (t *transfer) enlist(w *waiter) error {
	now := time.Now()
	if w.h.failed != nil && now.Before(w.h.until) {
		return w.h.failed
	}
	w.h.failed = nil
	if err := t.c.failures.recent(t.f.ID()); err != nil && !t.isWhole() {
		return err
	}
	if err := t.hopeless(w); err != nil {
		return err
	}
	t.wanted.waiters = append(t.wanted.waiters, w)
	t.kick()
	return nil
}

// await waits for a waiter's end.
func (t *transfer) await(ctx context.Context, w *waiter) error {
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
	}
	t.c.do(func() {
		t.wanted.waiters = slices.DeleteFunc(t.wanted.waiters, func(x *waiter) bool { return x == w })
	})
	return ctx.Err()
}

// inFaith reports whether a reader may have bytes before the whole is verified.
// Who was served from a file that was thrown away may not, until that was
// proven. Callers hold the lock.
func (t *transfer) inFaith(h *Handle) bool {
	c := &t.content
	return !h.use.Strict && !c.suspect && t.o.Size > readplan.WholeUpTo &&
		len(c.past) == 0 && (h.seen == nil || h.seen == c.part)
}

// servable reports whether bytes may be read from the partial file: those that
// exact sources sent, and of the last ones none. Callers hold the lock.
func (t *transfer) servable(h *Handle, i interval) bool {
	c := &t.content
	if c.part == nil || !t.inFaith(h) || !c.stock.Exact.Has(i) {
		return false
	}
	return i.End <= readplan.Last(t.o.Size) || c.proven
}

// needsWhole reports whether only the verified whole will do for a waiter.
// Callers hold the lock.
func (t *transfer) needsWhole(w *waiter) bool {
	c := &t.content
	if w.whole || !t.inFaith(w.h) || w.End > readplan.Last(t.o.Size) || !t.supply.Exact() {
		return true
	}
	return c.stock.HasInexact(w.interval)
}

// serve notes that a handle is served from the partial file. It reports false
// when that must not be: of two files unverified, nobody reads. Callers hold the lock.
func (t *transfer) serve(h *Handle) bool {
	if h.seen != nil && h.seen != t.content.part {
		return false
	}
	h.seen = t.content.part
	t.f.Exposed = true
	return true
}

// arrived notes bytes that a request wrote, and wakes those who wait for them.
// Callers hold the lock.
func (t *transfer) arrived(r *request, i interval) {
	c := &t.content
	c.stock.Add(i, r.source, r.exact)
	r.pos = i.End
	t.progressed(i.Len())
	t.wakeWaiters()
	if t.isWhole() || t.unhashed() > 0 {
		t.kick()
	}
}

// progressed notes that n bytes have come. Some now and then are no progress:
// nobody would ever come to an end. Callers hold the lock.
func (t *transfer) progressed(n int64) {
	c := &t.content
	if c.trickled += n; c.trickled >= readplan.ChunkSize || t.isWhole() {
		c.progress, c.trickled = time.Now(), 0
		t.supply.Progressed()
	}
}

// wakeWaiters ends the wait of those whose bytes are here. Callers hold the lock.
func (t *transfer) wakeWaiters() {
	t.wanted.waiters = slices.DeleteFunc(t.wanted.waiters, func(w *waiter) bool {
		met := !w.whole && t.servable(w.h, w.interval) || w.cheap && t.content.stock.Have.Has(w.interval)
		if met {
			close(w.done)
		}
		return met
	})
}

// refuse ends the waits that match. Callers hold the lock.
func (t *transfer) refuse(err error, match func(*waiter) bool) {
	t.wanted.waiters = slices.DeleteFunc(t.wanted.waiters, func(w *waiter) bool {
		if match != nil && !match(w) {
			return false
		}
		w.err = err
		close(w.done)
		return true
	})
}

// failLocally ends the waits that a failure of this machine concerns: those
// for bytes of an interval, or all when that is nil. It is not remembered: it
// says nothing about the content. Callers hold the lock.
func (t *transfer) failLocally(where *interval, err error) {
	concerned := func(w *waiter) bool {
		return where == nil || t.needsWhole(w) || w.plan.Now.Overlaps(*where) || w.Overlaps(*where)
	}
	if slices.ContainsFunc(t.wanted.waiters, func(w *waiter) bool { return concerned(w) && !w.h.use.Speculative }) {
		t.c.journal.Note(t.o.Key, t.f.Dataset, t.use.Name, err)
	}
	t.refuse(err, concerned)
	t.loseInterest()
}

// loseInterest ends what nobody waits for, until they read again. Callers hold
// the lock.
func (t *transfer) loseInterest() {
	clear(t.wanted.plans)
	t.wanted.complete, t.wanted.keep = false, false
	t.kick()
}
