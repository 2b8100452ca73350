package shelf

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/queue"
)

// roomWaiter is a request that waits for room. Those that readers wait for are
// asked first, and else in the order they came; one that fits does not wait
// for one that does not.
type roomWaiter struct {
	of    *Account
	need  int64
	class queue.Class
	ready chan struct{} // something may have changed
}

// Reserve makes sure that need more bytes of a transfer fit under the budget
// and above the disk's floor, evicting what is coldest. Errors are a
// [NoSpaceError], ctx's, or the disk's.
func (s *Shelf) Reserve(ctx context.Context, of *Account, need int64, as queue.Class) error {
	w := &roomWaiter{of: of, need: need, class: as, ready: make(chan struct{}, 1)}
	s.Do(func() {
		i := len(s.books.waiting)
		for i > 0 && s.books.waiting[i-1].class > as {
			i--
		}
		s.books.waiting = slices.Insert(s.books.waiting, i, w)
	})
	defer s.WakeRoomWaiters()
	defer s.Do(func() {
		s.books.waiting = slices.DeleteFunc(s.books.waiting, func(x *roomWaiter) bool { return x == w })
	})
	deadline := time.NewTimer(s.options.RoomWait)
	defer deadline.Stop()
	late := false
	for {
		done, victims, err := s.tryReserve(w, late)
		if done || err != nil {
			return err
		}
		if len(victims) > 0 {
			s.Evict(victims) // what cannot be removed is passed over the next time
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			late = true
		case <-w.ready:
		}
	}
}

// tryReserve reserves, or names what must be evicted first, or says that it
// must wait (no victims, no error), or that it cannot be.
func (s *Shelf) tryReserve(w *roomWaiter, late bool) (done bool, victims []*item, err error) {
	for {
		var before uint64
		s.Do(func() { before = s.books.changes })
		free, floor, err := s.space()
		if err != nil {
			return false, nil, err
		}
		again := false
		s.Do(func() {
			// Blocks that were allocated meanwhile are in neither account.
			if again = s.books.changes != before; !again {
				done, victims, err = s.decide(w, late, free, floor)
			}
		})
		if !again {
			return done, victims, err
		}
	}
}

// space returns the disk's free bytes, and those that are to stay free.
func (s *Shelf) space() (free, floor int64, err error) {
	free, total, err := s.Store.Space(s.Store.Dir)
	floor = s.options.Floor
	if floor == 0 {
		floor = min(total/20, 1<<30)
	}
	return free, max(floor, 0), err
}

// decide is tryReserve's decision. Callers hold the lock.
func (s *Shelf) decide(w *roomWaiter, late bool, free, floor int64) (done bool, victims []*item, err error) {
	b := &s.books
	over := max(b.used+b.reserved+w.need-b.budget, w.need+b.unallocated+floor-free)
	if over <= 0 {
		w.of.Reserved += w.need
		b.reserved += w.need
		b.unallocated += w.need
		b.changes++
		return true, nil, nil
	}
	if victims = s.victims(over, false); len(victims) > 0 {
		return false, victims, nil
	}
	all := w.of.Reserved + w.need
	switch {
	case all+b.pinned > b.budget:
		why := fmt.Sprintf("the budget is %d bytes", b.budget)
		if b.pinned > 0 {
			why += fmt.Sprintf(", of which %d are pinned", b.pinned)
		}
		return false, nil, &NoSpaceError{Need: all, Why: why, Never: true}
	case w.need+floor-free > b.used-b.pinned:
		return false, nil, &NoSpaceError{Need: w.need, Why: fmt.Sprintf("the disk has %d bytes free, of which %d are to stay free", free, floor), Never: true}
	case late:
		return false, nil, &NoSpaceError{Need: w.need, Why: fmt.Sprintf("of the budget of %d bytes, %d are pinned, %d in use, and %d reserved by transfers", b.budget, b.pinned, b.used-b.pinned-b.evictable(), b.reserved)}
	}
	return false, nil, nil
}

// EvictForDisk makes room when the disk is full although the books are not.
func (s *Shelf) EvictForDisk(need int64) bool {
	var victims []*item
	s.Do(func() { victims = s.victims(need, true) })
	return len(victims) > 0 && s.Evict(victims) == nil
}

// WakeRoomWaiters wakes those that wait for room: whoever has given some back, or
// made something evictable, calls it.
func (s *Shelf) WakeRoomWaiters() {
	s.Do(func() {
		for _, w := range s.books.waiting {
			select {
			case w.ready <- struct{}{}:
			default:
			}
		}
	})
}

// RoomWaiters returns how many wait for room.
func (s *Shelf) RoomWaiters() (n int) {
	s.Do(func() { n = len(s.books.waiting) })
	return n
}

// SetBudget changes the budget, in bytes. What lies above it is evicted: at once, or
// soon after it is neither open nor pinned any more.
func (s *Shelf) SetBudget(bytes int64) {
	s.Do(func() { s.books.budget = bytes })
	s.keepBudget()
	s.WakeRoomWaiters()
}

// keepBudget evicts what lies above the budget, as far as it can be: that is what was
// open or pinned when the budget became smaller.
func (s *Shelf) keepBudget() {
	var victims Marked
	s.Do(func() { victims = s.victims(s.books.used+s.books.reserved-s.books.budget, true) })
	s.Evict(victims)
}
