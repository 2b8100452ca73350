package store

import (
	"strings"
	"sync"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/web"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Stores are the places that were asked before: each remembers how it keeps keys. The
// zero value is empty. They are safe for concurrent use.
type Stores struct {
	lists lists // of archives

	mu       sync.Mutex // guards the following
	at       map[string]*Store
	siblings map[string]*Sibling
}

// Get returns a store, made when it is wanted first.
func (s *Stores) Get(at string, create func() *Store) *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = make(map[string]*Store)
	}
	if s.at[at] == nil {
		s.at[at] = create().sharing(&s.lists)
	}
	return s.at[at]
}

// Sibling returns the repository at a URL, or nil if that is none of the web; see
// [NewSibling].
func (s *Stores) Sibling(http *web.Client, url string, parse func(config []byte) ([]annex.UUID, error)) *Sibling {
	url = strings.TrimSuffix(strings.TrimRight(url, "/"), "/.git")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.siblings == nil {
		s.siblings = make(map[string]*Sibling)
	}
	if s.siblings[url] == nil {
		s.siblings[url] = NewSibling(http, url, parse)
		if s.siblings[url] != nil {
			s.siblings[url].lists = &s.lists
		}
	}
	return s.siblings[url]
}
