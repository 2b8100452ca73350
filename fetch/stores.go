package fetch

import (
	"bytes"
	"errors"
	"slices"

	"github.com/go-git/go-git/v5/plumbing/format/config"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/store"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// localStore returns the content of a key in a RIA store's directory on this machine,
// or nil.
func (r *Origin) localStore(dir string, key annex.Key) Source {
	if path := findObject(objectDirs(dir), key); path != "" {
		return &fileSource{path: path, key: key}
	}
	if !store.HasArchive(dir) {
		return nil
	}
	return r.stores.Get(dir, func() *store.Store { return store.Archive(dir) }).Source(key)
}

// riaStores returns the RIA stores that are said to have a key, and those of them that
// cannot be asked, which say why.
func (r *Origin) riaStores(m remotes, key annex.Key, here map[annex.UUID]bool) (all, refused []Source) {
	for _, id := range m.order {
		c := m.configs[id]
		dir, ok := c.RIADir()
		if !ok || !here[c.LocationUUID(id)] {
			continue
		}
		at := dir.String()
		switch {
		case dir.Scheme == "http", dir.Scheme == "https":
			all = append(all, r.stores.Get(at, func() *store.Store { return store.Objects(r.http, at) }).Source(key))
		case dir.Scheme == "file" && !r.clone.Local():
			refused = append(refused, store.Refused(at, "it is a directory of the machine that the dataset was made on, and datasets from elsewhere are not followed to this machine's files"))
		case dir.Scheme == "file":
			if s := r.localStore(dir.Path, key); s != nil {
				all = append(all, s)
			} else {
				refused = append(refused, store.Refused(at, "it does not have it, or is not there"))
			}
		case !c.IsIn(r.clone.Spec.URL): // else git-annex asks it, as the dataset's own
			refused = append(refused, store.Refused(at, "over ssh it is read by a program that only you can start: datalad get"))
		}
	}
	return all, refused
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
		return []Source{r.stores.Get("remote "+string(id), func() *store.Store {
			return store.URLs(r.http, c["url"], len(urls), c.KeyURLs)
		}).Source(key)}
	}
}

// repositories returns the git repositories behind URLs that have a key: special
// remotes of type=git, and the one that the dataset was cloned from.
func (r *Origin) repositories(m remotes, key annex.Key, here map[annex.UUID]bool) (all []Source) {
	for _, id := range m.order {
		if url, ok := m.configs[id].GitURL(); ok && here[id] {
			has := func(ids []annex.UUID) bool { return slices.Contains(ids, id) }
			if s := r.stores.Sibling(r.http, url, parseIDs); s != nil && !s.Lacks(has) {
				all = append(all, s.Source(key, has))
			}
		}
	}
	if own := r.own(m, key, here); own != nil && !slices.ContainsFunc(all, func(s Source) bool { return s.String() == own.String() }) {
		all = append(all, own)
	}
	return all
}

// own returns the repository that the dataset was cloned from, if it is behind a URL
// and may have the key.
func (r *Origin) own(m remotes, key annex.Key, here map[annex.UUID]bool) Source {
	if r.clone.Spec.Bundle || !m.unknown(here) {
		return nil
	}
	has := func(ids []annex.UUID) bool {
		return slices.ContainsFunc(ids, func(id annex.UUID) bool { return here[id] }) ||
			slices.ContainsFunc(m.order, func(id annex.UUID) bool {
				c := m.configs[id]
				return here[c.LocationUUID(id)] && c.IsIn(r.clone.Spec.URL)
			})
	}
	s := r.stores.Sibling(r.http, r.clone.Spec.URL, parseIDs)
	if s == nil || s.Lacks(has) {
		return nil
	}
	return s.Source(key, has)
}

// unknown reports whether somebody has the key that may be the repository that the
// dataset was cloned from: who is no special remote, but for those that stand for a
// repository or a RIA store.
func (m remotes) unknown(here map[annex.UUID]bool) bool {
	for id, has := range here {
		if has && !m.special[id] {
			return true
		}
	}
	return false
}

// specials are the special remotes that stand for no repository, by the names under
// which the logs speak of what they have.
func specials(configs map[annex.UUID]annex.RemoteConfig) map[annex.UUID]bool {
	all := map[annex.UUID]bool{annex.WebUUID: true}
	for id, c := range configs {
		if _, isRIA := c.RIADir(); !isRIA && c.Type() != "git" {
			all[c.LocationUUID(id)] = true
		}
	}
	return all
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
