package fetch

import (
	"context"
	"slices"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/partial"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/program"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

const (
	// firstAhead is how many keys' logs come along with the first that are asked
	// for. It doubles each time up to mostAhead, which bounds what comes at once:
	// few visits bring all, and a few reads bring little.
	firstAhead = 128
	mostAhead  = 1024
	// mostAsked bounds the keys that are asked for by name at once.
	mostAsked = 64
	// ofAllKeys is the log of what all keys have in common.
	ofAllKeys = "remote.log"
)

// logs knows what is there of a git-annex branch that is partial.
type logs struct {
	known map[leaf]bool // there, with all that is below
	queue []*batch      // what is asked for next
	busy  bool          // somebody fetches
	ahead int           // how many come along next time
}

// leaf is the directory of a key's logs in a commit of the git-annex branch.
type leaf struct{ branch, path string }

// batch is what is asked for at once, for all who wait for it.
type batch struct {
	asked []leaf
	ahead []func(n int) []annex.Key // what may be asked for after each
	done  chan struct{}
	err   error // valid after done
}

// waitLogs returns when what a commit of the git-annex branch says of a key, and
// of all keys, is there. ahead returns some n keys that may be asked for next:
// they come along, if anybody must be asked at all. The branch has begun to be
// there before. Errors are an [advice.Error], or ctx's.
func (c *Clone) waitLogs(ctx context.Context, git *gitstore.Store, branch string, key annex.Key, ahead func(n int) []annex.Key) error {
	b := c.hidden.ask(c, git, leaf{branch, key.HashDirLower()}, ahead)
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

// forgetLogs makes the next waitLogs look whether they are still there.
func (c *Clone) forgetLogs() {
	c.hidden.mu.Lock()
	defer c.hidden.mu.Unlock()
	clear(c.hidden.logs.known)
}

// ask returns the batch that brings a leaf, or nil when it is there.
func (h *Hidden) ask(c *Clone, git *gitstore.Store, l leaf, ahead func(n int) []annex.Key) *batch {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.partial || h.logs.known[l] {
		return nil
	}
	for _, b := range h.logs.queue {
		if slices.Contains(b.asked, l) {
			return b
		}
	}
	last := len(h.logs.queue) - 1
	if last < 0 || len(h.logs.queue[last].asked) >= mostAsked {
		h.logs.queue = append(h.logs.queue, &batch{done: make(chan struct{})})
		last++
	}
	b := h.logs.queue[last]
	b.asked, b.ahead = append(b.asked, l), append(b.ahead, ahead)
	if !h.logs.busy {
		h.logs.busy = true
		h.work.Go(func() { h.bringAll(c, git) })
	}
	return b
}

// bringAll brings what is asked for until nobody asks.
func (h *Hidden) bringAll(c *Clone, git *gitstore.Store) {
	for {
		h.mu.Lock()
		if len(h.logs.queue) == 0 {
			h.logs.busy = false
			h.mu.Unlock()
			return
		}
		b := h.logs.queue[0]
		h.logs.queue = h.logs.queue[1:]
		h.mu.Unlock()
		b.err = program.Attempt(func() error { return h.bring(c, git, b) })
		close(b.done)
	}
}

// bring brings a batch: its leaves, or the whole branch when the server does not
// send leaves any more.
func (h *Hidden) bring(c *Clone, git *gitstore.Store, b *batch) error {
	w, err := gitFor(c.Spec, c.options)
	if err != nil {
		return err
	}
	err = h.bringLeaves(w.parts(h.dir), git, b)
	switch {
	case err == nil || h.ctx.Err() != nil:
		return err
	case partial.Refused(err):
		return c.WaitBranch(h.ctx)
	}
	return h.branchError(c.Spec, err)
}

// bringLeaves brings the leaves of a batch, commit by commit: of which there are
// two only while one takes the other's place.
func (h *Hidden) bringLeaves(in partial.Repository, git *gitstore.Store, b *batch) error {
	if err := h.turn(h.ctx); err != nil {
		return err
	}
	defer h.next()
	byBranch := make(map[string][]string)
	for _, l := range b.asked {
		if !h.isKnown(l) {
			byBranch[l.branch] = append(byBranch[l.branch], l.path)
		}
	}
	for branch, asked := range byBranch {
		asked = append(asked, ofAllKeys)
		brought := asked
		if has, err := in.Has(h.ctx, branch, asked); err != nil {
			return err
		} else if !has {
			brought = h.alongWith(branch, asked, b)
			if err := in.Fetch(h.ctx, git, branch, brought, asked); err != nil {
				return err
			}
		}
		h.mu.Lock()
		if h.logs.known == nil {
			h.logs.known = make(map[leaf]bool)
		}
		for _, path := range brought {
			h.logs.known[leaf{branch, path}] = true
		}
		h.mu.Unlock()
	}
	return nil
}

func (h *Hidden) isKnown(l leaf) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.logs.known[l]
}

// alongWith returns the paths of the leaves that are asked for, and of those
// that may be next.
func (h *Hidden) alongWith(branch string, asked []string, b *batch) []string {
	h.mu.Lock()
	n := max(h.logs.ahead, firstAhead)
	h.logs.ahead = min(2*n, mostAhead)
	h.mu.Unlock()
	paths, has := slices.Clone(asked), make(map[string]bool)
	for _, p := range asked {
		has[p] = true
	}
	for _, ahead := range b.ahead {
		for _, key := range ahead(max(1, n/len(b.ahead))) {
			l := leaf{branch, key.HashDirLower()}
			if len(paths) < mostAhead && !has[l.path] && !h.isKnown(l) {
				has[l.path] = true
				paths = append(paths, l.path)
			}
		}
	}
	return paths
}
