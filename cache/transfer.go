package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// transfer is one key being brought. It lives as long as somebody has the key
// open and it is not complete; what is asked of the sources at any time is
// what its readers wished for.
//
// Bytes are served as soon as they are in the partial file, if their source
// names the exact version; the last grain only when the whole is verified.
type transfer struct {
	c      *Cache
	o      *object
	use    Use
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended

	// Guarded by Cache.mu.
	users          int // handles
	ending         bool
	reserved, made int64 // bytes; made of them are allocated on disk

	room   sync.Mutex   // held while room is made
	placed atomic.Int64 // bytes that a Placer reports
	saved  atomic.Int64 // when the map was written last, in Unix nanoseconds

	// mu guards the following. It may be taken while Cache.mu is held, not the
	// other way round.
	mu        sync.Mutex
	part      *part  // nil until the first read, and after a mismatch
	have      ranges // bytes that are in the partial file
	claimed   ranges // those, and the ones that are being fetched
	spans     []*span
	demands   []*demand
	readers   map[*Handle]wish // what they read next
	past      []past           // partial files that were thrown away
	sources   []Source         // nil until they are asked for
	tried     []Attempt
	at        int  // the source in use
	again     bool // it had wrong bytes once
	loading   bool
	placing   bool
	unplace   context.CancelFunc
	hashing   bool
	finishing bool
	suspect   bool // there were wrong bytes: no more in good faith
	complete  bool // fetch the rest when there is time
	keep      bool // also without a reader
	closing   bool
	ended     bool
	failure   error
	retryAt   time.Time
}

// join returns the key's transfer, starting it, and makes the handle one of
// its users. Callers hold Cache.mu, and a reference to o.
func (c *Cache) join(h *Handle) *transfer {
	o := h.o
	t := o.transfer
	if t == nil {
		t = &transfer{c: c, o: o, use: h.use, done: make(chan struct{}), readers: make(map[*Handle]wish)}
		t.ctx, t.cancel = context.WithCancel(c.ctx)
		t.failure, t.retryAt, t.suspect = o.recentFailure(), o.retryAt, o.mismatch > 0
		c.take(t)
		o.transfer = t
		c.work.Add(1)
	}
	t.users++
	return t
}

// failed reports whether a failure still stands. Callers hold mu.
func (t *transfer) failed() bool {
	if t.failure != nil && !time.Now().Before(t.retryAt) {
		t.failure, t.tried, t.sources, t.at, t.again = nil, nil, nil, 0, false
	}
	return t.failure != nil
}

// open opens the partial file. Callers hold mu.
func (t *transfer) open() error {
	if t.part != nil {
		return nil
	}
	p, have, err := t.c.store.openPart(t.o.key, t.o.size)
	if err != nil {
		return err
	}
	t.part, t.have = p, have
	t.reclaim()
	return nil
}

// catchUp takes bytes that came out of turn into the hash.
func (t *transfer) catchUp(p *part, end int64) {
	defer t.c.work.Done()
	p.catchUp(t.ctx, end) // an error comes again in verify
	t.mu.Lock()
	t.hashing = false
	t.mu.Unlock()
	t.maybeEnd()
}

// fail ends the demands and remembers why for a moment.
func (t *transfer) fail(err error) {
	c, o := t.c, t.o
	if t.ctx.Err() != nil {
		err = ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keep, t.complete = false, false
	clear(t.readers) // until they read again
	guess := len(t.demands) > 0 && !slices.ContainsFunc(t.demands, func(d *demand) bool { return !d.h.use.Guess })
	switch {
	case errors.Is(err, ErrClosed):
	case !guess || errors.Is(err, ErrMismatch):
		c.fail(o, err)
		c.note(o, t.use.Name, err)
		t.failure, t.retryAt = o.failure, o.retryAt
	default:
		c.log.Debug("a guess failed", "key", o.key, "err", err)
		t.failure, t.retryAt = err, time.Now()
	}
	t.refuse(err, nil)
}

// finish verifies the complete file and publishes it.
func (t *transfer) finish() {
	defer t.c.work.Done()
	t.mu.Lock()
	p := t.part
	t.mu.Unlock()
	err := p.verify(t.ctx)
	var final fileState
	if err == nil {
		t.settlePast(p)
		final, err = p.publish(t.c.store)
	}
	switch {
	case err == nil:
		t.end(&final)
		return
	case errors.Is(err, ErrMismatch):
		t.mismatch(p)
	default:
		t.fail(fmt.Errorf("cannot put it into the cache: %w", err))
	}
	t.mu.Lock()
	t.finishing = false
	t.plan()
	t.mu.Unlock()
	t.maybeEnd()
}

// mismatch throws wrong bytes away. The same source gets a second chance, for
// the fault may lie with bytes of before, or with the way.
func (t *transfer) mismatch(p *part) {
	t.disown(p) // before another file can be served
	if err := p.discard(); err != nil {
		t.c.log.Error("wrong content cannot be removed", "key", t.o.key, "err", err)
	}
	t.mu.Lock()
	t.part, t.have, t.suspect = nil, nil, true
	if t.at < len(t.sources) {
		if t.again {
			t.pass(t.at, ErrMismatch)
		} else {
			t.again = true
		}
	}
	t.reclaim()
	t.mu.Unlock()
	t.c.gone(t)
}

// disown declares the bytes of a partial file wrong: who has read some of them
// gets no more, and what the kernel keeps of them is dropped. Who reads at this
// moment may have got some from there.
func (t *transfer) disown(p *part) {
	p.wrong.Store(true)
	t.c.mu.Lock()
	recalled := t.c.recall(t.o)
	t.c.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refuse(errWrong, func(d *demand) bool { return d.h.seen.Load() == p || recalled && d.reader })
}

// recall tells those who were served unverified bytes of an object that these
// are not to be relied on, and reports whether there are any. Callers hold mu.
func (c *Cache) recall(o *object) bool {
	served := o.served
	if len(served) == 0 {
		return false
	}
	o.served = nil
	o.recalls.Add(1)
	c.work.Add(1)
	go func() {
		defer c.work.Done()
		for _, wrong := range served {
			wrong()
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		o.recalls.Add(-1)
		c.forget(o)
	}()
	return true
}

// pass goes on to the next source. Callers hold mu.
func (t *transfer) pass(at int, err error) {
	if at != t.at || at >= len(t.sources) {
		return // another request has found out already
	}
	s := t.sources[at]
	t.c.log.Warn("source failed", "file", t.use.Name, "key", t.o.key, "source", s, "err", err)
	t.tried = append(t.tried, Attempt{Source: s.String(), Err: err})
	t.at++
	t.again = false
}

// leave is the end of a handle's use.
func (t *transfer) leave(h *Handle) {
	t.c.mu.Lock()
	t.users--
	last := t.users == 0
	t.c.mu.Unlock()
	t.mu.Lock()
	delete(t.readers, h)
	t.refuse(ErrClosed, func(d *demand) bool { return d.h == h })
	if last {
		t.keep = t.keep || t.complete && !t.closing && t.have.sum() > t.o.size/2
		if !t.keep {
			t.complete = false
			t.drop()
		}
	}
	t.mu.Unlock()
	t.maybeEnd()
}

// smallRest is what is left of a request to let it run to its end: ending it
// would cost the connection.
const smallRest = 2 << 20

// drop ends requests that are not nearly done. Callers hold mu.
func (t *transfer) drop() {
	for _, s := range t.spans {
		if !s.running.Load() || s.end-s.pos.Load() > smallRest {
			s.cancel()
		}
	}
	if t.placing {
		t.unplace()
	}
}

// shut ends the transfer, whoever uses it.
func (t *transfer) shut() {
	t.mu.Lock()
	t.closing, t.keep = true, false
	t.refuse(ErrClosed, nil)
	t.cancel()
	t.mu.Unlock()
	t.maybeEnd()
}

// maybeEnd ends a transfer that nobody needs and nothing is under way for.
func (t *transfer) maybeEnd() {
	t.c.mu.Lock()
	t.mu.Lock()
	busy := len(t.spans) > 0 || t.loading || t.placing || t.hashing || t.finishing
	wanted := t.users > 0 || t.keep
	end := !t.ending && !t.ended && !busy && (t.closing || !wanted)
	if end {
		t.ending = true
	}
	t.mu.Unlock()
	t.c.mu.Unlock()
	if end {
		t.end(nil)
	}
}

// end leaves the books in order: with the published object, or with what has
// come so far.
func (t *transfer) end(final *fileState) {
	c, o := t.c, t.o
	left := int64(0)
	if final == nil && t.part != nil {
		left = t.part.leave(t.have, t.reserved)
	}
	c.mu.Lock()
	if t.part == nil {
		left = t.made // of a partial file that was never opened
	}
	unproven := final == nil && (left == 0 || len(t.past) > 0)
	c.settle(t, final, left)
	switch {
	case final != nil:
		o.failure, o.mismatch, o.served = nil, 0, nil
	case unproven:
		c.recall(o)
	}
	o.transfer = nil
	t.mu.Lock()
	t.ended = true
	if final != nil {
		t.part.f.Close()
		t.refuse(nil, nil)
	} else {
		t.refuse(ErrClosed, nil)
	}
	t.mu.Unlock()
	c.forget(o)
	c.mu.Unlock()
	close(t.done)
	t.cancel()
	c.work.Done()
	c.pump()
}
