package cache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// outage is a source that is out of reach while down is set. It sends at most
// some bytes at a time, and breaks off when it goes down in the middle.
type outage struct {
	down  atomic.Bool
	asked atomic.Int64
	sent  atomic.Int64
	of    content
	step  int64
	after func(sent int64) // called after each step
}

func (o *outage) fetch(off, n int64, w io.Writer) error {
	o.asked.Add(1)
	for n > 0 {
		if o.down.Load() {
			return source.Outage(errors.New("the network is gone"))
		}
		step := n
		if o.step > 0 {
			step = min(step, o.step)
		}
		if _, err := w.Write(o.of.data[off : off+step]); err != nil {
			return err
		}
		off, n = off+step, n-step
		if sent := o.sent.Add(step); o.after != nil {
			o.after(sent)
		}
	}
	return nil
}

// A reader waits out an outage and goes on where it stopped: nothing is sent
// twice, and what it reads is right.
func TestReadsWaitOutOutages(t *testing.T) {
	one := makeContent(t, 400, 5*mib)
	o := &outage{of: one, step: 64 * kib}
	o.after = func(sent int64) {
		if sent == 1*mib || sent == 3*mib {
			o.down.Store(true)
			time.AfterFunc(700*time.Millisecond, func() { o.down.Store(false) })
		}
	}
	c := open(t, t.TempDir(), cache.Options{})
	h := mustOpen(t, c, one.key, cache.Use{Origin: sources(scripted{"o", o.fetch}), Patience: time.Minute})
	for off := 0; off < len(one.data); off += 64 * kib {
		mustReadAt(t, h, one, off, 64*kib)
	}
	if n := o.sent.Load(); n != 5*mib {
		t.Errorf("%d bytes were sent of %d", n, len(one.data))
	}
}

// Files that are fetched whole, and sources that bring the whole, too.
func TestSmallFilesAndPlacersWaitOutOutages(t *testing.T) {
	for i, make := range []func(scripted) cache.Source{
		func(s scripted) cache.Source { return s },
		func(s scripted) cache.Source { return placing{s} },
		func(s scripted) cache.Source { return inexact{s, false} },
	} {
		one := makeContent(t, uint64(401+i), 50*kib)
		o := &outage{of: one}
		o.down.Store(true)
		time.AfterFunc(500*time.Millisecond, func() { o.down.Store(false) })
		fetch := func(off, n int64, w io.Writer) error {
			if n < 0 {
				n = int64(len(one.data)) - off
			}
			return o.fetch(off, n, w)
		}
		c := open(t, t.TempDir(), cache.Options{})
		mustRead(t, c, one, cache.Use{Origin: sources(make(scripted{"o", fetch})), Patience: time.Minute})
	}
	// And the list of sources itself.
	one := makeContent(t, 405, 50*kib)
	var down atomic.Bool
	down.Store(true)
	time.AfterFunc(500*time.Millisecond, func() { down.Store(false) })
	origin := &far{sources: func(annex.Key) ([]cache.Source, error) {
		if down.Load() {
			return nil, source.Outage(errors.New("the branch cannot be fetched"))
		}
		return []cache.Source{scripted{"s", honest(one)}}, nil
	}}
	c := open(t, t.TempDir(), cache.Options{})
	mustRead(t, c, one, cache.Use{Origin: origin, Patience: time.Minute})
}

// Patience is each reader's own; it is told who waits for what, and until when.
func TestPatienceIsEachReadersOwn(t *testing.T) {
	one := makeContent(t, 406, 50*kib)
	o := &outage{of: one}
	o.down.Store(true)
	c := open(t, t.TempDir(), cache.Options{})
	origin := sources(scripted{"the source", o.fetch})
	read := func(patience time.Duration) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := readAll(c, one.key, cache.Use{Origin: origin, Name: "sub-01", Owner: "me", Patience: patience})
			done <- err
		}()
		return done
	}
	long := read(time.Minute)
	short := read(300 * time.Millisecond)
	none := read(0)
	var failed *cache.FetchError
	if err := <-none; !errors.As(err, &failed) {
		t.Errorf("without patience: %v", err)
	}
	if err := <-short; !errors.As(err, &failed) || !source.IsOutage(err) {
		t.Errorf("after its patience: %v", err)
	}
	for {
		s := c.Status()
		if len(s.Transfers) != 1 || s.Transfers[0].Out == "" {
			time.Sleep(time.Millisecond)
			continue
		}
		w := s.Transfers[0].Waiting
		if len(w) != 1 || w[0].Name != "sub-01" || w[0].Owner != "me" || w[0].Since.IsZero() || time.Until(w[0].Until) < 30*time.Second || !strings.Contains(s.Transfers[0].Out, "the network is gone") {
			t.Errorf("who waits for what: %+v", s.Transfers[0])
		}
		break
	}
	o.down.Store(false)
	if err := <-long; err != nil {
		t.Errorf("the patient one: %v", err)
	}
}

// What cannot come back fails at once, however patient the reader is; and a
// patient reader can leave.
func TestWhatCannotComeBackFailsAtOnce(t *testing.T) {
	one := makeContent(t, 407, 50*kib)
	c := open(t, t.TempDir(), cache.Options{})
	use := cache.Use{Dataset: "404", Patience: time.Hour, Origin: sources(scripted{"s", func(int64, int64, io.Writer) error { return errors.New("404 Not Found") }})}
	if _, err := readAll(c, one.key, use); err == nil {
		t.Error("read what is not there")
	}
	use = cache.Use{Dataset: "wrong", Patience: time.Hour, Origin: sources(scripted{"s", honest(flipped(one, 3))})}
	if _, err := readAll(c, one.key, use); !errors.Is(err, cache.ErrMismatch) {
		t.Errorf("wrong bytes: %v", err)
	}
	o := &outage{of: one}
	o.down.Store(true)
	h := mustOpen(t, c, one.key, cache.Use{Dataset: "out", Patience: time.Hour, Origin: sources(scripted{"s", o.fetch})})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := h.ReadAt(ctx, make([]byte, 10), 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a reader that left: %v", err)
	}
}

// An outage does not make worthless what has come: a source that brings only
// the whole is asked when waiting has not helped.
func TestOutageKeepsWhatHasCome(t *testing.T) {
	one := makeContent(t, 408, 5*mib)
	o := &outage{of: one, step: 64 * kib}
	o.after = func(sent int64) {
		if sent == 2*mib {
			o.down.Store(true)
			time.AfterFunc(300*time.Millisecond, func() { o.down.Store(false) })
		}
	}
	var placed atomic.Bool
	last := placing{scripted{"placer", func(off, n int64, w io.Writer) error {
		placed.Store(true)
		return honest(one)(off, n, w)
	}}}
	c := open(t, t.TempDir(), cache.Options{})
	h := mustOpen(t, c, one.key, cache.Use{Origin: sources(scripted{"o", o.fetch}, last), Patience: time.Minute})
	for off := 0; off < len(one.data); off += 64 * kib {
		mustReadAt(t, h, one, off, 64*kib)
	}
	if placed.Load() {
		t.Error("what had come was given up after 0.3 s")
	}
	// But it is asked.
	two := makeContent(t, 409, 5*mib)
	o2 := &outage{of: two, step: 64 * kib}
	o2.after = func(sent int64) { o2.down.Store(sent >= 2*mib) }
	h = mustOpen(t, c, two.key, cache.Use{Origin: sources(scripted{"o", o2.fetch}, placing{scripted{"placer", honest(two)}}), Patience: time.Minute})
	for off := 0; off < len(two.data); off += 64 * kib {
		mustReadAt(t, h, two, off, 64*kib)
	}
}

// Some bytes now and then do not keep a reader waiting for ever: a server that
// cuts every reply short is given up when the reader's patience ends.
func TestTrickleIsNoProgress(t *testing.T) {
	one := makeContent(t, 410, 5*mib)
	crumbs := scripted{"crumbs", func(off, n int64, w io.Writer) error {
		w.Write(one.data[off : off+min(n, 100)])
		return source.Outage(errors.New("the server cut it short"))
	}}
	c := open(t, t.TempDir(), cache.Options{})
	within(t, time.Minute, "a trickle", func() error {
		h := mustOpen(t, c, one.key, cache.Use{Origin: sources(crumbs), Patience: time.Second})
		if n, err := h.ReadAt(t.Context(), make([]byte, 64*kib), 0); !source.IsOutage(err) {
			return fmt.Errorf("%d bytes, %v", n, err)
		}
		return nil
	})
	// Another source is asked meanwhile.
	mustRead(t, c, one, cache.Use{Dataset: "two", Origin: sources(crumbs, scripted{"right", honest(one)}), Patience: time.Minute})
}
