package fetch

import (
	"context"
	"errors"
	"fmt"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

// withGoGit fetches where no git program is installed. It knows neither
// credential helpers nor rewritten URLs.
type withGoGit struct {
	spec     Spec
	progress func(Progress)
}

func (w *withGoGit) make(ctx context.Context, dir, version string) (got fetched, err error) {
	if _, err := git.PlainInit(dir, true); err != nil {
		return got, err
	}
	return w.fetch(ctx, dir, version)
}

func (w *withGoGit) fetch(ctx context.Context, dir, version string) (got fetched, err error) {
	repo, err := git.PlainOpen(dir)
	if err != nil {
		return got, err
	}
	w.progress(Progress{Phase: "connect", Text: "asking for the dataset's versions"})
	remote := git.NewRemote(repo.Storer, &config.RemoteConfig{Name: "origin", URLs: []string{w.spec.URL}})
	r, err := w.offered(ctx, remote)
	if err != nil {
		return got, err
	}
	ref, err := r.choose(version)
	if err != nil {
		return got, err
	}
	if ref == "" {
		return got, &advice.Error{Kind: advice.Unreachable, Reason: advice.NoGit, What: "cannot get the commit " + version, Why: "the program git is missing, and without it only tags and branches can be had", Do: []string{"install it: apt-get install git"}}
	}
	specs := []config.RefSpec{config.RefSpec("+" + ref + ":" + ours(ref))}
	for _, spec := range r.annexRefspec() {
		specs = append(specs, config.RefSpec(spec))
	}
	err = remote.FetchContext(ctx, &git.FetchOptions{RefSpecs: specs, Depth: 1, Tags: git.NoTags, Force: true})
	if err != nil && !errors.Is(err, git.NoErrAlreadyUpToDate) {
		return got, err
	}
	id, err := repo.ResolveRevision(plumbing.Revision(ours(ref) + "^{commit}"))
	if err != nil {
		return got, fmt.Errorf("%s: %w", ours(ref), err)
	}
	kept := plumbing.NewHashReference(plumbing.ReferenceName("refs/uniharmonyfs/"+id.String()), *id)
	got.commit = gitstore.OID(id.String())
	return got, repo.Storer.SetReference(kept)
}

func (w *withGoGit) offered(ctx context.Context, remote *git.Remote) (refs, error) {
	list, err := remote.ListContext(ctx, &git.ListOptions{})
	if err != nil {
		return refs{}, err
	}
	r := refs{commit: make(map[string]gitstore.OID)}
	for _, ref := range list {
		if ref.Type() == plumbing.HashReference {
			r.commit[ref.Name().String()] = gitstore.OID(ref.Hash().String())
		}
	}
	for _, ref := range list {
		if ref.Name() == plumbing.HEAD && ref.Type() == plumbing.SymbolicReference {
			if _, ok := r.commit[ref.Target().String()]; ok {
				r.head = ref.Target().String()
			}
		}
	}
	return r, nil
}
