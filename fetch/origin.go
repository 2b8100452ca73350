package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// A Source is one place that may have a key's content. Some bring it as a
// whole file instead: these are a [source.Placer] too.
type Source = source.Source

var discard = slog.New(slog.DiscardHandler)

// OriginOptions tune NewOrigin. The zero value works.
type OriginOptions struct {
	Fetcher        string        // auto (or empty), native, or annex
	AllowAddresses []string      // addresses, networks or "all", beyond the public ones
	Timeout        time.Duration // longest wait without a new byte; 0 is DefaultTimeout
	Env            []string      // the caller's environment, for proxies and git-annex
	// Paths returns the paths of a key in the version, for places that keep
	// files under their names. nil knows none.
	Paths func(annex.Key) []string
	Log   *slog.Logger
}

// Origin finds the places that have a dataset's content. It is safe for
// concurrent use.
type Origin struct {
	clone *Clone
	git   *gitstore.Store
	o     OriginOptions
	http  *httpClient
	annex *annexChild // nil when git-annex is not to be used

	remotes func() (remotes, error)
}

// remotes is what the git-annex branch says of all keys.
type remotes struct {
	branch  string // commit id
	configs map[annex.UUID]annex.RemoteConfig
	order   []annex.UUID // of configs, by name
}

// NewOrigin returns the origin of a clone's content. It reads nothing yet.
func NewOrigin(clone *Clone, git *gitstore.Store, o OriginOptions) (*Origin, error) {
	if o.Log == nil {
		o.Log = discard
	}
	if o.Paths == nil {
		o.Paths = func(annex.Key) []string { return nil }
	}
	client, err := newHTTP(httpOptions{allow: o.AllowAddresses, env: o.Env, timeout: o.Timeout})
	if err != nil {
		return nil, err
	}
	r := &Origin{clone: clone, git: git, o: o, http: client}
	switch o.Fetcher {
	case "", "auto":
		if AnnexProgram() != "" {
			r.annex = newAnnexChild(clone.Dir, o)
		}
	case "annex":
		if AnnexProgram() == "" {
			return nil, &AdviceError{Kind: Other, What: "the program git-annex is missing", Do: []string{"install it: apt-get install git-annex", "or use --fetcher native, where the dataset has URLs"}}
		}
		r.annex = newAnnexChild(clone.Dir, o)
	case "native":
	default:
		return nil, fmt.Errorf("there is no fetcher %q", o.Fetcher)
	}
	r.remotes = sync.OnceValues(r.readRemotes)
	return r, nil
}

// Close ends what the origin keeps running.
func (r *Origin) Close() error {
	r.http.close()
	if r.annex != nil {
		return r.annex.Close()
	}
	return nil
}

// readRemotes reads what the git-annex branch says of all keys. A dataset
// without that branch has none.
func (r *Origin) readRemotes() (remotes, error) {
	ctx := context.Background()
	id, err := r.git.Resolve(ctx, annexRef)
	if errors.Is(err, fs.ErrNotExist) {
		return remotes{}, nil
	} else if err != nil {
		return remotes{}, err
	}
	m := remotes{branch: string(id)}
	log, err := r.git.ReadPath(ctx, m.branch, "remote.log")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return remotes{}, err
	}
	m.configs = annex.ParseRemoteLog(log)
	for u := range m.configs {
		m.order = append(m.order, u)
	}
	slices.SortFunc(m.order, func(a, b annex.UUID) int {
		return cmp.Or(cmp.Compare(m.configs[a].Name(), m.configs[b].Name()), cmp.Compare(a, b))
	})
	return m, nil
}

// Sources returns the places that may have a key's content, best first: git
// itself, a repository on this machine, exact versions by URL, URLs that the
// dataset records, exported trees, and git-annex.
func (r *Origin) Sources(ctx context.Context, key annex.Key) ([]Source, error) {
	if key.Backend() == "GIT" {
		return []Source{&gitSource{store: r.git, id: gitstore.OID(key.Name())}}, nil
	}
	var sources []Source
	if dir := r.clone.Spec.URL; filepath.IsAbs(dir) && !r.clone.Spec.Bundle && r.o.Fetcher != "annex" {
		if path := findObject(objectDirs(dir), key); path != "" {
			sources = append(sources, &fileSource{path: path})
		}
	}
	if err := r.clone.WaitBranch(ctx); err != nil {
		return sources, err
	}
	var failed error
	if r.o.Fetcher != "annex" {
		urls, err := r.urls(ctx, key)
		failed = err
		for _, u := range urls {
			sources = append(sources, u)
		}
	}
	if r.annex != nil {
		sources = append(sources, &annexSource{child: r.annex, key: key})
	}
	return sources, failed
}

// urls returns the URLs of a key, each once.
func (r *Origin) urls(ctx context.Context, key annex.Key) (urls []*httpSource, err error) {
	m, err := r.remotes()
	if err != nil || m.branch == "" {
		return nil, err
	}
	size, _ := key.Size()
	seen := make(map[string]bool)
	add := func(exact bool, list ...string) {
		for _, u := range list {
			if !seen[u] {
				seen[u] = true
				urls = append(urls, &httpSource{c: r.http, url: u, size: size, exact: exact})
			}
		}
	}
	read := func(suffix string) []byte {
		log, readErr := r.git.ReadPath(ctx, m.branch, key.HashDirLower()+"/"+key.FileName()+suffix)
		if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
			err = errors.Join(err, readErr)
		}
		return log
	}
	here := annex.ParseLocationLog(read(".log"))
	// The log is a hint for the order: those said to have it come first.
	order := slices.Clone(m.order)
	slices.SortStableFunc(order, func(a, b annex.UUID) int {
		return boolRank(here[m.configs[b].LocationUUID(b)]) - boolRank(here[m.configs[a].LocationUUID(a)])
	})
	versions := annex.ParseRemoteMetadata(read(".log.rmet"))
	for _, u := range order {
		add(true, m.configs[u].VersionedURLs(versions[u])...)
	}
	add(false, annex.ParseWebLog(read(".log.web"))...)
	for _, u := range order {
		if here[m.configs[u].LocationUUID(u)] {
			add(false, m.configs[u].KeyURLs(key)...)
		}
	}
	paths := sync.OnceValue(func() []string { return r.o.Paths(key) })
	for _, u := range order {
		if !m.configs[u].HoldsTree() {
			continue
		}
		for _, p := range paths() {
			if url, ok := m.configs[u].ExportURL(p); ok {
				add(false, url)
			}
		}
	}
	return urls, err
}

func boolRank(b bool) int {
	if b {
		return 1
	}
	return 0
}
