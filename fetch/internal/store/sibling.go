package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/web"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// A Sibling is the repository behind a URL. What its configuration says is read once,
// when a key is wanted that no better place has. It is safe for concurrent use.
type Sibling struct {
	http  *web.Client
	url   string
	parse func(config []byte) ([]annex.UUID, error)
	turn  chan struct{} // holds the turn of who reads the configuration
	lists *lists        // of archives; see Stores

	mu     sync.Mutex // guards the following
	known  *repository
	failed error // why it is not known, until
	until  time.Time
}

// repository is what a sibling's configuration says.
type repository struct {
	store *Store
	ids   []annex.UUID // under which the logs speak of what is there
}

const (
	// maxConfig bounds a repository's configuration, in bytes.
	maxConfig = 64 << 10
	// siblingAgain is how long a place without a configuration is left alone.
	siblingAgain = 10 * time.Minute
)

// NewSibling returns the repository at a URL, or nil if that is none of the web. parse
// reads in a configuration under which names git-annex knows what is there.
func NewSibling(http *web.Client, at string, parse func(config []byte) ([]annex.UUID, error)) *Sibling {
	if u, err := url.Parse(at); err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return nil
	}
	return &Sibling{http: http, url: strings.TrimRight(at, "/"), parse: parse, turn: make(chan struct{}, 1)}
}

// Source returns the sibling as the source of a key. has says whether the logs say so
// of what is known under these names.
func (s *Sibling) Source(key annex.Key, has func(ids []annex.UUID) bool) source.Source {
	return &siblingSource{s: s, key: key, has: has}
}

// Lacks reports whether the sibling is known, and the logs do not say of it that it has
// a key.
func (s *Sibling) Lacks(has func(ids []annex.UUID) bool) bool {
	s.mu.Lock()
	known := s.known
	s.mu.Unlock()
	return known != nil && !has(known.ids)
}

type siblingSource struct {
	s   *Sibling
	key annex.Key
	has func([]annex.UUID) bool
}

func (s *siblingSource) String() string { return Name(s.s.url) }
func (s *siblingSource) Exact() bool    { return false }

func (s *siblingSource) Fetch(ctx context.Context, off, n int64, w io.Writer) error {
	r, err := s.s.repository(ctx)
	if err != nil {
		return err
	}
	if !s.has(r.ids) {
		return errors.New("the dataset does not say that the content is there")
	}
	return r.store.Source(s.key).Fetch(ctx, off, n, w)
}

// repository returns what the sibling is. One asker at a time finds that out.
func (s *Sibling) repository(ctx context.Context) (*repository, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	known, failed := s.known, s.failed
	if time.Now().After(s.until) {
		failed = nil
	}
	s.mu.Unlock()
	if known != nil || failed != nil {
		return known, failed
	}
	r, err := s.read(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.known = r
	case ctx.Err() == nil && !source.IsOutage(err):
		s.failed, s.until = err, time.Now().Add(siblingAgain)
	}
	return r, err
}

// read reads the configuration of the repository: of a bare one, or one with a work
// tree.
func (s *Sibling) read(ctx context.Context) (*repository, error) {
	var failed error
	for _, base := range []string{s.url, s.url + "/.git"} {
		r, err := s.readAt(ctx, base)
		if err == nil || ctx.Err() != nil || source.IsOutage(err) {
			return r, err
		}
		if failed == nil {
			failed = err
		} else {
			failed = fmt.Errorf("%w; %w", failed, err)
		}
	}
	return nil, failed
}

func (s *Sibling) readAt(ctx context.Context, base string) (*repository, error) {
	text, err := s.http.Text(ctx, base+"/config", maxConfig)
	var ids []annex.UUID
	if err == nil {
		ids, err = s.parse(text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shown(base+"/config"), err)
	}
	return &repository{store: Objects(s.http, base).sharing(s.lists), ids: ids}, nil
}
