package cache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Everything at once, and against all odds: many readers of few files in every
// manner, sources that break off, send too little or wrong bytes or forget
// ranges, a budget that holds a third, drops, pins and changes of the budget
// in between, and restarts. Every byte that is read in full good faith of the
// sources is right, the books agree with the disk, and nothing hangs.
func TestTorture(t *testing.T) {
	sizes := []int{0, 1, 4096, 70 * kib, mib, mib + 1, 3 * mib, 9*mib + 17, 20 * mib}
	var all []content
	var sum int64
	for i, n := range sizes {
		all = append(all, makeContent(t, uint64(200+i), n))
		sum += int64(n)
	}
	for _, liars := range []bool{false, true} {
		dir, used := ownFileSystem(t)
		empty := used()
		var budget atomic.Int64
		budget.Store(sum/2 + 4*mib)
		for round := range 2 {
			c := open(t, dir, cache.Options{Budget: budget.Load(), FailureTTL: time.Millisecond, RoomWait: 100 * time.Millisecond})
			torture(t, c, all, uint64(round), liars)
			if t.Failed() {
				return
			}
			s := settle(t, c)
			c.Drop(nil)
			if s = c.Status(); s.Used != 0 || diskUse(dir) != 0 || used()-empty > 64*kib {
				t.Errorf("after all was dropped: used %d; files of %d on disk, %d in all", s.Used, diskUse(dir), used()-empty)
			}
			c.Close()
		}
	}
}

func torture(t *testing.T, c *cache.Cache, all []content, seed uint64, liars bool) {
	origin := &moody{all: make(map[annex.Key]content), liars: liars}
	for _, one := range all {
		origin.all[one.key] = one
	}
	stop := make(chan struct{})
	var readers, others sync.WaitGroup
	var good, bad atomic.Int64
	for r := range 8 {
		rnd := rand.New(rand.NewPCG(seed, uint64(r)))
		readers.Go(func() {
			for range 40 {
				one := all[rnd.IntN(len(all))]
				strict := rnd.IntN(4) == 0
				err := readSomehow(t, c, one, rnd, cache.Use{Origin: origin, Name: "x", Strict: strict, NoReadAhead: rnd.IntN(2) == 0}, strict || !liars)
				if err == nil {
					good.Add(1)
				} else {
					bad.Add(1)
				}
			}
		})
	}
	others.Go(func() {
		rnd := rand.New(rand.NewPCG(seed, 99))
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			key := all[rnd.IntN(len(all))].key
			switch rnd.IntN(5) {
			case 0:
				c.Drop(func(_ string, k annex.Key) bool { return k == key })
			case 1:
				c.Pin([]annex.Key{key})
				c.Unpin([]annex.Key{key})
			case 2:
				c.Verify(context.Background(), key)
			case 3:
				c.State(key)
			}
			if s := c.Status(); s.Used+s.Reserved > s.Budget || s.Used < 0 || s.Reserved < 0 {
				t.Errorf("used %d + reserved %d of %d", s.Used, s.Reserved, s.Budget)
			}
		}
	})
	readers.Wait()
	close(stop)
	others.Wait()
	if good.Load() < 30 {
		t.Errorf("only %d reads were good, %d were not", good.Load(), bad.Load())
	}
}

// readSomehow opens a file and reads it like one tool or another. Errors are
// allowed, wrong bytes are not where right ones are promised.
func readSomehow(t *testing.T, c *cache.Cache, one content, rnd *rand.Rand, use cache.Use, promised bool) error {
	h, err := c.Open(one.key, use)
	if err != nil {
		t.Error(err)
		return err
	}
	defer h.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if rnd.IntN(6) == 0 {
		leave, cancel := context.WithTimeout(ctx, time.Duration(rnd.IntN(3000))*time.Microsecond)
		defer cancel()
		ctx = leave
	}
	piece := func(off, n int) error {
		buf := make([]byte, n)
		got, err := h.ReadAt(ctx, buf, int64(off))
		want := one.data[min(off, len(one.data)):min(off+n, len(one.data))]
		switch {
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
			return err
		case err != nil && err != io.EOF:
			if !errors.Is(err, syscall.ENOSPC) && !errors.As(err, new(*cache.FetchError)) && !errors.Is(err, cache.ErrMismatch) && !errors.Is(err, errNoList) {
				t.Errorf("an unexpected error: %v", err)
			}
			return err
		case got != len(want):
			t.Errorf("%d bytes at %d, want %d", got, off, len(want))
		case promised && !bytes.Equal(buf[:got], want):
			t.Errorf("wrong bytes at %d of %d", off, len(one.data))
		}
		return nil
	}
	switch rnd.IntN(5) {
	case 0: // a header
		for off := 0; off < 48*kib; off += 16 * kib {
			if err := piece(off, 16*kib); err != nil {
				return err
			}
		}
	case 1: // here and there
		for range 20 {
			if err := piece(rnd.IntN(len(one.data)+1), 1+rnd.IntN(64*kib)); err != nil {
				return err
			}
		}
	case 2: // from its start to its end: then every byte is right
		var got []byte
		for off := 0; off < len(one.data); off += 100 * kib {
			buf := make([]byte, 100*kib)
			n, err := h.ReadAt(ctx, buf, int64(off))
			if err != nil && err != io.EOF {
				return err
			}
			got = append(got, buf[:n]...)
		}
		if !bytes.Equal(got, one.data) {
			t.Errorf("%d of %d bytes were read to the end, and are wrong", len(got), len(one.data))
		}
	case 3:
		return piece(max(len(one.data)-10, 0), 10)
	case 4:
		if _, err := h.Wait(ctx); err != nil {
			return err
		}
		return piece(0, len(one.data))
	}
	return nil
}

// moody is an origin with three sources of every temper.
type moody struct {
	all   map[annex.Key]content
	liars bool
	calls atomic.Uint64
}

var errNoList = errors.New("the list of sources cannot be had")

func (m *moody) Sources(_ context.Context, key annex.Key) ([]cache.Source, error) {
	n := m.calls.Add(1)
	if n%31 == 0 {
		return nil, errNoList
	}
	a := scripted{"moody", func(off, n int64, w io.Writer) error { return m.send(m.all[key], off, n, w) }}
	return []cache.Source{a, inexact{a, false}, placing{a}}, nil
}

func (m *moody) send(c content, off, n int64, w io.Writer) error {
	if n < 0 {
		n = int64(len(c.data)) - off
	}
	rnd := rand.New(rand.NewPCG(m.calls.Add(1), uint64(off)))
	data := c.data[off : off+n]
	switch rnd.IntN(12) {
	case 0:
		w.Write(data[:rnd.IntN(len(data)+1)])
		return errors.New("broken off")
	case 1:
		_, err := w.Write(data[:len(data)/2])
		return err
	case 2:
		return wholeOnly{errors.New("no ranges")}
	case 3:
		if m.liars && len(data) > 0 {
			data = bytes.Clone(data)
			data[rnd.IntN(len(data))] ^= 1
		}
	}
	for len(data) > 0 {
		step := min(len(data), 1+rnd.IntN(300*kib))
		if _, err := w.Write(data[:step]); err != nil {
			return err
		}
		data = data[step:]
		if rnd.IntN(8) == 0 {
			time.Sleep(time.Duration(rnd.IntN(300)) * time.Microsecond)
		}
	}
	return nil
}
