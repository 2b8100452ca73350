package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/layout"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/cache/internal/queue"
	"github.com/uniharmony/uniharmonyfs/cache/internal/readplan"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// request is one request to a source.
type request struct {
	interval
	asked
	t      *transfer
	steady bool
	window bool // it was begun within a window
	ticket *queue.Ticket
	ctx    context.Context
	cancel context.CancelFunc
	part   *partial.File

	// Guarded by the lock.
	pos     int64 // end of what was written
	running bool  // it has room and its turn

	writing disk.Turn // held while bytes are written; guards the following
	closed  bool
	err     error // of the disk
}

// asked is the source that a request goes to.
type asked struct {
	at     int // its number
	source string
	exact  bool
}

// askRanges starts requests to a source for what is wanted. Callers hold the lock.
func (t *transfer) askRanges(from Source, at int) {
	all := interval{Off: 0, End: t.o.Size}
	t.refuseCheap(func(w *waiter) bool { return !t.inFaith(w.h) || !from.Exact() })
	// What a reader waits for is asked for before the rest of the file.
	slices.SortStableFunc(t.wanted.waiters, func(a, b *waiter) int { return cmp.Compare(a.class, b.class) })
	for _, w := range t.wanted.waiters {
		if t.needsWhole(w) && t.content.limit == 0 {
			t.claim(from, at, all, readplan.MaxStep, w.class, true)
			continue
		}
		want := w.plan.Now
		if t.content.limit > 0 {
			want = t.windowFor(w)
		}
		t.claim(from, at, want, readplan.MaxStep, w.class, w.plan.Steady && t.content.limit == 0)
	}
	for h, p := range t.wanted.plans {
		t.claim(from, at, p.Ahead(), h.window.Step(), queue.Ahead, p.Steady && t.content.limit == 0)
	}
	if t.content.limit == 0 && (t.wanted.complete || t.wanted.keep) {
		t.claim(from, at, all, readplan.MaxStep, queue.Background, true)
	}
}

// refuseCheap ends the guesses that would take more than they are worth.
// Callers hold the lock.
func (t *transfer) refuseCheap(dear func(*waiter) bool) {
	t.refuse(errTooDear, func(w *waiter) bool { return w.cheap && dear(w) })
}

// claim starts requests for what is missing of an interval, none longer than
// step. Callers hold the lock.
func (t *transfer) claim(from Source, at int, i interval, step int64, as queue.Class, steady bool) {
	c := &t.content
	for _, r := range c.requests {
		if !r.Overlaps(i) {
			continue
		}
		if as == queue.Demanded && !r.running && t.c.queue.Class(r.ticket) > as && r.Len() > i.Len() {
			r.cancel() // it may wait long for room that this does not need
		}
		t.c.queue.Promote(r.ticket, as)
	}
	for as == queue.Demanded || len(c.requests) < readplan.MaxRequests {
		gap := c.claimed.Gap(i)
		if gap.Len() == 0 || len(c.requests) >= 2*readplan.MaxRequests {
			return
		}
		gap.End = min(gap.End, gap.Off+step)
		if gap = t.withinLimit(gap); gap.Len() == 0 {
			return
		}
		c.claimed.Add(gap)
		r := &request{
			interval: gap, asked: asked{at, from.String(), from.Exact()}, t: t, steady: steady,
			window: c.limit > 0, part: c.part, pos: gap.Off, ticket: queue.NewTicket(as), writing: disk.NewTurn(),
		}
		r.ctx, r.cancel = context.WithCancel(t.ctx)
		c.requests = append(c.requests, r)
		t.c.shelf.Spawn("a request", func() { r.run(from) }, func(err error) { r.finish(err) })
	}
}

// run makes room, waits for its turn, and fetches.
func (r *request) run(from Source) { r.finish(r.fetch(from)) }

// finish draws the conclusions from how a request ended.
func (r *request) finish(err error) {
	t := r.t
	local := r.diskErr()
	t.c.do(func() {
		c := &t.content
		c.requests = slices.DeleteFunc(c.requests, func(x *request) bool { return x == r })
		t.reclaim()
		if err != nil && r.ctx.Err() == nil {
			t.conclude(r, err, local)
		}
		t.kick()
	})
	r.cancel()
	t.saveMap(r.part)
}

// conclude classes the failure of a request. Callers hold the lock.
func (t *transfer) conclude(r *request, err, local error) {
	var full *NoSpaceError
	switch {
	case errors.Is(err, errNoWindow):
	case errors.As(err, &full) && full.Never && !r.window && r.part == t.content.part:
		if t.content.limit == 0 { // else another request has found out before
			t.becomeWindowed(full)
		}
	case errors.As(err, &full), local != nil, disk.IsFull(err):
		t.failLocally(&r.interval, err)
	case errors.Is(err, source.ErrWholeOnly):
		if t.supply.Is(r.at, r.source) {
			t.supply.Wrap(r.at, func(s Source) Source { return wholly{s, t.o.Size, t.c.shelf.Store} })
		}
	case t.supply.Is(r.at, r.source): // they may have been asked for anew
		t.pass(r.at, err)
	}
}

func (r *request) fetch(from Source) error {
	t := r.t
	if err := r.makeRoom(); err != nil {
		return err
	}
	if err := t.c.queue.Take(r.ctx, r.ticket); err != nil {
		return err
	}
	defer t.c.queue.Give()
	t.c.do(func() { r.running = true })
	for try := 0; ; try++ {
		pos := r.position()
		err := t.c.shelf.Guard("Fetch", func() error { return from.Fetch(r.ctx, pos, r.End-pos, r) })
		if own := r.diskErr(); own != nil {
			err = own
			if disk.IsFull(err) && try == 0 && t.c.shelf.EvictForDisk(r.Len()) {
				r.mend()
				continue
			}
		}
		r.close()
		if pos = r.position(); err == nil && pos < r.End {
			err = fmt.Errorf("%w: %d bytes too few", io.ErrUnexpectedEOF, r.End-pos)
		}
		return err
	}
}

func (r *request) position() (pos int64) {
	r.t.c.do(func() { pos = r.pos })
	return pos
}

// makeRoom reserves what the request needs: the whole file's room when it is
// being read on, for then it must come to its end. Where that is not to be had
// at the moment, its own bytes' do.
func (r *request) makeRoom() error {
	t := r.t
	select {
	case <-t.room:
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
	defer func() { t.room <- struct{}{} }()
	var rest, allocated, limit int64
	t.c.do(func() {
		rest, allocated, limit = t.cost()-t.account.Reserved, t.account.Allocated, t.content.limit
		if limit > 0 {
			rest = windowCost(limit) - t.account.Reserved
		}
	})
	if limit > 0 && !r.window {
		return errNoWindow
	}
	whole := interval{Off: 0, End: t.o.Size}
	where := r.interval
	if r.steady && limit == 0 {
		where = whole
	}
	if rest > 0 {
		need := rest
		if !r.steady && limit == 0 {
			need = min(rest, layout.ChargePart(r.interval))
		}
		as := t.c.queue.Class(r.ticket)
		err := t.c.shelf.Reserve(r.ctx, &t.account, need, as)
		var full *NoSpaceError
		if errors.As(err, &full) && r.steady && limit == 0 && as == queue.Demanded && !full.Never {
			where = r.interval
			err = t.c.shelf.Reserve(r.ctx, &t.account, min(rest, layout.ChargePart(r.interval)), as)
		}
		if err != nil {
			return err
		}
	} else if limit == 0 && allocated >= disk.RoundUp(t.o.Size) {
		return nil // all of it was allocated at once
	}
	err := r.part.Allocate(where)
	if disk.IsFull(err) && t.c.shelf.EvictForDisk(where.Len()) {
		err = r.part.Allocate(where)
	}
	t.c.do(func() { t.c.shelf.NoteAllocated(&t.account, disk.RoundUp(where.Len())) })
	if err != nil {
		r.setDiskErr(err)
	}
	return err
}

var (
	// errNoWindow ends a request that was begun before its content got a window,
	// and may be larger than that: what is wanted of it is asked for again.
	errNoWindow = errors.New("there is a window meanwhile")

	errLate = errors.New("the source wrote after its end")
)

// Write takes a source's bytes: in order, not more than asked for, and none
// after the source has returned, whatever it left running.
func (r *request) Write(b []byte) (int, error) {
	r.writing.Lock()
	defer r.writing.Unlock()
	off := r.position()
	switch {
	case r.closed:
		return 0, errLate
	case r.err != nil:
		return 0, r.err
	case int64(len(b)) > r.End-off:
		return 0, errTooMuch
	}
	n, err := r.part.Write(b, off)
	r.err = err
	r.t.c.do(func() { r.t.arrived(r, interval{Off: off, End: off + int64(n)}) })
	r.t.saveMap(r.part)
	return n, err
}

func (r *request) close() {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.closed = true
}

func (r *request) diskErr() error {
	r.writing.Lock()
	defer r.writing.Unlock()
	return r.err
}

func (r *request) setDiskErr(err error) {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.err = err
}

func (r *request) mend() { r.setDiskErr(nil) }

// mapEvery is how much of a transfer a crash may lose, in time.
const mapEvery = 500 * time.Millisecond

// saveMap writes the map of a partial file now and then.
func (t *transfer) saveMap(p *partial.File) {
	var stock partial.Stock
	due := false
	t.c.do(func() {
		c := &t.content
		if c.saved.IsZero() {
			c.saved = time.Now()
		}
		due = t.phase == filling && c.part == p && c.limit == 0 && t.o.Size > readplan.WholeUpTo &&
			len(c.stock.Have) > 0 && time.Since(c.saved) >= mapEvery
		if due {
			c.saved = time.Now()
			stock = c.stock.Clone()
		}
	})
	if !due {
		return
	}
	if err := p.SaveMap(stock); err != nil {
		t.c.log.Warn("map of a partial file not written: a crash would lose it", "key", t.o.Key, "err", err)
	}
}
