package cache

import (
	"fmt"

	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
)

// What came and is wrong, or can be proven no more: who was served of it is told, and it
// goes.

// discard removes a partial file. It returns what the transfer still has on the
// disk, in bytes: nothing, but for what cannot be removed.
func (t *transfer) discard(p *partial.File) (left int64) {
	if err := p.Discard(); err != nil {
		t.c.log.Error("a partial file cannot be removed", "key", t.o.Key, "err", err)
	}
	return t.c.shelf.Store.Left(t.f.File.Ident.Name())
}

// throwAway removes the partial file. What was in it is not there any more.
func (t *transfer) throwAway(p *partial.File) error {
	var err error
	left := t.discard(p)
	if left > 0 {
		err = fmt.Errorf("a partial file cannot be removed")
	}
	t.c.do(func() {
		c := &t.content
		c.part, c.stock = nil, partial.Stock{}
		t.c.shelf.Renew(t.f)
		t.reclaim()
		t.c.shelf.NoteAllocated(&t.account, min(left, t.account.Allocated)-t.account.Allocated)
	})
	return err
}

// past is a partial file that was thrown away, with the digests of what was in
// it when it was served.
type past struct {
	*partial.File
	seen []partial.Digest
}

func (t *transfer) pastDigests() (all []partial.Digest) {
	for _, old := range t.content.past {
		all = append(all, old.seen...)
	}
	return all
}

// settlePast finds out by the verified content whether what was served of
// earlier files was right. Until it is called, nobody is served.
func (t *transfer) settlePast(right *partial.File) {
	for _, old := range t.content.past {
		if !partial.Agrees(right, old.seen) {
			t.disown(old.File)
		}
	}
	t.c.do(func() { t.content.past = nil })
}

// mismatch throws wrong bytes away.
func (t *transfer) mismatch(p *partial.File) {
	t.disown(p) // before another file can be served
	names := t.content.stock.Sources()
	t.throwAway(p)
	t.c.do(func() {
		t.phase = filling
		t.content.suspect = true
		t.blame(names)
	})
}

// disown declares the bytes of a partial file wrong: who has read some of them
// gets no more, and what is kept of them is revoked. Who reads at this moment
// may have got some from there.
func (t *transfer) disown(p *partial.File) {
	if p != nil {
		p.Wrong()
	}
	t.c.do(func() {
		for h := range t.wanted.handles {
			if h.seen != nil && (p == nil || h.seen == p) {
				h.misled.Store(true)
			}
		}
		if t.f.Exposed {
			t.c.shelf.Revoke(t.o, t.f.Dataset)
		}
		t.refuse(errMisled, func(w *waiter) bool { return w.h.misled.Load() || w.reader && t.f.Exposed })
		t.f.Exposed = false
	})
}

// proveWindowed compares the hash of all that streamed through with the key.
func (t *transfer) proveWindowed(p *partial.File) {
	if err := p.Verify(t.ctx); err != nil {
		t.mismatch(p)
		return
	}
	t.c.do(func() {
		t.content.proven = true
		// Others than those that were hashed may have been served: they are
		// revoked when nobody reads any more.
		t.f.Exposed = t.f.Exposed && t.content.unproven
		t.wakeWaiters()
	})
}
