package fetch

import (
	"fmt"
	"sync"
	"time"
)

// breaker remembers hosts that cannot be reached, so that a thousand files do
// not each find that out for themselves.
type breaker struct {
	mu    sync.Mutex // guards the following
	hosts map[string]*hostState
}

type hostState struct {
	failures int
	until    time.Time
	why      error
}

const (
	// A host is left alone after this many failures in a row…
	breakAfter = 3
	// …for this long.
	breakFor = 5 * time.Second
)

// check returns why a host is left alone at the moment.
func (b *breaker) check(host string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.hosts[host]; s != nil && time.Now().Before(s.until) {
		return fmt.Errorf("%s is left alone for some seconds after %d failures: %w", host, s.failures, s.why)
	}
	return nil
}

// note records how an attempt to reach a host ended.
func (b *breaker) note(host string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		delete(b.hosts, host)
		return
	}
	if b.hosts == nil {
		b.hosts = make(map[string]*hostState)
	}
	s := b.hosts[host]
	if s == nil {
		s = &hostState{}
		b.hosts[host] = s
	}
	s.failures++
	s.why = err
	if s.failures >= breakAfter {
		s.until = time.Now().Add(breakFor)
	}
}
