package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// span is one request to a source.
type span struct {
	interval
	t      *transfer
	at     int // the source
	steady bool
	ticket *ticket
	ctx    context.Context
	cancel context.CancelFunc

	pos     atomic.Int64 // end of what was written; changes under transfer.mu
	running atomic.Bool

	mu     sync.Mutex // guards the following
	part   *part
	closed bool
	err    error // of the disk
}

// run makes room, waits for its turn, and fetches.
func (s *span) run(from Source) {
	t := s.t
	defer t.c.work.Done()
	defer s.cancel()
	err := s.fetch(from)
	t.mu.Lock()
	t.spans = slices.DeleteFunc(t.spans, func(x *span) bool { return x == s })
	t.reclaim()
	fatal := false
	switch {
	case err == nil || s.ctx.Err() != nil:
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || s.diskErr() != nil:
		fatal = true
	case errors.Is(err, source.ErrWholeOnly):
		if s.at == t.at && s.at < len(t.sources) { // they may have been asked for anew
			t.sources[s.at] = wholly{t.sources[s.at], t.o.size}
		}
	default:
		t.pass(s.at, err)
	}
	t.mu.Unlock()
	if fatal {
		t.fail(err)
	}
	t.saveMap(s.part)
	t.mu.Lock()
	t.plan()
	t.mu.Unlock()
	t.maybeEnd()
}

func (s *span) fetch(from Source) error {
	t := s.t
	if err := t.makeRoom(s); err != nil {
		return err
	}
	if err := t.c.slots.take(s.ctx, s.ticket); err != nil {
		return err
	}
	defer t.c.slots.give()
	s.running.Store(true)
	for try := 0; ; try++ {
		err := from.Fetch(s.ctx, s.pos.Load(), s.end-s.pos.Load(), s)
		if s.diskErr() != nil {
			err = s.diskErr()
			if diskFull(err) && try == 0 && t.c.evictForDisk(s.len()) {
				s.mend()
				continue
			}
		}
		s.close()
		if err == nil && s.pos.Load() < s.end {
			err = fmt.Errorf("%w: %d bytes too few", io.ErrUnexpectedEOF, s.end-s.pos.Load())
		}
		return err
	}
}

// makeRoom reserves what the request needs: the whole file's room when it is
// being read on, for then it must come to its end.
func (t *transfer) makeRoom(s *span) error {
	t.room.Lock()
	defer t.room.Unlock()
	need, where := chargePart(s.interval), s.interval
	t.c.mu.Lock()
	full := t.reserved >= charge(t.o.size)
	if s.steady && !full {
		need, where = charge(t.o.size)-t.reserved, interval{0, t.o.size}
	}
	t.c.mu.Unlock()
	if full {
		need = 0
	} else if err := t.c.reserve(s.ctx, t, need, s.class()); err != nil {
		return err
	}
	if full && t.allocated() {
		return nil
	}
	err := s.part.allocate(where)
	if diskFull(err) && t.c.evictForDisk(where.len()) {
		err = s.part.allocate(where)
	}
	t.c.allocated(t, roundUp(where.len()))
	return err
}

// allocated reports whether all of the reservation is on disk.
func (t *transfer) allocated() bool {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	return t.made >= roundUp(t.o.size)
}

func (s *span) class() class {
	s.t.c.slots.mu.Lock()
	defer s.t.c.slots.mu.Unlock()
	return s.ticket.class
}

func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

var (
	errLate    = errors.New("the source wrote after its end")
	errTooMuch = errors.New("the source sent more than it was asked for")
)

// Write takes a source's bytes: in order, not more than asked for, and none
// after the source has returned, whatever it left running.
func (s *span) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	off := s.pos.Load()
	switch {
	case s.closed:
		return 0, errLate
	case s.err != nil:
		return 0, s.err
	case int64(len(b)) > s.end-off:
		return 0, errTooMuch
	}
	n, err := s.part.f.WriteAt(b, off)
	s.err = err
	s.t.arrived(s, interval{off, off + int64(n)})
	s.part.fold(b[:n], off)
	s.t.saveMap(s.part)
	return n, err
}

func (s *span) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

func (s *span) diskErr() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *span) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = nil
}

// mapEvery is how much of a transfer a crash may lose, in time.
const mapEvery = 500 * time.Millisecond

// saveMap writes the map of a partial file now and then.
func (t *transfer) saveMap(p *part) {
	now := time.Now().UnixNano()
	last := t.saved.Load()
	if t.o.size <= wholeUpTo || now-last < int64(mapEvery) || !t.saved.CompareAndSwap(last, now) {
		return
	}
	t.mu.Lock()
	have := append(ranges(nil), t.have...)
	stale := t.part != p || t.finishing || t.ended
	t.mu.Unlock()
	if stale || last == 0 || len(have) == 0 {
		return
	}
	if err := p.saveMap(have); err != nil {
		t.c.log.Warn("map of a partial file not written: a crash would lose it", "key", t.o.key, "err", err)
	}
}
