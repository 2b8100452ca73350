package publisher

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// A Link is how the way to the server behaves. The zero Link is this
// machine's own.
type Link struct {
	RTT  time.Duration // passes before the first byte of every reply
	Rate int64         // bytes a second, shared by all connections; 0: no limit
}

// link is a Link in use.
type link struct {
	mu   sync.Mutex // guards the following
	Link            // as set
	free time.Time  // when the link has sent all it was given
}

func (l *link) set(to Link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Link, l.free = to, time.Time{}
}

// roundTrip waits for the link's round trip.
func (l *link) roundTrip(ctx context.Context) error {
	l.mu.Lock()
	rtt := l.RTT
	l.mu.Unlock()
	return sleep(ctx, rtt)
}

// pass waits until n more bytes have gone over the link.
func (l *link) pass(ctx context.Context, n int) error {
	l.mu.Lock()
	if l.Rate <= 0 {
		l.mu.Unlock()
		return ctx.Err()
	}
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / float64(l.Rate) * float64(time.Second)))
	wait := l.free.Sub(now)
	l.mu.Unlock()
	return sleep(ctx, wait)
}

// sleep waits for d. Timers are not exact: what is less than a millisecond
// adds up in the link's clock instead.
func sleep(ctx context.Context, d time.Duration) error {
	if d < time.Millisecond {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// meter sends a reply's body over the link and counts it. What a client has
// is always counted already.
type meter struct {
	w     http.ResponseWriter
	link  *link
	ctx   context.Context
	count func(n int)
	left  int64  // of the body, in bytes
	last  func() // called before the last bytes go out
}

func (m *meter) Write(p []byte) (int, error) {
	if err := m.link.pass(m.ctx, len(p)); err != nil {
		return 0, err
	}
	m.left -= int64(len(p))
	if m.left == 0 {
		m.last()
	}
	m.count(len(p))
	n, err := m.w.Write(p)
	if n < len(p) {
		m.count(n - len(p))
	}
	return n, err
}

// flush sends what net/http still holds back.
func (m *meter) flush() { http.NewResponseController(m.w).Flush() }

// hang waits until the client leaves or the server closes.
func (m *meter) hang() error {
	<-m.ctx.Done()
	return m.ctx.Err()
}
