package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/gitannex"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/program"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/store"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/web"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// A Source is one place that may have a key's content. Some bring it as a
// whole file instead: these are a [source.Placer] too.
type Source = source.Source

// DefaultTimeout is the longest wait for a source that sends nothing.
const DefaultTimeout = web.DefaultTimeout

var discard = slog.New(slog.DiscardHandler)

// OriginOptions tune NewOrigin. The zero value works.
type OriginOptions struct {
	Fetcher        string   // auto (or empty), native, or annex
	AllowAddresses []string // addresses, networks or "all", beyond the public ones
	// Timeout is the longest wait for a source that sends next to nothing; 0 is
	// DefaultTimeout. git-annex may be silent for ten times as long.
	Timeout time.Duration
	Env     []string // the caller's environment, for proxies and git-annex
	// Paths returns the paths of a key in the version, for places that keep
	// files under their names. nil knows none.
	Paths func(annex.Key) []string
	// Open opens the whole content of a key, which is brought if it is not here, for
	// another that is made of it. It fails if that could wait for itself: if the other
	// is wanted for the first. nil opens none.
	Open func(ctx context.Context, key, forKey annex.Key) (Content, error)
	// Ahead returns some n keys that are likely to be asked for after a key: where
	// their content is may be asked for together. nil knows none.
	Ahead func(key annex.Key, n int) []annex.Key
	Log   *slog.Logger
}

// Origin finds the places that have a dataset's content. It is safe for
// concurrent use.
type Origin struct {
	clone *Clone
	git   *gitstore.Store
	o     OriginOptions
	http  *web.Client
	annex *gitannex.Child // nil when git-annex is not to be used

	stores    store.Stores
	unpacking *store.Archives

	mu    sync.Mutex // guards the following; not held while git is asked
	known *remotes   // nil until they were read once
}

// remotes is what the git-annex branch says of all keys.
type remotes struct {
	branch  string // commit id
	configs map[annex.UUID]annex.RemoteConfig
	order   []annex.UUID        // of configs, by name
	special map[annex.UUID]bool // see specials
}

// NewOrigin returns the origin of a clone's content. It reads nothing yet.
func NewOrigin(clone *Clone, git *gitstore.Store, o OriginOptions) (*Origin, error) {
	if o.Log == nil {
		o.Log = discard
	}
	if o.Paths == nil {
		o.Paths = func(annex.Key) []string { return nil }
	}
	if o.Ahead == nil {
		o.Ahead = func(annex.Key, int) []annex.Key { return nil }
	}
	client, err := web.New(web.Options{Allow: o.AllowAddresses, Env: o.Env, Timeout: o.Timeout})
	if err != nil {
		return nil, err
	}
	r := &Origin{clone: clone, git: git, o: o, http: client}
	r.unpacking = store.NewArchives(r.openArchive)
	switch o.Fetcher {
	case "", "auto":
		if AnnexProgram() != "" {
			r.annex = newAnnexChild(clone, o)
		}
	case "annex":
		if AnnexProgram() == "" {
			return nil, &advice.Error{Kind: advice.Unreachable, Reason: advice.Other, What: "the program git-annex is missing", Do: []string{"install it: apt-get install git-annex", "or use --fetcher native, where the dataset has URLs"}}
		}
		r.annex = newAnnexChild(clone, o)
	case "native":
	default:
		return nil, fmt.Errorf("there is no fetcher %q", o.Fetcher)
	}
	return r, nil
}

// Close ends what the origin keeps running.
func (r *Origin) Close() error {
	r.http.Close()
	if r.annex != nil {
		return r.annex.Close()
	}
	return nil
}

const (
	// maxURLs is how many URLs of a key are tried: the best ones. After them
	// comes git-annex, which knows all.
	maxURLs = 32
	// maxURLLength is the length in bytes of the longest URL that is followed.
	maxURLLength = 8 << 10
	// maxLog is the size in bytes of the largest log of the git-annex branch
	// that is read: thousands of lines about one key.
	maxLog = 1 << 20
	// maxRemotes bounds the special remotes that are looked at for every key.
	maxRemotes = 200
)

// remotes returns what the git-annex branch says of all keys, when what it says
// of a key is there too. It is remembered once it was read; a failure is not. A
// dataset without that branch has none.
func (r *Origin) remotes(ctx context.Context, key annex.Key, ahead func(n int) []annex.Key) (remotes, error) {
	if err := r.clone.waitBeginning(ctx); err != nil {
		return remotes{}, err
	}
	r.mu.Lock()
	known := r.known
	r.mu.Unlock()
	m := remotes{}
	if known != nil {
		m = *known
	} else if id, err := r.git.Resolve(ctx, annexRef); errors.Is(err, fs.ErrNotExist) {
		return m, nil
	} else if err != nil {
		return m, err
	} else {
		m.branch = string(id)
	}
	err := r.clone.askLogs(r.git, m.branch, key, ahead).Wait(ctx)
	if known == nil && err == nil {
		if err = r.readRemotes(ctx, &m); err == nil {
			r.mu.Lock()
			r.known = &m
			r.mu.Unlock()
		}
	}
	return m, err
}

// Foresee says that the content of these keys is likely to be asked for: where it
// is begins to be fetched. That it fails is for who asks.
func (r *Origin) Foresee(keys []annex.Key) {
	if h := r.clone.hidden; len(keys) > 0 && r.o.Fetcher != "annex" {
		h.work.Go(func() {
			program.Attempt(func() error {
				rest := func(int) []annex.Key { return keys }
				m, err := r.remotes(h.ctx, keys[0], rest)
				// Somebody else may have asked for the first alone. If some
				// more are there, so are all.
				for _, key := range keys[:min(len(keys), 50)] {
					if err == nil && m.branch != "" {
						r.clone.askLogs(r.git, m.branch, key, rest)
					}
				}
				return err
			})
		})
	}
}

// forget makes the next call look which commit the git-annex branch is at, and
// what is there of it.
func (r *Origin) forget() {
	r.mu.Lock()
	r.known = nil
	r.mu.Unlock()
	r.clone.hidden.logs.Forget()
}

func (r *Origin) readRemotes(ctx context.Context, m *remotes) error {
	log, err := r.git.ReadPathMax(ctx, m.branch, ofAllKeys, maxLog)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	m.configs = annex.ParseRemoteLog(log)
	for u := range m.configs {
		m.order = append(m.order, u)
	}
	slices.SortFunc(m.order, func(a, b annex.UUID) int {
		return cmp.Or(cmp.Compare(m.configs[a].Name(), m.configs[b].Name()), cmp.Compare(a, b))
	})
	m.order = m.order[:min(len(m.order), maxRemotes)]
	m.special = specials(m.configs)
	return nil
}

// Sources returns the places that may have a key's content, best first: git
// itself, a repository on this machine, exact versions by URL, RIA stores, URLs that
// the dataset records, remotes that keep keys, exported trees, git repositories behind
// URLs, archives that are content themselves, and git-annex.
// With an error there may be sources too: those that could be found.
func (r *Origin) Sources(ctx context.Context, key annex.Key) ([]Source, error) {
	if key.Backend() == "GIT" {
		return []Source{&gitSource{wholeOnly: "git", store: r.git, id: gitstore.OID(key.Name())}}, nil
	}
	var sources []Source
	if dir := r.clone.Spec.URL; r.clone.Local() {
		if s := r.localStore(dir, key); s != nil {
			sources = append(sources, s)
		}
	}
	if r.o.Fetcher == "annex" {
		return append(sources, &annexSource{wholeOnly: "git-annex", child: r.annex, key: key, clone: r.clone}), nil
	}
	found, failed := r.byURL(ctx, key)
	if errors.Is(failed, gitstore.ErrMissing) { // the branch is another, or was tampered with
		r.forget()
		found, failed = r.byURL(ctx, key)
	}
	if known := new(advice.Error); errors.As(failed, &known) || ctx.Err() != nil {
		return sources, classify(failed)
	}
	sources = append(sources, found...)
	if r.annex != nil {
		sources = append(sources, &annexSource{wholeOnly: "git-annex", child: r.annex, key: key, clone: r.clone})
	}
	return sources, failed
}

// classify marks what git says of the network as an outage.
func classify(err error) error {
	if known := new(advice.Error); errors.As(err, &known) && known.Reason == advice.Network {
		return source.Outage(err)
	}
	return err
}

// sourceList collects the sources of a key that are found by URLs, the best ones
// first, and each URL once.
type sourceList struct {
	c    *web.Client
	size int64 // of the key, in bytes
	seen map[string]bool
	all  []Source
}

func (l *sourceList) full() bool { return len(l.all) >= maxURLs }

func (l *sourceList) add(exact bool, urls ...string) {
	for _, u := range urls {
		if l.full() {
			return
		}
		if !l.seen[u] && len(u) <= maxURLLength {
			l.seen[u] = true
			l.all = append(l.all, l.c.Source(u, l.size, exact))
		}
	}
}

func (l *sourceList) addSources(more ...Source) {
	l.all = append(l.all, more[:min(len(more), maxURLs-len(l.all))]...)
}

// byURL returns the sources of a key that are found by URLs, the best ones first, at
// most maxURLs. Without all logs it returns those that it knows, and the error.
func (r *Origin) byURL(ctx context.Context, key annex.Key) (all []Source, err error) {
	m, err := r.remotes(ctx, key, func(n int) []annex.Key { return r.o.Ahead(key, n) })
	if err != nil || m.branch == "" {
		return nil, err
	}
	size, _ := key.Size()
	l := &sourceList{c: r.http, size: size, seen: make(map[string]bool)}
	read := func(suffix string) []byte {
		log, readErr := r.git.ReadPathMax(ctx, m.branch, key.HashDirLower()+"/"+key.FileName()+suffix, maxLog)
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
		l.add(true, m.configs[u].VersionedURLs(versions[u])...)
	}
	stores, refused := r.riaStores(m, key, here)
	l.addSources(stores...)
	urls := read(".log.web")
	l.add(false, annex.ParseWebLog(urls)...)
	for _, u := range order {
		if here[m.configs[u].LocationUUID(u)] {
			l.addSources(r.keyStore(u, m.configs[u], key)...)
		}
	}
	paths := sync.OnceValue(func() []string { return r.o.Paths(key) })
	for _, u := range order {
		if l.full() || !m.configs[u].HoldsTree() {
			continue
		}
		for _, p := range paths() {
			if url, ok := m.configs[u].ExportURL(p); ok {
				l.add(false, url)
			}
		}
	}
	for _, s := range r.repositories(m, key, here) {
		if !slices.ContainsFunc(l.all, func(other Source) bool { return other.String() == s.String() }) {
			l.addSources(s)
		}
	}
	l.addSources(r.archives(urls, key)...)
	l.addSources(refused...)
	return l.all, err
}

func boolRank(b bool) int {
	if b {
		return 1
	}
	return 0
}

// IsUnreached reports whether a failure may pass by itself, as a network that
// is gone for a while.
func IsUnreached(err error) bool {
	var known *advice.Error
	return source.IsOutage(err) || errors.As(err, &known) && known.Reason == advice.Network
}
