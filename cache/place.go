package cache

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/cache/internal/queue"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// askPlacer lets a source bring the whole, once nothing else is under way.
// Callers hold the lock.
func (t *transfer) askPlacer(from Placer, at int) (step func(), again time.Time) {
	t.refuseCheap(func(*waiter) bool { return true })
	if !t.wants() || len(t.content.requests) > 0 {
		return nil, again
	}
	if err := t.tooLargeToPlace(); err != nil {
		t.pass(at, err)
		t.kick()
		return nil, again
	}
	ctx, cancel := context.WithCancel(t.ctx)
	t.supply.unplace = cancel
	t.content.placing = true
	return func() { t.place(ctx, cancel, from, at) }, again
}

// silence is how long a source that brings the whole may bring nothing while
// others that were out of reach could be back.
const silence = 30 * time.Second

// place lets a source bring the whole file.
func (t *transfer) place(ctx context.Context, cancel context.CancelFunc, from Placer, at int) {
	p, err := t.bringWhole(ctx, from)
	left := ctx.Err() != nil
	cancel()
	t.c.do(func() {
		c := &t.content
		c.placing, c.placed = false, 0
		t.supply.unplace = nil
		var full *NoSpaceError
		switch {
		case err == nil:
			c.part, c.stock = p, partial.Stock{}
			c.stock.Add(interval{Off: 0, End: t.o.Size}, from.String(), from.Exact())
		case errors.Is(err, errSilent):
			t.pass(at, source.Outage(err))
		case left:
		case errors.As(err, &full), disk.IsFull(err), errors.Is(err, errLocal):
			t.failLocally(nil, err)
		case errors.Is(err, ErrMismatch):
			t.blame([]string{from.String()})
		default:
			t.pass(at, err)
		}
		t.reclaim()
	})
}

// errLocal marks a failure of this machine, which says nothing of the source.
var errLocal = errors.New("it cannot be put into the cache")

var errSilent = errors.New("it brings nothing")

// bringWhole returns the verified file that a source brings. What was there
// goes first: the budget has room for one.
func (t *transfer) bringWhole(ctx context.Context, from Placer) (*partial.File, error) {
	if p, ok := from.(source.Preparer); ok {
		ready, release, err := t.prepare(ctx, p)
		if err != nil {
			return nil, err
		}
		defer release()
		from = ready
	}
	var as queue.Class
	var need int64
	t.c.do(func() { as, need = t.class(), t.cost()-t.account.Reserved })
	if need > 0 {
		if err := t.c.shelf.Reserve(ctx, &t.account, need, as); err != nil {
			return nil, err
		}
	}
	if err := t.c.queue.Take(ctx, queue.NewTicket(as)); err != nil {
		return nil, err
	}
	defer t.c.queue.Give()
	path := t.c.shelf.Store.Placed(t.f.File.Ident.Name())
	if err := t.c.shelf.Store.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(errLocal, err)
	}
	if err := t.makeWay(); err != nil {
		return nil, errors.Join(errLocal, err)
	}
	err := t.placeWatched(ctx, from, path)
	var p *partial.File
	if err == nil {
		p, err = partial.Adopt(t.c.shelf.Store, path, t.f.File.Ident, t.o.Size)
		if err == nil {
			err = p.Verify(ctx)
		}
		if err != nil && !errors.Is(err, ErrMismatch) {
			err = errors.Join(errLocal, err)
		}
	}
	if err != nil {
		if p != nil {
			p.Close()
		}
		if removeErr := t.c.shelf.Store.Remove(path); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
			t.c.log.Error("what a source brought cannot be removed", "key", t.o.Key, "err", removeErr)
			left := t.c.shelf.Store.LeftPlaced(t.f.File.Ident.Name())
			t.c.do(func() { t.c.shelf.NoteAllocated(&t.account, left) })
		}
		return nil, err
	}
	t.c.do(func() { t.c.shelf.NoteAllocated(&t.account, disk.RoundUp(t.o.Size)) })
	t.settlePast(p)
	return p, nil
}

// prepare has a source bring what it needs. What that wants of the cache it gets as
// others do: the transfer has no turn meanwhile.
func (t *transfer) prepare(ctx context.Context, p source.Preparer) (ready Placer, release func(), err error) {
	err = t.c.shelf.Guard("Prepare", func() (err error) {
		ready, release, err = p.Prepare(ctx)
		return err
	})
	return ready, release, err
}

// placeWatched calls a Placer. When others were out of reach before it and it
// brings nothing for long, they get their turn again.
func (t *transfer) placeWatched(ctx context.Context, from Placer, path string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := false
	t.c.do(func() { out = t.supply.IsOut() })
	watch := time.AfterFunc(silence, func() {
		if out {
			cancel(errSilent)
		}
	})
	defer watch.Stop()
	progress := func(done int64) {
		watch.Reset(silence)
		t.c.do(func() {
			done = min(max(done, 0), t.o.Size)
			t.progressed(max(done-t.content.placed, 0))
			t.content.placed = done
		})
	}
	err := t.c.shelf.Guard("Place", func() error { return from.Place(ctx, path, progress) })
	if err != nil && errors.Is(context.Cause(ctx), errSilent) {
		return errSilent
	}
	return err
}

// makeWay removes the partial file, and takes the digests of what was in it if
// somebody was served of that.
func (t *transfer) makeWay() error {
	var old *partial.File
	var have partial.Ranges
	exposed, never := false, false
	t.c.do(func() {
		c := &t.content
		old, have, exposed = c.part, c.stock.Have, t.f.Exposed
		never = old == nil && t.account.Allocated == 0
		c.part, c.stock = nil, partial.Stock{} // nobody is served of it from now on
		t.reclaim()
	})
	switch {
	case never:
		return nil
	case old == nil: // at rest, and not opened
		old = t.f.File
		if exposed {
			t.disown(old)
		}
		return t.throwAway(old)
	case !exposed:
		return t.throwAway(old)
	}
	seen, err := old.Digests(have)
	if err != nil {
		t.disown(old) // nothing could ever prove it
	} else {
		t.c.do(func() { t.content.past = append(t.content.past, past{old, seen}) })
	}
	return errors.Join(err, t.throwAway(old))
}
