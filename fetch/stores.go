package fetch

import (
	"bytes"
	"errors"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/format/config"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/store"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
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
			all = append(all, store.Refused(at, "it is a directory of the machine that the dataset was made on, and datasets from elsewhere are not followed to this machine's files"))
		case dir.Scheme == "file":
			if s := r.localStore(dir.Path, key); s != nil {
				all = append(all, s)
			} else {
				all = append(all, store.Refused(at, "it does not have it, or is not there"))
			}
		case !c.IsIn(r.clone.Spec.URL): // else git-annex asks it, as the dataset's own
			all = append(all, store.Refused(at, "over ssh it is read by a program that only you can start: datalad get"))
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

// siblingSource returns the repository that the dataset was cloned from as the source
// of a key, of which the logs say who has it.
func (r *Origin) siblingSource(m remotes, key annex.Key, here map[annex.UUID]bool) Source {
	return r.sibling.Source(key, func(ids []annex.UUID) bool {
		for _, id := range ids {
			if here[id] {
				return true
			}
		}
		for _, id := range m.order {
			if c := m.configs[id]; here[c.LocationUUID(id)] && c.IsIn(r.clone.Spec.URL) {
				return true
			}
		}
		return false
	})
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
