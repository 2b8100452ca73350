package cache

import (
	"context"
	"errors"
	"os"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Glance brings what a first look at a key's content would read, behind all
// readers. It brings nothing when that takes the whole of a large file.
func (c *Cache) Glance(ctx context.Context, key annex.Key, use Use) error {
	h, err := c.open(key, use, false)
	if err != nil {
		return err
	}
	defer h.Close()
	if h.o.size <= wholeUpTo {
		return h.ready(ctx, background)
	}
	err = h.withFile(ctx, func(f *os.File, t *transfer) error {
		if f != nil {
			return nil
		}
		return t.glance(ctx, h)
	})
	if errors.Is(err, errTooDear) {
		return nil
	}
	return err
}

// Idle reports whether nobody waits for a source or for room: what is only
// guessed at may be fetched then.
func (c *Cache) Idle() bool {
	c.mu.Lock()
	waiting := len(c.waiting)
	c.mu.Unlock()
	return waiting == 0 && c.slots.idle()
}

// errTooDear says that a glance would bring a whole large file.
var errTooDear = errors.New("only the whole can be had")

// glance waits for the start of the content.
func (t *transfer) glance(ctx context.Context, h *Handle) error {
	d := &demand{interval: interval{0, firstLook(t.o.size)}, h: h, class: background, spare: true, done: make(chan struct{})}
	d.now = d.interval
	if here, err := t.askFor(d); here || err != nil {
		return err
	}
	return t.wait(ctx, d)
}

// askFor puts a glance on the list, unless its bytes are here or on their way.
func (t *transfer) askFor(d *demand) (here bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.ended || t.closing:
		return false, errEnded
	case t.placing:
		return true, nil
	}
	if err := t.open(); err != nil {
		return false, err
	}
	if t.have.has(d.interval) {
		return true, nil
	}
	return false, t.demand(d)
}

// refuseSpare ends the glances that would take more than they are worth.
// Callers hold mu.
func (t *transfer) refuseSpare(dear func(*demand) bool) {
	t.refuse(errTooDear, func(d *demand) bool { return d.spare && dear(d) })
}
