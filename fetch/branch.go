package fetch

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/partial"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/program"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/remedy"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

// annexRef is where the hidden clone keeps the git-annex branch.
const annexRef = "refs/heads/git-annex"

// coming is the git-annex branch, or some of it, on its way.
type coming struct {
	whole bool
	done  chan struct{}
	err   error // valid after done
}

func (b *coming) wait(ctx context.Context) error {
	if b == nil {
		return nil
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// StartBranch begins to fetch the git-annex branch of the version, unless it
// is there or has none: its beginning, where the rest can be asked for by key.
func (c *Clone) StartBranch() { c.hidden.startBranch(c, false) }

// waitBeginning returns when what StartBranch begins to fetch is there. It is
// begun if nobody has.
func (c *Clone) waitBeginning(ctx context.Context) error {
	return c.hidden.startBranch(c, false).wait(ctx)
}

// WaitBranch returns when the whole git-annex branch of the version is there,
// having begun to fetch it if nobody has. When that fails, the next call tries
// again. Errors are an [advice.Error], or ctx's.
func (c *Clone) WaitBranch(ctx context.Context) error {
	for {
		b := c.hidden.startBranch(c, true)
		if err := b.wait(ctx); err != nil || b == nil || b.whole {
			return err
		}
	}
}

// startBranch returns what is on its way, or nil when there is nothing to wait
// for. What is on its way may be less than whole.
func (h *Hidden) startBranch(c *Clone, whole bool) *coming {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.behind[c.Commit] && !(whole && h.partial) {
		return nil
	}
	if h.coming != nil {
		return h.coming
	}
	b := &coming{whole: whole, done: make(chan struct{})}
	h.coming = b
	h.work.Go(func() {
		var caught []gitstore.OID
		inPart := false
		err := program.Attempt(func() (err error) {
			caught, inPart, err = h.fetchBranch(c.Spec, c.options, whole)
			return err
		})
		h.mu.Lock()
		defer h.mu.Unlock()
		if err == nil {
			for _, id := range caught {
				delete(h.behind, id)
			}
			h.partial = inPart
		}
		h.coming, b.err = nil, err
		close(b.done)
	})
	return b
}

// fetchBranch fetches the git-annex branch, and returns the versions that have
// it now. Without whole, it may be the beginning only: then inPart.
func (h *Hidden) fetchBranch(spec Spec, o CloneOptions, whole bool) (caught []gitstore.OID, inPart bool, err error) {
	if err := h.turn(h.ctx); err != nil {
		return nil, false, err
	}
	defer h.next()
	m, err := h.manifest(spec)
	if err != nil {
		return nil, false, err
	}
	if m.Annex == "" {
		return nil, false, &advice.Error{Kind: advice.Unreachable, Reason: advice.Damaged, What: whereUnknown(spec), Why: "the manifest of its hidden clone is not what it was", Do: []string{"remove it with: uniharmonyfs clean " + filepath.Base(h.dir)}}
	}
	w, err := gitFor(spec, o)
	if err != nil {
		return nil, false, err
	}
	inPart, err = w.fetchBranch(h.ctx, h.dir, m.Annex, whole)
	if g, ok := program.AsGitError(err); ok && strings.Contains(g.Said, "couldn't find remote ref") {
		var r refs // a clone takes it for granted
		if r, err = w.offered(h.ctx); err == nil {
			if m.Annex = r.annexBranch(); m.Annex != "" {
				inPart, err = w.fetchBranch(h.ctx, h.dir, m.Annex, whole)
			}
		}
	}
	if err != nil {
		return nil, false, h.branchError(spec, err)
	}
	caught = m.Behind
	m.Behind, m.Partial = nil, inPart
	return caught, inPart, m.write(h.dir)
}

func whereUnknown(spec Spec) string {
	return "it cannot be known where the content of " + spec.String() + " is"
}

func (h *Hidden) branchError(spec Spec, err error) error {
	if h.ctx.Err() != nil {
		return h.ctx.Err()
	}
	return remedy.Of(whereUnknown(spec), spec.URL, said(spec, err))
}

// gitFor returns git for what is fetched after the clone.
func gitFor(spec Spec, o CloneOptions) (*withGit, error) {
	if o.Git == "" {
		return nil, &advice.Error{Kind: advice.Unreachable, Reason: advice.NoGit, What: whereUnknown(spec), Why: "the program git is missing", Do: []string{"install it: apt-get install git"}}
	}
	return &withGit{spec: spec, git: program.Git{Path: o.Git, Env: o.Env}, progress: func(Progress) {}}, nil
}

// parts is the hidden clone, to which parts of the branch are fetched.
func (w *withGit) parts(dir string) partial.Repository {
	return partial.Repository{Git: w.git, Dir: dir, URL: w.spec.URL}
}

// fetchBranch fetches the git-annex branch, or its beginning: then inPart.
func (w *withGit) fetchBranch(ctx context.Context, dir, ref string, whole bool) (inPart bool, err error) {
	if !whole {
		inPart, err = w.parts(dir).FetchBeginning(ctx, GitVersion(ctx), ref, annexRef)
	}
	if whole || partial.Refused(err) {
		inPart, err = false, w.fetchWhole(ctx, dir, ref)
	}
	return inPart, err
}

// fetchWhole fetches the whole git-annex branch.
func (w *withGit) fetchWhole(ctx context.Context, dir, ref string) error {
	refs, there := []string{"+" + ref + ":" + annexRef}, w.parts(dir)
	if !there.HasParts() {
		return w.fetchRefs(ctx, dir, refs)
	}
	if err := w.fetchRefs(ctx, dir, refs, "--refetch"); err != nil {
		return err
	}
	return there.IsWhole(ctx, annexRef)
}
