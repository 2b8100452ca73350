package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// transfer is one key being brought. It writes the partial file from its
// start to its end; readers wait for done. (Serving ranges before the end is
// a matter of whom to wake when have grows: the bytes are in place.)
type transfer struct {
	c      *Cache
	o      *object
	use    Use
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed last
	err    error         // valid after done

	have    atomic.Int64 // bytes of the partial file that are there
	source  atomic.Value // string
	waiters int          // guarded by Cache.mu
	ticket  *ticket
	final   *fileState // of the published object; set by run's goroutine
	left    bool       // ended because nobody wanted it any more; valid after done
}

// startTransfer starts the key's transfer, or joins the one that runs.
// Callers hold mu, and a reference to o.
func (c *Cache) startTransfer(o *object, use Use, demand bool) *transfer {
	if t := o.transfer; t != nil {
		if demand {
			c.slots.promote(t.ticket)
		}
		return t
	}
	t := &transfer{c: c, o: o, use: use, done: make(chan struct{}), ticket: newTicket(demand)}
	t.ctx, t.cancel = context.WithCancel(c.ctx)
	t.source.Store("")
	o.transfer = t
	c.work.Add(1)
	go t.run()
	return t
}

// run brings the content, and whatever happens leaves the books in order.
func (t *transfer) run() {
	c, o := t.c, t.o
	defer c.work.Done()
	defer close(t.done)
	defer t.cancel()
	err := c.slots.take(t.ctx, t.ticket)
	if err == nil {
		err = t.bring()
		c.slots.give()
	}
	c.mu.Lock()
	o.transfer = nil
	t.err = err
	t.left = err != nil && t.ctx.Err() != nil
	switch {
	case err == nil:
		o.failure, o.mismatch = nil, 0
	case !t.left:
		c.fail(o, err)
		c.note(o, t.use.Name, err)
	}
	c.forget(o)
	c.mu.Unlock()
	c.pump()
}

// bring reserves room, fills the partial file, verifies and publishes it.
func (t *transfer) bring() error {
	c, o := t.c, t.o
	need := charge(o.size)
	if err := c.reserve(t.ctx, o, need); err != nil {
		return err
	}
	err := t.fill()
	if diskFull(err) && c.evictForDisk(need) {
		err = t.fill()
	}
	c.settle(t, need)
	return err
}

// fill is one attempt to get the content on disk and published.
func (t *transfer) fill() error {
	p, err := openPart(t)
	if err != nil {
		return err
	}
	defer p.close()
	t.c.allocated(t.o)
	if err := p.resume(t.ctx); err != nil {
		return err
	}
	if p.have() < t.o.size || t.o.size == 0 {
		if err := t.fromSources(p); err != nil {
			return err
		}
	} else if err := p.verify(); err != nil {
		// All of it was there, and wrong.
		if err := t.fromSources(p); err != nil {
			return err
		}
	}
	return p.publish()
}

// fromSources tries one source after the other until the partial file holds
// the verified content.
func (t *transfer) fromSources(p *part) error {
	if t.o.size == 0 {
		return p.verify()
	}
	if t.use.Origin == nil {
		return &FetchError{Key: t.o.key, Name: t.use.Name}
	}
	sources, err := t.use.Origin.Sources(t.ctx, t.o.key)
	if err != nil && len(sources) == 0 {
		return err
	}
	failed := &FetchError{Key: t.o.key, Name: t.use.Name}
	for _, s := range sources {
		t.source.Store(s.String())
		// Wrong bytes may be the fault of those that were there before, or
		// of the way: the same source gets a second chance from the start.
		for try := range 2 {
			err = p.from(t.ctx, s)
			if err == nil {
				return nil
			}
			if t.ctx.Err() != nil {
				return t.ctx.Err()
			}
			if diskFull(err) {
				return err
			}
			if !errors.Is(err, ErrMismatch) || try == 1 {
				break
			}
		}
		t.c.log.Warn("source failed", "file", t.use.Name, "key", t.o.key, "source", s, "err", err)
		failed.Tried = append(failed.Tried, Attempt{Source: s.String(), Err: err})
	}
	return failed
}

func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// sink takes a source's bytes: in order, not more than asked for, and none
// after the source has returned, whatever it left running.
type sink struct {
	mu     sync.Mutex
	p      *part
	left   int64
	closed bool
	err    error // of the disk
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return 0, errLate
	case s.err != nil:
		return 0, s.err
	case int64(len(b)) > s.left:
		return 0, errTooMuch
	}
	n, err := s.p.write(b)
	s.left -= int64(n)
	s.err = err
	return n, err
}

func (s *sink) close() (left int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.left, s.err
}

var (
	errLate    = errors.New("the source wrote after its end")
	errTooMuch = errors.New("the source sent more than the key's size")
)

// from gets what is missing from one source and verifies the whole.
func (p *part) from(ctx context.Context, s Source) error {
	if placer, ok := s.(Placer); ok {
		return p.place(ctx, placer)
	}
	w := &sink{p: p, left: p.size - p.have()}
	err := s.Fetch(ctx, p.have(), w.left, w)
	left, diskErr := w.close()
	switch {
	case diskErr != nil:
		return diskErr
	case err != nil:
		return err
	case left > 0:
		return fmt.Errorf("%w: %d bytes too few", io.ErrUnexpectedEOF, left)
	}
	return p.verify()
}

// place lets a source bring the whole file and takes it over.
func (p *part) place(ctx context.Context, s Placer) error {
	path := p.t.c.store.place(p.t.o.key)
	os.Remove(path)
	defer os.Remove(path)
	if err := p.restart(); err != nil {
		return err
	}
	err := s.Place(ctx, path, func(done int64) { p.t.have.Store(min(max(done, 0), p.size)) })
	p.t.have.Store(0)
	if err != nil {
		return err
	}
	return p.adopt(ctx, path)
}
