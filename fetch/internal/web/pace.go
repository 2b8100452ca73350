package web

import (
	"errors"
	"sync"
	"time"
)

var errSlow = errors.New("the server sends next to nothing")

// pace watches how fast a source sends. What counts is the time in which it
// could send: not that in which whoever takes the bytes is busy, nor that in
// which a free connection is waited for. Its clock is the monotonic one.
type pace struct {
	mu    sync.Mutex // guards the following
	began time.Time  // of the time that is judged next
	moved int64      // bytes since
	idle  time.Duration
	held  time.Time // since when time does not count; zero: it does
	timer *time.Timer
	ended bool
}

// watch calls slow, once, when less than minSpeed came over a whole timeout,
// until end is called.
func (p *pace) watch(timeout time.Duration, slow func()) (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began = time.Now()
	p.timer = time.AfterFunc(timeout, func() {
		p.mu.Lock()
		next := p.judge(timeout)
		again := next > 0 && !p.ended
		if again {
			p.timer.Reset(next)
		}
		stopped := p.ended
		p.mu.Unlock()
		if !again && !stopped {
			slow()
		}
	})
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ended = true
		p.timer.Stop()
	}
}

// judge returns when to judge next, or 0: too little has come. The lock is
// held.
func (p *pace) judge(timeout time.Duration) time.Duration {
	now := time.Now()
	idle := p.idle
	if !p.held.IsZero() {
		idle += now.Sub(p.held)
	}
	if had := now.Sub(p.began) - idle; had < timeout {
		return max(timeout-had, time.Millisecond)
	}
	if p.moved < int64(minSpeed*timeout.Seconds()) {
		return 0
	}
	p.began, p.moved, p.idle = now, 0, 0
	if !p.held.IsZero() {
		p.held = now
	}
	return timeout
}

// hold stops the clock.
func (p *pace) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held.IsZero() {
		p.held = time.Now()
	}
}

// release lets the clock go on, after n bytes more.
func (p *pace) release(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moved += int64(n)
	if !p.held.IsZero() {
		p.idle += time.Since(p.held)
		p.held = time.Time{}
	}
}
