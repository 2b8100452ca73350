package dataset

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"sync"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/fetch/subdatasets"
	"github.com/uniharmony/uniharmonyfs/internal/bulk"
	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// subdatasetsOf is what is known of where a version's subdatasets are.
type subdatasetsOf struct {
	within *subdatasets.Subdataset // what the version itself is; nil: the user named it

	mu  sync.Mutex // guards the following; held while git is asked for settings
	set *subdatasets.Set
}

// Below opens the subdataset at a directory of a version, which must be one, at the
// commit that the version names. It is asked for as the version was. Errors are those
// of [subdatasets.Set.Clone].
func (r *Registry) Below(ctx context.Context, v *Version, dir int, tell bulk.Tell) (*Version, error) {
	return r.belowAt(ctx, v, dir, "", tell)
}

// belowAt is Below at another version than the one that v names, unless it is "".
func (r *Registry) belowAt(ctx context.Context, v *Version, dir int, version string, tell bulk.Tell) (*Version, error) {
	sub, ok := v.Subdataset(dir)
	if !ok {
		return nil, errors.New("there is no subdataset")
	}
	of, path := v.Of(dir)
	set, err := of.places(ctx)
	if err != nil {
		return nil, err
	}
	req := v.Request
	req.Version, req.Template = cmp.Or(version, string(sub.Commit)), ""
	var found *Version
	ready := false
	leave := func() {
		if found != nil && !ready {
			found.Release()
		}
	}
	defer leave() // also after a panic
	set = set.With(func(ctx context.Context, spec fetch.Spec, version string, o fetch.CloneOptions) (*fetch.Clone, error) {
		leave() // it was not what was looked for
		req.Spec, o.Progress = spec.URL, r.cloneOptions(req, tell).Progress
		if found, err = r.open(ctx, spec, req, o, tell); err != nil {
			return nil, err
		}
		return found.Clone, nil
	})
	var had *subdatasets.Subdataset
	if version == "" {
		had, err = set.Clone(ctx, path, sub.Commit)
	} else {
		had, err = set.CloneVersion(ctx, path, version)
	}
	if err != nil {
		return nil, err
	}
	found.below.within = had
	ready = true
	return found, nil
}

const (
	// maxModules and maxConfig are the sizes in bytes of the largest files that are read
	// to find subdatasets.
	maxModules = 4 << 20
	maxConfig  = 1 << 20
)

// places returns where the version's subdatasets are looked for.
func (v *Version) places(ctx context.Context) (*subdatasets.Set, error) {
	v.below.mu.Lock()
	defer v.below.mu.Unlock()
	if v.below.set != nil {
		return v.below.set, nil
	}
	o := subdatasets.Options{
		Within: v.below.within, Dir: v.registry.Dir.Datasets(), Guard: &v.registry.guard,
		AllowAddresses: v.Request.AllowAddresses, Clone: v.registry.cloneOptions(v.Request, func(control.Progress) {}),
	}
	var err error
	for _, f := range []struct {
		to   *[]byte
		path string
		most int64
	}{{&o.Gitmodules, ".gitmodules", maxModules}, {&o.Config, ".datalad/config", maxConfig}} {
		*f.to, err = v.Git.ReadPathMax(ctx, string(v.Commit), f.path, f.most)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if v.below.set, err = subdatasets.New(ctx, v.Clone, o); err != nil {
		return nil, err
	}
	return v.below.set, nil
}
