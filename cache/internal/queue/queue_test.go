package queue

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// take waits for a turn in the background and says when it came.
func take(q *Queue, ctx context.Context, t *Ticket) <-chan error {
	got := make(chan error, 1)
	go func() { got <- q.Take(ctx, t) }()
	return got
}

func came(c <-chan error) bool {
	synctest.Wait()
	select {
	case err := <-c:
		return err == nil
	default:
		return false
	}
}

// What a reader waits for goes first, some turns are kept for it, and among
// equals the first to come is the first to go.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(4)
		ctx := t.Context()
		for range 2 {
			if !came(take(q, ctx, NewTicket(Background))) {
				t.Fatal("no turn on an idle queue")
			}
		}
		behind := take(q, ctx, NewTicket(Background))
		if came(behind) {
			t.Error("what nobody waits for takes more than half of the turns")
		}
		for range 2 {
			if !came(take(q, ctx, NewTicket(Demanded))) {
				t.Error("no turn is kept for readers")
			}
		}
		first := take(q, ctx, NewTicket(Demanded))
		synctest.Wait()
		second := take(q, ctx, NewTicket(Demanded))
		synctest.Wait()
		if q.Idle() {
			t.Error("idle, while readers wait")
		}
		q.Give()
		if !came(first) || came(second) || came(behind) {
			t.Error("not the one that came first")
		}
		q.Give()
		if !came(second) || came(behind) {
			t.Error("what nobody waits for went before a reader")
		}
		for range 4 {
			q.Give()
		}
		if !came(behind) || q.Used() != 1 {
			t.Errorf("%d turns are taken", q.Used())
		}
	})
}

// A ticket that becomes more urgent goes ahead; whoever leaves takes no turn.
func TestPromotionAndLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(1)
		if !came(take(q, t.Context(), NewTicket(Demanded))) {
			t.Fatal("no turn")
		}
		leaving, leave := context.WithCancel(t.Context())
		urgent, slow := NewTicket(Background), NewTicket(Ahead)
		gone := take(q, leaving, NewTicket(Demanded))
		s := take(q, t.Context(), slow)
		u := take(q, t.Context(), urgent)
		synctest.Wait()
		q.Promote(urgent, Demanded)
		q.Promote(urgent, Background) // never back
		leave()
		if err := <-gone; err == nil {
			t.Error("a turn for one who left")
		}
		q.Give()
		if !came(u) || came(s) || q.Class(urgent) != Demanded {
			t.Error("the urgent one does not go first")
		}
		q.Give()
		if !came(s) {
			t.Error("the other one waits for ever")
		}
		q.Give()
		if q.Used() != 0 {
			t.Errorf("%d turns are taken", q.Used())
		}
	})
}

// Whoever is behind readers is not behind them for ever, be they so many that
// they always wait, or so few that they never do.
func TestNobodyWaitsForEver(t *testing.T) {
	for _, readers := range []int{2, 3, 4, 20} {
		q := New(4)
		late := NewTicket(Background)
		var all sync.WaitGroup
		ended := make(chan struct{})
		var turns atomic.Int64
		for range readers {
			all.Go(func() {
				for {
					select {
					case <-ended:
						return
					default:
					}
					if q.Take(t.Context(), NewTicket(Demanded)) == nil {
						turns.Add(1)
						runtime.Gosched()
						q.Give()
					}
				}
			})
		}
		for turns.Load() < 100 {
			runtime.Gosched()
		}
		took := make(chan error)
		go func() { took <- q.Take(t.Context(), late) }()
		select {
		case err := <-took:
			if err != nil {
				t.Error(err)
			}
			q.Give()
		case <-time.After(30 * time.Second):
			t.Errorf("behind %d readers, for ever", readers)
		}
		close(ended)
		all.Wait()
	}
	// In what order, exactly: one turn in nine.
	q := New(1)
	if err := q.Take(t.Context(), NewTicket(Demanded)); err != nil {
		t.Fatal(err)
	}
	order := make(chan Class)
	ask := func(c Class) {
		before := waiting(q)
		go func() {
			if q.Take(t.Context(), NewTicket(c)) == nil {
				order <- c
			}
		}()
		for waiting(q) == before {
			runtime.Gosched()
		}
	}
	ask(Background)
	for range 20 {
		ask(Demanded)
	}
	q.Give()
	for k := range 21 {
		if c := <-order; (c == Background) != (k == patience) {
			t.Errorf("turn %d is of class %d", k, c)
		}
		q.Give()
	}
}

func waiting(q *Queue) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, w := range q.waiting {
		n += len(w)
	}
	return n
}
