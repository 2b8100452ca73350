package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/config"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/store"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/web"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/plain"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// stores are the places that have keys and that this origin has asked before: each
// remembers how it keeps them. Its zero value is empty.
type stores struct {
	mu sync.Mutex // guards the following
	at map[string]*store.Store
}

// get returns a store, made when it is wanted first.
func (s *stores) get(at string, create func() *store.Store) *store.Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = make(map[string]*store.Store)
	}
	if s.at[at] == nil {
		s.at[at] = create()
	}
	return s.at[at]
}

// localStore returns the content of a key in a RIA store's directory on this machine,
// or nil.
func (r *Origin) localStore(dir string, key annex.Key) Source {
	if path := findObject(objectDirs(dir), key); path != "" {
		return &fileSource{path: path, key: key}
	}
	if !store.HasArchive(dir) {
		return nil
	}
	return r.stores.get(dir, func() *store.Store { return store.Archive(dir) }).Source(key)
}

// riaStores returns the RIA stores that are said to have a key. One that cannot be
// asked is there too, and says why.
func (r *Origin) riaStores(m remotes, key annex.Key, here map[annex.UUID]bool) (all []Source) {
	for _, id := range m.order {
		c := m.configs[id]
		dir, ok := c.RIADir()
		if !ok || !here[c.LocationUUID(id)] {
			continue
		}
		at := dir.String()
		switch {
		case dir.Scheme == "http", dir.Scheme == "https":
			all = append(all, r.stores.get(at, func() *store.Store { return store.Objects(r.http, at, true) }).Source(key))
		case dir.Scheme == "file" && !r.clone.Local():
			all = append(all, &refused{store.Name(at), "it is a directory of the machine that the dataset was made on, and datasets from elsewhere are not followed to this machine's files"})
		case dir.Scheme == "file":
			if s := r.localStore(dir.Path, key); s != nil {
				all = append(all, s)
			} else {
				all = append(all, &refused{store.Name(at), "it does not have it, or is not there"})
			}
		case !c.IsIn(r.clone.Spec.URL): // else git-annex asks it, as the dataset's own
			all = append(all, &refused{store.Name(at), "over ssh it is read by a program that only you can start: datalad get"})
		}
	}
	return all
}

// keyStore returns what a special remote that keeps keys behind URLs has of one. It
// does not say under which of several it does, which is learned.
func (r *Origin) keyStore(id annex.UUID, c annex.RemoteConfig, key annex.Key) []Source {
	switch urls := c.KeyURLs(key); len(urls) {
	case 0:
		return nil
	case 1:
		size, _ := key.Size()
		return []Source{r.http.Source(urls[0], size, false)}
	default:
		return []Source{r.stores.get(string(id), func() *store.Store {
			return store.URLs(r.http, c["url"], len(urls), c.KeyURLs)
		}).Source(key)}
	}
}

// refused is a place that is not asked.
type refused struct{ name, why string }

func (s *refused) String() string { return s.name }
func (s *refused) Exact() bool    { return false }

func (s *refused) Fetch(ctx context.Context, _, _ int64, _ io.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.New(s.why)
}

// sibling is the repository behind the URL that the dataset was cloned from. What its
// configuration says is read once, when a key is wanted that no better place has.
type sibling struct {
	http *web.Client
	url  string
	turn chan struct{} // holds the turn of who reads the configuration

	mu     sync.Mutex // guards the following
	known  *repository
	failed error // why it is not known, until
	until  time.Time
}

// repository is what a sibling's configuration says.
type repository struct {
	store *store.Store
	ids   []annex.UUID // under which the logs speak of what is there
}

const (
	// maxConfig bounds a repository's configuration, in bytes.
	maxConfig = 64 << 10
	// siblingAgain is how long a place without a configuration is left alone.
	siblingAgain = 10 * time.Minute
)

// newSibling returns the sibling at the URL of a dataset, or nil if it cannot be read
// by URLs.
func newSibling(http *web.Client, spec Spec) *sibling {
	if u, err := url.Parse(spec.URL); err != nil || u.Scheme != "https" && u.Scheme != "http" || spec.Bundle {
		return nil
	}
	return &sibling{http: http, url: strings.TrimRight(spec.URL, "/"), turn: make(chan struct{}, 1)}
}

// source returns the sibling as the source of a key, of which the logs say who has it.
func (s *sibling) source(m remotes, key annex.Key, here map[annex.UUID]bool) Source {
	return &siblingSource{s: s, key: key, has: func(r *repository) bool {
		for _, id := range r.ids {
			if here[id] {
				return true
			}
		}
		for _, id := range m.order {
			if c := m.configs[id]; here[c.LocationUUID(id)] && c.IsIn(s.url) {
				return true
			}
		}
		return false
	}}
}

// wanted reports whether the logs name a repository that has the key and is none of
// the special remotes, or a RIA store: only then the sibling is worth asking.
func (m remotes) wanted(here map[annex.UUID]bool) bool {
	known := map[annex.UUID]bool{annex.WebUUID: true}
	for id, c := range m.configs {
		_, isRIA := c.RIADir()
		known[c.LocationUUID(id)] = known[c.LocationUUID(id)] || !isRIA
	}
	for id, has := range here {
		if has && !known[id] {
			return true
		}
	}
	return false
}

type siblingSource struct {
	s   *sibling
	key annex.Key
	has func(*repository) bool
}

func (s *siblingSource) String() string { return store.Name(s.s.url) }
func (s *siblingSource) Exact() bool    { return false }

func (s *siblingSource) Fetch(ctx context.Context, off, n int64, w io.Writer) error {
	r, err := s.s.repository(ctx)
	if err != nil {
		return err
	}
	if !s.has(r) {
		return errors.New("the dataset does not say that the content is there")
	}
	return r.store.Source(s.key).Fetch(ctx, off, n, w)
}

// repository returns what the sibling is. One asker at a time finds that out.
func (s *sibling) repository(ctx context.Context) (*repository, error) {
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
func (s *sibling) read(ctx context.Context) (*repository, error) {
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

func (s *sibling) readAt(ctx context.Context, base string) (*repository, error) {
	text, err := s.http.Text(ctx, base+"/config", maxConfig)
	var ids []annex.UUID
	if err == nil {
		ids, err = parseIDs(text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", plain.Short(base+"/config", web.MaxURL), err)
	}
	return &repository{store: store.Objects(s.http, base, true), ids: ids}, nil
}

// parseIDs reads in a repository's configuration under which names git-annex knows
// what is there: as a repository, and as a RIA store.
func parseIDs(text []byte) (ids []annex.UUID, err error) {
	var c config.Config
	if err := config.NewDecoder(bytes.NewReader(text)).Decode(&c); err != nil || !c.HasSection("core") {
		return nil, errors.New("it is no repository's configuration")
	}
	for _, id := range []string{c.Section("annex").Option("uuid"), c.Section("datalad").Subsection("ora-remote").Option("uuid")} {
		if id != "" {
			ids = append(ids, annex.UUID(id))
		}
	}
	return ids, nil
}
