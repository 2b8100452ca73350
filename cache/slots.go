package cache

import (
	"context"
	"slices"
	"sync"
)

// class says who waits for a request.
type class uint8

const (
	demanded   class = iota // a reader, now
	ahead                   // a reader, soon
	background              // nobody yet
	classes
)

// slots bounds how many requests to sources run. What a reader waits for goes
// first, and some slots are kept for it; among equals the order is that of
// coming.
type slots struct {
	limit [classes]int

	mu     sync.Mutex // guards the following
	used   int
	queues [classes][]*ticket
}

// ticket is a request's place in the queue.
type ticket struct {
	class class // guarded by slots.mu
	turn  chan struct{}
}

func newSlots(n int) *slots {
	return &slots{limit: [classes]int{demanded: n, ahead: max(n-n/8, 1), background: max(n/2, 1)}}
}

// take waits for a slot. After an error the caller has none.
func (s *slots) take(ctx context.Context, t *ticket) error {
	s.mu.Lock()
	if s.used < s.limit[t.class] {
		s.used++
		s.mu.Unlock()
		return nil
	}
	s.queues[t.class] = append(s.queues[t.class], t)
	s.mu.Unlock()
	select {
	case <-t.turn:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	q := &s.queues[t.class]
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
	s.used--
	s.next()
}

// next gives free slots to those whose turn it is. Callers hold mu.
func (s *slots) next() {
	for class := range s.queues {
		for len(s.queues[class]) > 0 && s.used < s.limit[class] {
			t := s.queues[class][0]
			s.queues[class] = s.queues[class][1:]
			s.used++
			close(t.turn)
		}
	}
}

// promote moves a request to a better class.
func (s *slots) promote(t *ticket, to class) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.class <= to {
		return
	}
	if i := slices.Index(s.queues[t.class], t); i >= 0 {
		s.queues[t.class] = slices.Delete(s.queues[t.class], i, i+1)
		s.queues[to] = append(s.queues[to], t)
	}
	t.class = to
	s.next()
}

// idle reports whether no request waits for its turn that a reader needs.
func (s *slots) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queues[demanded]) == 0 && len(s.queues[ahead]) == 0
}
