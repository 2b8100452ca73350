package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/cache/internal/queue"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// wholly is a source that cannot give a part of the content.
type wholly struct {
	Source
	size int64
	disk disk.Disk
}

// Place implements Placer.
func (s wholly) Place(ctx context.Context, path string, progress func(done int64)) error {
	f, err := s.disk.Create(path)
	if err != nil {
		return err
	}
	w := &placeWriter{f: f, size: s.size, progress: progress}
	err = s.Fetch(ctx, 0, s.size, w)
	if err == nil && w.done < s.size {
		err = fmt.Errorf("%w: %d bytes too few", io.ErrUnexpectedEOF, s.size-w.done)
	}
	return errors.Join(err, f.Close())
}

type placeWriter struct {
	f          io.WriterAt
	size, done int64
	progress   func(done int64)
}

func (w *placeWriter) Write(b []byte) (int, error) {
	if int64(len(b)) > w.size-w.done {
		return 0, errTooMuch
	}
	n, err := w.f.WriteAt(b, w.done)
	w.done += int64(n)
	w.progress(w.done)
	return n, err
}

// askPlacer lets a source bring the whole, once nothing else is under way.
// Callers hold mu.
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
			c.stock.Add(interval{Off: 0, End: t.o.size}, from.String(), from.Exact())
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
	var as queue.Class
	var need int64
	t.c.do(func() { as, need = t.class(), t.cost()-t.account.reserved })
	if need > 0 {
		if err := t.c.reserve(ctx, t, need, as); err != nil {
			return nil, err
		}
	}
	if err := t.c.queue.Take(ctx, queue.NewTicket(as)); err != nil {
		return nil, err
	}
	defer t.c.queue.Give()
	path := t.c.store.Placed(t.f.file.Ident.Name())
	if err := t.c.store.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(errLocal, err)
	}
	if err := t.makeWay(); err != nil {
		return nil, errors.Join(errLocal, err)
	}
	err := t.placeWatched(ctx, from, path)
	var p *partial.File
	if err == nil {
		p, err = partial.Adopt(t.c.store, path, t.f.file.Ident, t.o.size)
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
		if removeErr := t.c.store.Remove(path); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
			t.c.log.Error("what a source brought cannot be removed", "key", t.o.key, "err", removeErr)
			left := t.c.store.LeftPlaced(t.f.file.Ident.Name())
			t.c.do(func() { t.c.noteAllocated(t, left) })
		}
		return nil, err
	}
	t.c.do(func() { t.c.noteAllocated(t, disk.RoundUp(t.o.size)) })
	t.settlePast(p)
	return p, nil
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
			done = min(max(done, 0), t.o.size)
			t.progressed(max(done-t.content.placed, 0))
			t.content.placed = done
		})
	}
	err := t.c.guard("Place", func() error { return from.Place(ctx, path, progress) })
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
		old, have, exposed = c.part, c.stock.Have, t.f.exposed
		never = old == nil && t.account.allocated == 0
		c.part, c.stock = nil, partial.Stock{} // nobody is served of it from now on
		t.reclaim()
	})
	switch {
	case never:
		return nil
	case old == nil: // at rest, and not opened
		old = t.f.file
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
		t.f.file = partial.New(t.c.store, t.c.store.Partials(), t.f.file.Ident, t.o.size)
		t.reclaim()
		t.c.noteAllocated(t, min(left, t.account.allocated)-t.account.allocated)
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
		if t.f.exposed {
			t.c.revoke(t.o, t.f.dataset)
		}
		t.refuse(errMisled, func(w *waiter) bool { return w.h.misled.Load() || w.reader && t.f.exposed })
		t.f.exposed = false
	})
}
