package dataset

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/bulk"
)

// Below opens the subdataset at a directory of a version, which must be one, at the
// commit that the version names. It is asked for as the version was.
func (r *Registry) Below(ctx context.Context, v *Version, dir int, tell bulk.Tell) (*Version, error) {
	sub, ok := v.Subdataset(dir)
	if !ok {
		return nil, errors.New("there is no subdataset")
	}
	v, path := v.Of(dir)
	data, err := v.Git.ReadPathMax(ctx, string(v.Commit), ".gitmodules", 4<<20)
	if err != nil {
		return nil, err
	}
	at := fetch.SubdatasetAt(data, path)
	if strings.HasPrefix(at, ".") {
		if filepath.IsAbs(v.Clone.Spec.URL) {
			at = filepath.Join(v.Clone.Spec.URL, at)
		} else if u, err := url.Parse(v.Clone.Spec.URL); err == nil {
			at = u.JoinPath(at).String()
		}
	}
	if local := filepath.IsAbs(at) || strings.HasPrefix(at, "file:"); local && !filepath.IsAbs(v.Clone.Spec.URL) {
		return nil, advice.New(advice.Unreachable, "a dataset from elsewhere says that it is at "+at+" on this machine: that is not looked at", nil)
	}
	if at == "" {
		return nil, advice.New(advice.Unreachable, "nothing says where it is", nil)
	}
	req := v.Request
	req.Spec, req.Version, req.Template = at, string(sub.Commit), ""
	return r.Open(ctx, req, tell)
}
