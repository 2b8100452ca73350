package fetch

import (
	"context"
	"path/filepath"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/program"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/remedy"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

// annexRef is where the hidden clone keeps the git-annex branch.
const annexRef = "refs/heads/git-annex"

// coming is the git-annex branch on its way.
type coming struct {
	done chan struct{}
	err  error // valid after done
}

// StartBranch begins to fetch the git-annex branch of the version, unless it
// is there or has none.
func (c *Clone) StartBranch() { c.hidden.startBranch(c) }

// WaitBranch returns when the git-annex branch of the version is there, having
// begun to fetch it if nobody has. When that fails, the next call tries again.
// Errors are an [advice.Error], or ctx's.
func (c *Clone) WaitBranch(ctx context.Context) error {
	b := c.hidden.startBranch(c)
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

// startBranch returns nil when there is nothing to wait for.
func (h *Hidden) startBranch(c *Clone) *coming {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.behind[c.Commit] {
		return nil
	}
	if h.coming != nil {
		return h.coming
	}
	b := &coming{done: make(chan struct{})}
	h.coming = b
	h.work.Go(func() {
		var caught []gitstore.OID
		err := program.Attempt(func() (err error) {
			caught, err = h.fetchBranch(c.Spec, c.options)
			return err
		})
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, id := range caught {
			delete(h.behind, id)
		}
		h.coming, b.err = nil, err
		close(b.done)
	})
	return b
}

// fetchBranch fetches the git-annex branch and returns the versions that have
// it now.
func (h *Hidden) fetchBranch(spec Spec, o CloneOptions) ([]gitstore.OID, error) {
	if err := h.turn(h.ctx); err != nil {
		return nil, err
	}
	defer h.next()
	m, err := h.manifest(spec)
	if err != nil {
		return nil, err
	}
	what := "it cannot be known where the content of " + spec.String() + " is"
	switch {
	case m.Annex == "":
		return nil, &advice.Error{Kind: advice.Unreachable, Reason: advice.Damaged, What: what, Why: "the manifest of its hidden clone is not what it was", Do: []string{"remove it with: uniharmonyfs clean " + filepath.Base(h.dir)}}
	case o.Git == "":
		return nil, &advice.Error{Kind: advice.Unreachable, Reason: advice.NoGit, What: what, Why: "the program git is missing", Do: []string{"install it: apt-get install git"}}
	}
	w := &withGit{spec: spec, git: program.Git{Path: o.Git, Env: o.Env}, progress: func(Progress) {}}
	if err := w.fetchRefs(h.ctx, h.dir, []string{"+" + m.Annex + ":" + annexRef}); err != nil {
		if h.ctx.Err() != nil {
			return nil, h.ctx.Err()
		}
		return nil, remedy.Of(what, spec.URL, program.Said(err))
	}
	caught := m.Behind
	m.Behind = nil
	return caught, m.write(h.dir)
}
