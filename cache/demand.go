package cache

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
)

// demand is a reader that waits for bytes, or for the whole.
type demand struct {
	interval
	wish
	h     *Handle
	whole bool // until it is verified
	spare bool // a guess: not worth more than its bytes
	class class
	done  chan struct{}
	err   error // valid after done
}

// errEnded says that the transfer has ended: the object is here, or another
// transfer is needed.
var errEnded = errors.New("the transfer has ended")

// read serves a read, waiting for its bytes.
func (t *transfer) read(ctx context.Context, h *Handle, p []byte, off int64) (int, error) {
	n := min(int64(len(p)), t.o.size-off)
	want := interval{off, off + n}
	for first := true; ; first = false {
		part, d, err := t.look(h, want, first)
		if err != nil {
			return 0, err
		}
		if d != nil {
			if err := t.wait(ctx, d); err != nil {
				return 0, err
			}
			continue
		}
		h.serve(part)
		got, err := part.f.ReadAt(p[:n], off)
		switch {
		case part.wrong.Load():
			return 0, errWrong
		case errors.Is(err, os.ErrClosed):
			continue
		case err == nil && int(n) < len(p):
			err = io.EOF
		}
		return got, err
	}
}

// look finds the bytes in the partial file, or leaves a demand for them.
func (t *transfer) look(h *Handle, want interval, first bool) (*part, *demand, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended || t.closing {
		return nil, nil, errEnded
	}
	if !t.placing {
		if err := t.open(); err != nil {
			return nil, nil, err
		}
	}
	here := t.servable(h, want)
	if first {
		h.window.sure = h.through.Load()
		w := h.window.read(want, t.o.size, here)
		t.readers[h] = w
		t.complete = t.complete || w.complete && !h.use.NoReadAhead
	}
	if here {
		t.plan()
		return t.part, nil, nil
	}
	d := &demand{interval: want, wish: t.readers[h], h: h, done: make(chan struct{})}
	d.whole = want.end > t.held()
	if want.off < d.now.off || want.end > d.now.end { // of another read
		d.now = interval{want.off / grain * grain, min(roundUp(want.end), t.o.size)}
	}
	return nil, d, t.demand(d)
}

// whole waits until the object is here and verified.
func (t *transfer) whole(ctx context.Context, h *Handle, as class) error {
	d := &demand{interval: interval{0, t.o.size}, h: h, whole: true, class: as, done: make(chan struct{})}
	t.mu.Lock()
	if t.ended || t.closing {
		t.mu.Unlock()
		return errEnded
	}
	err := t.demand(d)
	t.mu.Unlock()
	if err != nil {
		return err
	}
	return t.wait(ctx, d)
}

// demand puts a demand on the list, unless what it needs failed a moment ago.
// Callers hold mu.
func (t *transfer) demand(d *demand) error {
	if t.failed() {
		return t.failure
	}
	t.demands = append(t.demands, d)
	t.plan()
	return nil
}

// wait waits for a demand to be met.
func (t *transfer) wait(ctx context.Context, d *demand) error {
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.demands = slices.DeleteFunc(t.demands, func(x *demand) bool { return x == d })
	return ctx.Err()
}

// held returns the offset of what is held back until the whole is verified.
func (t *transfer) held() int64 { return max(t.o.size-1, 0) / grain * grain }

// strict reports whether a reader gets nothing before the whole is verified.
// Callers hold mu.
func (t *transfer) strict(h *Handle) bool {
	return h.use.Strict || t.suspect || t.o.size <= wholeUpTo || t.sources != nil && t.at < len(t.sources) && !t.sources[t.at].Exact()
}

// servable reports whether bytes may be read from the partial file. Callers
// hold mu.
func (t *transfer) servable(h *Handle, i interval) bool {
	return i.end <= t.held() && t.have.has(i) && !t.strict(h)
}

// arrived notes bytes that were written, and wakes who waits for them.
func (t *transfer) arrived(p *part, i interval) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.have.add(i)
	t.wake()
	if n := t.have.prefix(); !t.hashing && !t.finishing && n-p.hashed.Load() > 4*chunk {
		t.hashing = true
		t.c.work.Add(1)
		go t.catchUp(p, n)
	}
}

// wake meets the demands whose bytes are here. Callers hold mu.
func (t *transfer) wake() {
	t.demands = slices.DeleteFunc(t.demands, func(d *demand) bool {
		met := !d.whole && t.servable(d.h, d.interval)
		if met {
			close(d.done)
		}
		return met
	})
}

// refuse ends the demands that match. Callers hold mu.
func (t *transfer) refuse(err error, match func(*demand) bool) {
	t.demands = slices.DeleteFunc(t.demands, func(d *demand) bool {
		if match != nil && !match(d) {
			return false
		}
		d.err = err
		close(d.done)
		return true
	})
}
