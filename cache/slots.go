package cache

import (
	"context"
	"slices"
	"sync"
)

// slots bounds how many transfers run. Those that a reader waits for go first;
// among equals the order is that of coming.
type slots struct {
	mu     sync.Mutex // guards the following
	free   int
	queues [2][]*ticket // demanded, others
}

// ticket is a transfer's place in the queue.
type ticket struct {
	demanded bool // guarded by slots.mu
	turn     chan struct{}
	made     bool // the reservation is allocated; guarded by Cache.mu
}

func newTicket(demanded bool) *ticket {
	return &ticket{demanded: demanded, turn: make(chan struct{})}
}

func newSlots(n int) *slots { return &slots{free: n} }

func (s *slots) queue(t *ticket) *[]*ticket {
	if t.demanded {
		return &s.queues[0]
	}
	return &s.queues[1]
}

// take waits for a slot. After an error the caller has none.
func (s *slots) take(ctx context.Context, t *ticket) error {
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return nil
	}
	q := s.queue(t)
	*q = append(*q, t)
	s.mu.Unlock()
	select {
	case <-t.turn:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	q = s.queue(t)
	i := slices.Index(*q, t)
	if i >= 0 {
		*q = slices.Delete(*q, i, i+1)
	}
	s.mu.Unlock()
	if i < 0 { // the turn came at the same moment
		s.give()
	}
	return ctx.Err()
}

// give returns a slot to the next in the queue.
func (s *slots) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.queues {
		if q := s.queues[i]; len(q) > 0 {
			s.queues[i] = q[1:]
			close(q[0].turn)
			return
		}
	}
	s.free++
}

// promote moves a waiting transfer to those that a reader waits for.
func (s *slots) promote(t *ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.demanded {
		return
	}
	if i := slices.Index(s.queues[1], t); i >= 0 {
		s.queues[1] = slices.Delete(s.queues[1], i, i+1)
		s.queues[0] = append(s.queues[0], t)
	}
	t.demanded = true
}
