package daemon

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// lifetime is how far the life of a daemon has come, and what keeps it alive.
//
// It goes one way: serving, then stopping, then stopped. Only while it is
// serving does a request begin. It leaves serving by order (stop), or because
// it has nothing to do (stopIfIdle, stopAlone, and by itself after the grace
// period): whether there is something to do and the leaving are one step, so
// that no request begins in between. From stopping to stopped the requests that
// had begun are awaited. Safe for concurrent use; its lock is a leaf.
type lifetime struct {
	ctx    context.Context // ends when serving does, with errStopping
	cancel context.CancelCauseFunc
	grace  time.Duration

	mu      sync.Mutex
	state   lifeState
	running map[*request]bool
	mounts  int
	since   time.Time     // the last change of what is mounted or running
	wipe    bool          // the cache is to be removed at the end
	ended   chan struct{} // closed when none that had begun is running while stopping
	idle    *time.Timer
}

type lifeState int

const (
	serving lifeState = iota
	stopping
	stopped
)

// request is one that has begun.
type request struct{ name string }

// errStopping is why a request is refused or cancelled at a daemon's end.
var errStopping = errors.New("the daemon of the cache is stopping")

// newLifetime is serving. It stops when nothing is done for the grace period.
func newLifetime(grace time.Duration) *lifetime {
	l := &lifetime{grace: grace, since: time.Now(), running: make(map[*request]bool), ended: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle = time.AfterFunc(grace, func() { l.stopIfIdle() })
	return l
}

// begin takes note of a request and returns what takes note of its end; ok is
// false, and nothing has begun, when the daemon is stopping.
func (l *lifetime) begin(name string) (end func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != serving {
		return nil, false
	}
	r := &request{name}
	l.running[r] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.running, r)
		l.since = time.Now()
		l.settle()
	}, true
}

// mounted counts a mount; ok is false when the daemon is stopping.
func (l *lifetime) mounted() (ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != serving {
		return false
	}
	l.mounts++
	return true
}

func (l *lifetime) unmounted() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mounts--
	l.since = time.Now()
	l.settle()
}

// touch begins the grace period anew.
func (l *lifetime) touch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settle()
}

// idleFor returns since when nothing is mounted or being done; 0 is that something is.
func (l *lifetime) idleFor() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mounts > 0 || len(l.running) > 0 {
		return 0
	}
	return time.Since(l.since)
}

// settle follows a change; the caller holds mu.
func (l *lifetime) settle() {
	switch {
	case l.state == serving:
		l.idle.Reset(l.grace)
	case l.state == stopping && len(l.running) == 0:
		l.state = stopped
		close(l.ended)
	}
}

// stop ends serving, whatever is being done.
func (l *lifetime) stop() { l.stopWhen(func() bool { return true }, false) }

// stopIfIdle ends serving unless something is mounted or being done.
func (l *lifetime) stopIfIdle() (done bool) {
	return l.stopWhen(func() bool { return l.mounts == 0 && len(l.running) == 0 }, false)
}

// alone reports whether the request that asks is the only thing there is.
func (l *lifetime) alone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mounts == 0 && len(l.running) == 1
}

// stopAlone ends serving, and the cache, for a request that is the only thing
// there is.
func (l *lifetime) stopAlone() (done bool) {
	return l.stopWhen(func() bool { return l.mounts == 0 && len(l.running) == 1 }, true)
}

func (l *lifetime) stopWhen(may func() bool, wipe bool) (done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != serving {
		return !wipe
	}
	if !may() {
		return false
	}
	l.state, l.wipe = stopping, wipe
	l.idle.Stop()
	l.cancel(errStopping)
	l.settle()
	return true
}

// drain waits until all requests have ended, and names those that have not
// after the given time.
func (l *lifetime) drain(within time.Duration) (left []string) {
	select {
	case <-l.ended:
		return nil
	case <-time.After(within):
		return l.work()
	}
}

// work names the requests that should not be cut off, in order.
func (l *lifetime) work() (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for r := range l.running {
		if r.name != "status" {
			names = append(names, r.name)
		}
	}
	slices.Sort(names)
	return names
}

func (l *lifetime) wiping() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wipe
}
