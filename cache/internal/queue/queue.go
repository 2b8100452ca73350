// Package queue bounds how many requests run at once, and decides whose turn it
// is: what a reader waits for goes first, and some of the turns are kept for
// it; among equals the order is that of coming.
package queue

import (
	"context"
	"slices"
	"sync"
)

// Class says who waits for a request.
type Class uint8

// The classes, the most urgent first.
const (
	Demanded   Class = iota // a reader, now
	Ahead                   // a reader, soon
	Background              // nobody yet
	classes
)

// Queue is safe for concurrent use. No lock of the caller's is taken in it.
type Queue struct {
	limit [classes]int

	mu      sync.Mutex // guards the following, and every ticket's class
	used    int
	waiting [classes][]*Ticket
}

// Ticket is a request's place in the queue.
type Ticket struct {
	class Class
	turn  chan struct{}
}

// NewTicket returns a ticket that nobody waits with yet.
func NewTicket(c Class) *Ticket { return &Ticket{class: c, turn: make(chan struct{})} }

// New returns a queue of n turns.
func New(n int) *Queue {
	return &Queue{limit: [classes]int{Demanded: n, Ahead: max(n-n/8, 1), Background: max(n/2, 1)}}
}

// Take waits for a turn. After an error the caller has none.
func (q *Queue) Take(ctx context.Context, t *Ticket) error {
	q.mu.Lock()
	if q.used < q.limit[t.class] {
		q.used++
		q.mu.Unlock()
		return nil
	}
	q.waiting[t.class] = append(q.waiting[t.class], t)
	q.mu.Unlock()
	select {
	case <-t.turn:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	w := &q.waiting[t.class]
	i := slices.Index(*w, t)
	if i >= 0 {
		*w = slices.Delete(*w, i, i+1)
	}
	q.mu.Unlock()
	if i < 0 { // the turn came at the same moment
		q.Give()
	}
	return ctx.Err()
}

// Give returns a turn to the next in the queue.
func (q *Queue) Give() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used--
	q.next()
}

// next gives free turns to those that wait for them. Callers hold mu.
func (q *Queue) next() {
	for class := range q.waiting {
		for len(q.waiting[class]) > 0 && q.used < q.limit[class] {
			t := q.waiting[class][0]
			q.waiting[class] = slices.Delete(q.waiting[class], 0, 1)
			q.used++
			close(t.turn)
		}
	}
}

// Promote moves a request to a better class.
func (q *Queue) Promote(t *Ticket, to Class) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.class <= to {
		return
	}
	if i := slices.Index(q.waiting[t.class], t); i >= 0 {
		q.waiting[t.class] = slices.Delete(q.waiting[t.class], i, i+1)
		q.waiting[to] = append(q.waiting[to], t)
	}
	t.class = to
	q.next()
}

// Class returns a ticket's class as it is now.
func (q *Queue) Class(t *Ticket) Class {
	q.mu.Lock()
	defer q.mu.Unlock()
	return t.class
}

// Used returns how many turns are taken.
func (q *Queue) Used() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.used
}

// Idle reports whether no request waits for its turn that a reader needs.
func (q *Queue) Idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting[Demanded]) == 0 && len(q.waiting[Ahead]) == 0
}
