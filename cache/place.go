package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// wholly is a source that cannot give a part of the content.
type wholly struct {
	Source
	size int64
}

// Place implements Placer.
func (s wholly) Place(ctx context.Context, path string, progress func(done int64)) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	w := &placeWriter{f: f, left: s.size, progress: progress}
	err = s.Fetch(ctx, 0, s.size, w)
	if err == nil && w.left > 0 {
		err = fmt.Errorf("%w: %d bytes too few", io.ErrUnexpectedEOF, w.left)
	}
	return errors.Join(err, f.Close())
}

type placeWriter struct {
	f        *os.File
	left     int64
	progress func(done int64)
	done     int64
}

func (w *placeWriter) Write(b []byte) (int, error) {
	if int64(len(b)) > w.left {
		return 0, errTooMuch
	}
	n, err := w.f.Write(b)
	w.left -= int64(n)
	w.done += int64(n)
	w.progress(w.done)
	return n, err
}

// place lets a source bring the whole file.
func (t *transfer) place(ctx context.Context, from Placer) {
	defer t.c.work.Done()
	p, err := t.bringWhole(ctx, from)
	ended := ctx.Err() != nil
	t.mu.Lock()
	t.placing = false
	t.unplace()
	t.placed.Store(0)
	switch {
	case err == nil:
		t.part, t.have = p, nil
		t.have.add(interval{0, t.o.size})
	case ended || diskFull(err):
	case errors.Is(err, ErrMismatch) && !t.again:
		t.again = true
	default:
		t.pass(t.at, err)
	}
	t.reclaim()
	t.mu.Unlock()
	if err != nil && !ended && diskFull(err) {
		t.fail(err)
	}
	t.mu.Lock()
	t.plan()
	t.mu.Unlock()
	t.maybeEnd()
}

// bringWhole returns the verified file that a source brings. What was there
// goes first: the budget has room for one.
func (t *transfer) bringWhole(ctx context.Context, from Placer) (*part, error) {
	ticket := &ticket{class: t.urgency(), turn: make(chan struct{})}
	if err := t.reserveAll(ctx, ticket.class); err != nil {
		return nil, err
	}
	if err := t.c.slots.take(ctx, ticket); err != nil {
		return nil, err
	}
	defer t.c.slots.give()
	if err := t.clear(); err != nil {
		return nil, err
	}
	path := t.c.store.place(t.o.key)
	os.Remove(path)
	err := from.Place(ctx, path, func(done int64) { t.placed.Store(min(max(done, 0), t.o.size)) })
	var p *part
	if err == nil {
		p, err = t.c.store.adopt(path, t.o.key, t.o.size)
	}
	if err == nil {
		err = p.verify(ctx)
	}
	if err != nil {
		if p != nil {
			p.f.Close()
		}
		os.Remove(path)
		return nil, err
	}
	t.c.allocated(t, roundUp(t.o.size))
	t.settlePast(p)
	return p, nil
}

// urgency returns the class of the most urgent demand.
func (t *transfer) urgency() class {
	t.mu.Lock()
	defer t.mu.Unlock()
	as := background
	for _, d := range t.demands {
		as = min(as, d.class)
	}
	return as
}

// reserveAll reserves what is missing of the whole file's room.
func (t *transfer) reserveAll(ctx context.Context, as class) error {
	t.room.Lock()
	defer t.room.Unlock()
	t.c.mu.Lock()
	need := charge(t.o.size) - t.reserved
	t.c.mu.Unlock()
	if need <= 0 {
		return nil
	}
	return t.c.reserve(ctx, t, need, as)
}

// clear removes the partial file, and takes the sums of what was in it.
func (t *transfer) clear() error {
	t.mu.Lock()
	old, have := t.part, t.have
	t.part, t.have = nil, nil
	t.reclaim()
	t.mu.Unlock()
	if old == nil {
		return nil
	}
	seen, err := old.witnesses(have)
	if err != nil {
		t.disown(old) // nothing could ever prove it
	}
	t.mu.Lock()
	t.past = append(t.past, past{old, seen})
	t.mu.Unlock()
	if err := errors.Join(err, old.discard()); err != nil {
		return err
	}
	t.c.gone(t)
	return nil
}

// past is a partial file that was thrown away, with the sums of what was in it.
type past struct {
	*part
	seen []witness
}

// settlePast finds out by the verified content whether what was served of
// earlier files was right. Until it is called, nobody is served.
func (t *transfer) settlePast(right *part) {
	t.mu.Lock()
	all := t.past
	t.mu.Unlock()
	for _, old := range all {
		if !right.agrees(old.seen) {
			t.disown(old.part)
		}
	}
	t.mu.Lock()
	t.past = t.past[len(all):]
	t.mu.Unlock()
}

// A witness tells whether bytes that were thrown away come again.
type witness struct {
	interval
	sum [sha256.Size]byte
}

// witnesses takes the sums of what is there.
func (p *part) witnesses(have ranges) ([]witness, error) {
	var all []witness
	for _, i := range have {
		sum, err := sumOf(p.f, i)
		if err != nil {
			return nil, err
		}
		all = append(all, witness{i, sum})
	}
	return all, nil
}

func sumOf(f *os.File, i interval) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	_, err = io.Copy(h, io.NewSectionReader(f, i.off, i.len()))
	return [sha256.Size]byte(h.Sum(nil)), err
}

// agrees reports whether the file has the bytes that the witnesses saw.
func (p *part) agrees(all []witness) bool {
	for _, w := range all {
		if sum, err := sumOf(p.f, w.interval); err != nil || sum != w.sum {
			return false
		}
	}
	return true
}

// adopt takes over the whole file that a source made at path.
func (s store) adopt(path string, key annex.Key, size int64) (*part, error) {
	f, st, err := openFile(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	if st.size != size {
		f.Close()
		return nil, fmt.Errorf("%w: it has %d bytes, not %d", ErrMismatch, st.size, size)
	}
	return newPart(f, path, key, size), nil
}
