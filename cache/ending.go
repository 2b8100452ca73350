package cache

import (
	"errors"
	"fmt"

	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
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
	mine, err := t.claimName()
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
	err = p.Publish(func(from string) error { return t.c.store.Publish(t.o.key, from) })
	if err != nil {
		// Readers that came meanwhile wait for the end and look again.
		t.c.do(func() { t.failLocally(nil, fmt.Errorf("cannot put it into the cache: %w", err)) })
		t.rest()
		return
	}
	info, err := t.c.store.Stat(t.c.store.Object(t.o.key))
	refused, left := p.Refused(), t.c.store.Left(t.f.file.Ident.Name())
	t.end(func() {
		o := t.o
		if err != nil { // it has gone again already
			t.c.release(t, 0, left)
			return
		}
		t.c.release(t, info.Charge(), left)
		o.id = info.ID
		t.c.move(o, present)
		if !refused {
			t.c.ledger.unsynced = append(t.c.ledger.unsynced, o)
		}
		t.c.touch(o)
		delete(t.c.failures, t.f.id())
		t.f.exposed = false
		t.refuse(nil, nil)
	})
	if err == nil && refused {
		t.c.do(func() { t.c.distrust(t.o, info.ID) })
	}
}

// discard removes a partial file. It returns what the transfer still has on the
// disk, in bytes: nothing, but for what cannot be removed.
func (t *transfer) discard(p *partial.File) (left int64) {
	if err := p.Discard(); err != nil {
		t.c.log.Error("a partial file cannot be removed", "key", t.o.key, "err", err)
	}
	return t.c.store.Left(t.f.file.Ident.Name())
}

// outdo marks what is at rest of an object that is present now: it is of no
// more use. What was served of it was never proven, and right bytes must not be
// added to it. Callers hold mu and then call evict.
func (c *Cache) outdo(o *object) (useless []*item) {
	for _, f := range o.fills {
		if f.transfer != nil || f.removed != nil || f.item.blocks == 0 {
			continue
		}
		if f.exposed {
			c.revoke(o, f.dataset)
			f.exposed = false
		}
		c.mark(&f.item)
		useless = append(useless, &f.item)
	}
	return useless
}

// claimName returns true when the transfer may put a file under the object's
// name: nobody else is going to, and nothing is there. It returns false when
// another dataset's transfer was faster. From then on nobody joins.
func (t *transfer) claimName() (mine bool, err error) {
	o := t.o
	for {
		var gone <-chan struct{}
		var old *item
		late := false
		t.c.do(func() {
			switch {
			case o.phase == present:
				late = true
			case o.phase == removing:
				gone = o.removed
			case o.publishing != nil:
				gone = o.publishing.done
			case o.check != nil:
				gone = o.check.done
			case o.phase == unchecked:
				old = &o.file // what we have is better
				t.c.mark(old)
			default:
				mine, o.publishing = true, t
			}
			if mine || late {
				t.phase = ending
			}
		})
		switch {
		case mine || late:
			return mine, nil
		case old != nil:
			if err := t.c.removeMarked(old, false); err != nil {
				return false, err
			}
		default:
			<-gone
		}
	}
}

// overtaken ends a transfer whose object another dataset's sources brought.
func (t *transfer) overtaken() {
	p := t.content.part
	if t.f.exposed || len(t.content.past) > 0 {
		f, _, err := t.c.store.OpenObject(t.o.key, t.o.size)
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
	left := t.account.allocated // of a partial file that was never opened
	if p != nil {
		left = t.discard(p)
	}
	t.end(func() {
		t.c.release(t, -1, left)
		t.f.exposed = false
		t.f.file = partial.New(t.c.store, t.c.store.Partials(), t.f.file.Ident, t.o.size)
		t.refuse(errEnded, nil)
	})
}

// rest ends a transfer that nobody needs, or whose object cannot be put into its
// place: what has come is kept.
func (t *transfer) rest() {
	left := t.account.allocated // of a partial file that was never opened
	c := &t.content
	var err error
	switch p := c.part; {
	case p != nil && c.limit > 0:
		left = t.discard(p)
	case p != nil:
		if left, err = p.Leave(c.stock, t.account.reserved); err != nil {
			t.c.log.Warn("what came of a content cannot be kept", "key", t.o.key, "err", err)
			left, c.stock = t.discard(p), partial.Stock{}
		} else {
			left += t.c.store.LeftPlaced(t.f.file.Ident.Name())
		}
	}
	useless := len(c.stock.Have) == 0 && c.part != nil
	t.end(func() {
		t.c.release(t, -1, left)
		if t.f.exposed && (left == 0 || useless) || len(c.past) > 0 {
			t.c.revoke(t.o, t.f.dataset) // nothing can prove it any more
			t.f.exposed = t.f.exposed && left > 0 && !useless
		}
		if left == 0 || useless {
			t.f.file = partial.New(t.c.store, t.c.store.Partials(), t.f.file.Ident, t.o.size)
		} else {
			t.c.ledger.resting = append(t.c.ledger.resting, t.f)
		}
		t.refuse(ErrClosed, nil)
	})
}

// end closes the books.
func (t *transfer) end(books func()) {
	var useless []*item
	t.c.do(func() {
		books()
		t.phase = ended
		t.f.transfer = nil
		if t.o.publishing == t {
			t.o.publishing = nil
		}
		t.refuse(ErrClosed, nil)
		close(t.done)
		if t.o.phase == present {
			useless = t.c.outdo(t.o)
		}
		t.c.settle(t.o)
	})
	t.c.evict(useless)
	t.cancel()
	t.c.wakeRoomWaiters()
}

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
	t.discard(t.f.file)
	if p := t.content.part; p != nil {
		t.discard(p)
	}
	left := t.c.store.Left(t.f.file.Ident.Name())
	t.end(func() {
		t.c.release(t, -1, left)
		if t.f.exposed {
			t.c.revoke(t.o, t.f.dataset)
			t.f.exposed = false
		}
		t.f.file = partial.New(t.c.store, t.c.store.Partials(), t.f.file.Ident, t.o.size)
		t.c.failures.note(t.f.id(), err, t.c.options.FailureTTL)
	})
}
