package dataset

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"time"
	"weak"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// origin finds content for the cache, through a dataset's clone. It is shared by
// all who want the same of it, and closed when nobody can reach it any more: a
// transfer may need it longer than the request or the mount that began it.
type origin struct{ *fetch.Origin }

// Sources implements [cache.Origin].
func (o *origin) Sources(ctx context.Context, key annex.Key) ([]cache.Source, error) {
	return o.Origin.Sources(ctx, key)
}

// originID is all that an origin depends on. Neither addresses nor variables of
// the environment contain a zero byte, which joins them.
type originID struct {
	fetcher, addresses, env string
	timeout                 time.Duration
	commit                  gitstore.OID
}

type keptOrigin struct {
	shared weak.Pointer[origin]
	inner  *fetch.Origin
}

// noOrigin has nothing.
type noOrigin struct{ why error }

func (o noOrigin) Sources(context.Context, annex.Key) ([]cache.Source, error) { return nil, o.why }

// Origin returns where the version's content comes from, as its request wants,
// and begins to find that out.
func (v *Version) Origin() (cache.Origin, error) {
	req, r := v.Request, v.registry
	if req.Offline {
		return noOrigin{cache.ErrOffline}, nil
	}
	v.Clone.StartBranch()
	id := originID{
		fetcher: req.Fetcher, addresses: strings.Join(req.AllowAddresses, "\x00"), env: strings.Join(req.Env, "\x00"),
		timeout: req.Timeout, commit: v.Commit,
	}
	ds := v.dataset
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if kept := ds.origins[id]; kept != nil {
		if o := kept.shared.Value(); o != nil {
			return o, nil
		}
	}
	kept, name := &keptOrigin{}, v.ID() // and not v: an origin may live longer
	inner, err := fetch.NewOrigin(v.Clone, v.Git, fetch.OriginOptions{
		Fetcher:        req.Fetcher,
		AllowAddresses: req.AllowAddresses,
		Timeout:        req.Timeout,
		Env:            req.Env,
		Paths:          r.pathsOf(v.Git, v.Commit),
		Open: func(ctx context.Context, key, forKey annex.Key) (fetch.Content, error) {
			o := kept.shared.Value() // whoever asks holds it
			if o == nil {
				return nil, cache.ErrClosed
			}
			return r.openFor(ctx, o, name, key, forKey)
		},
		Ahead: r.after(v.Git, v.Commit),
		Log:   r.Log,
	})
	if known := new(advice.Error); errors.As(err, &known) {
		return nil, err
	} else if err != nil {
		return nil, advice.New(advice.Usage, "the content's sources cannot be used", err)
	}
	o := &origin{inner}
	kept.inner, kept.shared = inner, weak.Make(o)
	ds.origins[id] = kept
	runtime.AddCleanup(o, func(kept *keptOrigin) {
		go r.Guard("the end of an origin", func() { ds.drop(id, kept) })
	}, kept)
	return o, nil
}

// mostForeseen is how many files of a view may be asked about at once.
const mostForeseen = 1000

// Foresee begins to find out where the content of a view's files is, unless they
// are so many that only what is read is asked about.
func (v *Version) Foresee(files []int) {
	keys := make(map[*Version][]annex.Key)
	n := 0
	for _, node := range files {
		if v.Kind(node) != tree.Annexed || v.IsHere(node) {
			continue
		}
		if n++; n > mostForeseen {
			return
		}
		of, _ := v.Of(node)
		keys[of] = append(keys[of], v.Key(node))
	}
	for of, some := range keys {
		if from, err := of.Origin(); err == nil {
			if o, ok := from.(*origin); ok {
				o.Origin.Foresee(some)
			}
		}
	}
}

// drop closes an origin that nobody uses any more.
func (ds *dataset) drop(id originID, kept *keptOrigin) {
	ds.mu.Lock()
	if ds.origins[id] == kept {
		delete(ds.origins, id)
	}
	ds.mu.Unlock()
	kept.inner.Close() // a second time, after the dataset's, it does nothing
}

// pathsOf finds the paths of a key in a commit.
func (r *Registry) pathsOf(git *gitstore.Store, commit gitstore.OID) func(annex.Key) []string {
	return func(k annex.Key) (paths []string) {
		s, err := r.listing(context.Background(), git, commit, nil)
		if err != nil {
			return nil
		}
		for _, n := range s.WithKey(k) {
			paths = append(paths, s.Path(n))
		}
		return paths
	}
}

// after finds the keys of the annexed files that come after a key's first one.
func (r *Registry) after(git *gitstore.Store, commit gitstore.OID) func(annex.Key, int) []annex.Key {
	return func(k annex.Key, n int) (keys []annex.Key) {
		s, err := r.listing(context.Background(), git, commit, nil)
		if err != nil {
			return nil
		}
		at := s.WithKey(k)
		if len(at) == 0 {
			return nil
		}
		for i := at[0] + 1; i < s.Len() && len(keys) < n; i++ {
			if s.Kind(i) == tree.Annexed {
				keys = append(keys, s.Key(i))
			}
		}
		return keys
	}
}
