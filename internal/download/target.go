package download

import (
	"context"
	"sync"
)

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
