package web

import (
	"fmt"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/plain"
)

// breaker remembers hosts that cannot be reached, so that a thousand files do
// not each find that out for themselves. It belongs to one client: another one
// may have another way there.
type breaker struct {
	mu    sync.Mutex // guards the following
	hosts map[string]*hostState
}

type hostState struct {
	failures int
	last     time.Time // of these
	until    time.Time
	why      error
}

const (
	// A host is left alone after this many failures in a row…
	breakAfter = 3
	// …for this long.
	breakFor = 5 * time.Second
	// maxHosts bounds the memory: datasets choose the hosts.
	maxHosts = 1000
)

// check returns why one of these, hosts or URLs, is left alone at the moment.
func (b *breaker) check(names ...string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range names {
		if s := b.hosts[name]; s != nil && time.Now().Before(s.until) {
			return fmt.Errorf("%s is left alone for some seconds: %w", plain.Short(name, MaxURL), s.why)
		}
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
	s := b.state(host)
	s.failures++
	s.why, s.last = err, time.Now()
	if s.failures >= breakAfter {
		s.until = time.Now().Add(breakFor)
	}
}

// leave lets a URL alone for a while, as its server wishes.
func (b *breaker) leave(url string, pause time.Duration, why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.state(url)
	s.why, s.last, s.until = why, time.Now(), time.Now().Add(pause)
}

// state returns what is known of a host. It forgets others when there are many.
// The lock is held.
func (b *breaker) state(host string) *hostState {
	if b.hosts == nil {
		b.hosts = make(map[string]*hostState)
	}
	if s := b.hosts[host]; s != nil {
		return s
	}
	if len(b.hosts) >= maxHosts {
		for name, s := range b.hosts {
			if time.Now().After(s.until) && time.Since(s.last) > breakFor {
				delete(b.hosts, name)
			}
		}
	}
	if len(b.hosts) >= maxHosts {
		clear(b.hosts)
	}
	s := &hostState{}
	b.hosts[host] = s
	return s
}
