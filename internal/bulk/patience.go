package bulk

import (
	"context"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch"
)

// Patience lets a download outlast a network that is gone for a while: what
// fails since nothing can be reached is tried again, until that has lasted
// for the timeout. Readers in a mount have a patience of their own ([cache.Use]). It
// is safe for concurrent use.
type Patience struct {
	timeout time.Duration

	mu   sync.Mutex // guards the following
	lost time.Time  // since when nothing was reached; zero: something was
}

// NewPatience returns one of which nothing is lost yet; a timeout of 0 is the
// default.
func NewPatience(timeout time.Duration) *Patience {
	if timeout <= 0 {
		timeout = fetch.DefaultTimeout
	}
	return &Patience{timeout: timeout}
}

const retryEvery = 2 * time.Second

// Do calls try until it succeeds, fails for another reason, or too long.
func (p *Patience) Do(ctx context.Context, try func() error) error {
	started := time.Now()
	for {
		err := try()
		if !p.wait(err) || time.Since(started) > p.timeout {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(retryEvery):
		}
	}
}

// wait takes note of a result, and reports whether to try again.
func (p *Patience) wait(err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
		p.lost = time.Time{}
	case !fetch.IsUnreached(err):
	case p.lost.IsZero():
		p.lost = time.Now()
		return true
	default:
		return time.Since(p.lost) < p.timeout
	}
	return false
}

// Text says that nothing can be reached, if so.
func (p *Patience) Text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost.IsZero() {
		return ""
	}
	return "waiting for the network"
}
