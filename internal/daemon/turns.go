package daemon

import (
	"context"
	"sync"
)

// turn is had by one at a time; unlike a mutex's, its waiters can leave.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take waits for the turn; waiting, if not nil, is called when somebody has it.
func (t turn) take(ctx context.Context, waiting func()) (done func(), err error) {
	done = func() { <-t }
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	select {
	case t <- struct{}{}:
		return done, nil
	default:
	}
	if waiting != nil {
		waiting()
	}
	select {
	case t <- struct{}{}:
		return done, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// targetLocks lets one download at a time into a directory.
type targetLocks struct {
	mu    sync.Mutex
	locks map[string]chan struct{}
}

// lock takes a directory, waiting for the download that has it.
func (l *targetLocks) lock(ctx context.Context, target string, waiting func()) (unlock func(), err error) {
	for {
		l.mu.Lock()
		held := l.locks[target]
		if held == nil {
			if l.locks == nil {
				l.locks = make(map[string]chan struct{})
			}
			mine := make(chan struct{})
			l.locks[target] = mine
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				delete(l.locks, target)
				l.mu.Unlock()
				close(mine)
			}, nil
		}
		l.mu.Unlock()
		waiting()
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
