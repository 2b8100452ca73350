package fetch

import (
	"github.com/uniharmony/uniharmonyfs/fetch/internal/partial"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

// ofAllKeys is the log of the git-annex branch that is about all keys.
const ofAllKeys = "remote.log"

// askLogs asks for what a commit of the git-annex branch says of a key, and of all
// keys. It returns what to wait for: errors are an [advice.Error], or ctx's. ahead
// returns some n keys that may be asked for next: they come along, if anybody must
// be asked at all. The branch has begun to be there before.
func (c *Clone) askLogs(git *gitstore.Store, branch string, key annex.Key, ahead func(n int) []annex.Key) *partial.Batch {
	h := c.hidden
	h.mu.Lock()
	inPart := h.partial
	h.mu.Unlock()
	if !inPart {
		return nil
	}
	b, begin := h.logs.Ask(partial.Leaf{Commit: branch, Path: key.HashDirLower()}, func(n int) (paths []string) {
		for _, key := range ahead(n) {
			paths = append(paths, key.HashDirLower())
		}
		return paths
	})
	if begin {
		h.work.Go(func() {
			h.logs.Run(func(b *partial.Batch) error { return h.bring(c, git, b) })
		})
	}
	return b
}

// bring brings a batch of logs, or the whole branch when the server does not send
// parts of it any more.
func (h *Hidden) bring(c *Clone, git *gitstore.Store, b *partial.Batch) error {
	w, err := gitFor(c.Spec, c.options)
	if err != nil {
		return err
	}
	if err := h.turn(h.ctx); err != nil {
		return err
	}
	err = func() error {
		defer h.next() // also after a panic
		return h.logs.Bring(h.ctx, w.parts(h.dir), git, b, ofAllKeys)
	}()
	switch {
	case err == nil || h.ctx.Err() != nil:
		return err
	case partial.Refused(err):
		return c.WaitBranch(h.ctx)
	}
	return h.branchError(c.Spec, err)
}
