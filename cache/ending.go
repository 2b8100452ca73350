package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/cache/internal/shelf"
)

// finish verifies the complete file and publishes it.
func (t *transfer) finish() {
	p := t.content.part
	err := p.Verify(t.ctx)
	switch {
	case err == nil:
		t.publish(p)
	case errors.Is(err, ErrMismatch):
		t.mismatch(p)
	case t.ctx.Err() != nil:
		t.c.do(func() { t.phase = filling })
	default:
		// What cannot be read is fetched again, and nothing can prove it.
		t.disown(p)
		t.throwAway(p)
		t.c.do(func() {
			t.phase = filling
			t.failLocally(nil, fmt.Errorf("its partial file cannot be read: %w", err))
		})
	}
}

// publish makes the verified file the object.
func (t *transfer) publish(p *partial.File) {
	t.settlePast(p)
	// From the claim on nobody joins.
	mine, err := t.c.shelf.ClaimName(t.o, t.done, func() { t.phase = ending })
	switch {
	case err != nil:
		t.c.do(func() {
			t.phase = filling
			t.failLocally(nil, fmt.Errorf("cannot put it into the cache: %w", err))
		})
		return
	case !mine:
		t.overtaken()
		return
	}
	err = p.Publish(func(from string) error { return t.c.shelf.Store.Publish(t.o.Key, from) })
	if err != nil {
		// Readers that came meanwhile wait for the end and look again.
		t.c.do(func() { t.failLocally(nil, fmt.Errorf("cannot put it into the cache: %w", err)) })
		t.rest()
		return
	}
	info, err := t.c.shelf.Store.Stat(t.c.shelf.Store.Object(t.o.Key))
	refused, left := p.Refused(), t.c.shelf.Store.Left(t.f.File.Ident.Name())
	t.end(func() {
		if err != nil { // it has gone again already
			t.release(left)
			return
		}
		t.c.shelf.Published(&t.account, info, refused, left, t.use.Owner)
		t.c.failures.over(t.f.ID())
		t.refuse(nil, nil)
	})
	if err == nil && refused {
		t.c.do(func() { t.c.shelf.Distrust(t.o, info.ID) })
	}
}

// overtaken ends a transfer whose object another dataset's sources brought.
func (t *transfer) overtaken() {
	p := t.content.part
	if t.f.Exposed || len(t.content.past) > 0 {
		f, _, err := t.c.shelf.Store.OpenObject(t.o.Key, t.o.Size)
		wrong := err != nil || !partial.Agrees(f, t.pastDigests())
		if err == nil && !wrong && p != nil {
			digests, err := p.Digests(t.content.stock.Have)
			wrong = err != nil || !partial.Agrees(f, digests)
		}
		if f != nil {
			f.Close()
		}
		if wrong {
			t.disown(p)
		}
	}
	left := t.account.Allocated // of a partial file that was never opened
	if p != nil {
		left = t.discard(p)
	}
	t.end(func() {
		t.release(left)
		t.f.Exposed = false
		t.c.shelf.Renew(t.f)
		t.refuse(errEnded, nil)
	})
}

// rest ends a transfer that nobody needs, or whose object cannot be put into its
// place: what has come is kept.
func (t *transfer) rest() {
	left := t.account.Allocated // of a partial file that was never opened
	c := &t.content
	var err error
	switch p := c.part; {
	case p != nil && c.limit > 0:
		left = t.discard(p)
	case p != nil:
		if left, err = p.Leave(c.stock, t.account.Reserved); err != nil {
			t.c.log.Warn("what came of a content cannot be kept", "key", t.o.Key, "err", err)
			left, c.stock = t.discard(p), partial.Stock{}
		} else {
			left += t.c.shelf.Store.LeftPlaced(t.f.File.Ident.Name())
		}
	}
	useless := len(c.stock.Have) == 0 && c.part != nil
	t.end(func() {
		t.release(left)
		if t.f.Exposed && (left == 0 || useless) || len(c.past) > 0 {
			t.c.shelf.Revoke(t.o, t.f.Dataset) // nothing can prove it any more
			t.f.Exposed = t.f.Exposed && left > 0 && !useless
		}
		if left == 0 || useless {
			t.c.shelf.Renew(t.f)
		} else {
			t.c.shelf.PutToRest(t.f)
		}
		t.refuse(ErrClosed, nil)
	})
}

// end closes the books.
func (t *transfer) end(books func()) {
	var useless shelf.Marked
	t.c.do(func() {
		books()
		t.phase = ended
		t.refuse(ErrClosed, nil)
		close(t.done)
		useless = t.c.shelf.Ended(t.f, t.done)
	})
	t.c.shelf.Evict(useless)
	t.cancel()
	t.c.shelf.WakeRoomWaiters()
}

// release gives the transfer's reservation back, but for a partial file of left
// bytes. Callers hold the lock.
func (t *transfer) release(left int64) { t.c.shelf.Release(&t.account, left, t.use.Owner) }

// crash ends a transfer whose driver panicked.
func (t *transfer) crash(err error) {
	t.cancel()
	over := false
	t.c.do(func() {
		over = t.phase == ended
		t.refuse(err, nil)
	})
	if over {
		return
	}
	t.discard(t.f.File)
	if p := t.content.part; p != nil {
		t.discard(p)
	}
	left := t.c.shelf.Store.Left(t.f.File.Ident.Name())
	t.end(func() {
		t.release(left)
		if t.f.Exposed {
			t.c.shelf.Revoke(t.o, t.f.Dataset)
			t.f.Exposed = false
		}
		t.c.shelf.Renew(t.f)
		t.c.failures.note(t.f.ID(), err, t.c.options.FailureTTL)
	})
}

// closeFor bounds how long Close flushes data, and half of how long it waits.
const closeFor = 5 * time.Second

// Close ends all transfers, waits for them, and brings the ledger up to date,
// for some seconds at most: what was not flushed by then is hashed again when
// it is used the next time. Handles may still be closed afterwards; reads of
// what is not here fail with [ErrClosed].
func (c *Cache) Close() error {
	first := false
	c.do(func() {
		first = c.shelf.Shut()
		for _, t := range c.transfers() {
			t.shut()
		}
	})
	if !first {
		return nil
	}
	c.shelf.Stop(ErrClosed)
	ctx, cancel := context.WithTimeout(context.Background(), closeFor)
	defer cancel()
	closed := make(chan error, 1)
	go func() {
		closed <- c.shelf.Guard("Close", func() error { return c.shelf.Rest(ctx) })
	}()
	select {
	case err := <-closed:
		return err
	case <-time.After(2 * closeFor): // a flush that has begun cannot be broken off
		return fmt.Errorf("cache: the disk, or a source, did not come to an end within %v: some objects will be hashed again", 2*closeFor)
	}
}
