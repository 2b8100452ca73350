package cache

import (
	"context"
	"errors"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/queue"
	"github.com/uniharmony/uniharmonyfs/cache/internal/readplan"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Fetch brings a key's content and returns when it is there and verified, or
// cannot be had. It goes behind readers.
func (c *Cache) Fetch(ctx context.Context, key annex.Key, use Use) error {
	h, err := c.open(key, use, false)
	if err != nil {
		return err
	}
	defer h.Close()
	return h.ready(ctx, queue.Background)
}

// PrefetchHeader brings what a first look at a key's content would read, behind
// all readers. It brings nothing when that takes the whole of a large file.
func (c *Cache) PrefetchHeader(ctx context.Context, key annex.Key, use Use) error {
	h, err := c.open(key, use, false)
	if err != nil {
		return err
	}
	defer h.Close()
	if h.o.Size <= readplan.WholeUpTo {
		return h.ready(ctx, queue.Background)
	}
	err = h.withFile(ctx, func(f disk.File, t *transfer) error {
		if f != nil {
			return nil
		}
		return t.header(ctx, h)
	})
	if errors.Is(err, errTooDear) {
		return nil
	}
	return err
}

// Idle reports whether nobody waits for a source or for room: what is only
// guessed at may be fetched then.
func (c *Cache) Idle() bool {
	return c.shelf.RoomWaiters() == 0 && c.queue.Idle()
}

// errTooDear says that a look at a header would bring a whole large file.
var errTooDear = errors.New("only the whole can be had")

// header waits for the start of the content, unless it is here or on its way.
func (t *transfer) header(ctx context.Context, h *Handle) error {
	w := &waiter{
		interval: interval{Off: 0, End: readplan.Header(t.o.Size)}, h: h,
		class: queue.Background, cheap: true, since: time.Now(), done: make(chan struct{}),
	}
	w.plan.Now = w.interval
	var err error
	here := false
	t.c.do(func() {
		switch {
		case t.phase >= ending || t.closing:
			err = errEnded
		case t.content.placing || t.content.stock.Have.Has(w.interval):
			here = true
		default:
			err = t.enlist(w)
		}
	})
	if here || err != nil {
		return err
	}
	return t.await(ctx, w)
}
