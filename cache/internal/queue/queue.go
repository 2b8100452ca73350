// Package queue bounds how many requests run at once, and decides whose turn it
// is: what a reader waits for goes first, and some of the turns are kept for
// it; among equals the order is that of coming. Nobody waits for ever: after some
// turns of others the one who waits longest has one.
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
	passed  [classes]int // turns that others had while somebody of the class waited
}

// patience is how many turns of others a class lets pass.
const patience = 8

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
	q.waiting[t.class] = append(q.waiting[t.class], t)
	q.next()
	q.mu.Unlock()
	select {
	case <-t.turn:
		return nil
	default:
	}
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
	for {
		class, ok := q.whose()
		if !ok {
			return
		}
		t := q.waiting[class][0]
		q.waiting[class] = slices.Delete(q.waiting[class], 0, 1)
		q.used++
		close(t.turn)
		q.passed[class] = 0
		for other := range q.waiting {
			if len(q.waiting[other]) == 0 {
				q.passed[other] = 0
			} else if Class(other) != class {
				q.passed[other]++
			}
		}
	}
}

// whose returns the class that has the next turn, if one is free for it. Callers
// hold mu.
func (q *Queue) whose() (class Class, ok bool) {
	for c := range q.waiting {
		if len(q.waiting[c]) > 0 && q.passed[c] >= patience && q.used < q.limit[Demanded] {
			return Class(c), true
		}
	}
	for c := range q.waiting {
		if len(q.waiting[c]) > 0 && q.used < q.limit[c] {
			return Class(c), true
		}
	}
	return 0, false
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
