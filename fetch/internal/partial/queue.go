package partial

import (
	"context"
	"slices"
	"sync"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/program"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

const (
	// FirstAhead is how many leaves come along with the first that are asked
	// for. It doubles each time up to mostAhead, which bounds what comes at once:
	// few visits bring all, and a few reads bring little.
	FirstAhead = 128
	mostAhead  = 1024
	// mostAsked bounds the leaves that are asked for by name at once.
	mostAsked = 64
)

// Leaf is what a path leads to in a commit.
type Leaf struct{ Commit, Path string }

// Queue gathers the leaves that are asked for while others are on their way, and
// knows which are there. It is safe for concurrent use. The zero value is empty.
type Queue struct {
	mu    sync.Mutex // guards the following
	known map[Leaf]bool
	next  []*Batch
	busy  bool // somebody carries out Run
	ahead int  // how many leaves come along next time
}

// Batch is what is asked for at once, for all who wait for it.
type Batch struct {
	asked []Leaf
	ahead []func(n int) []string // the paths that may be asked for after each
	done  chan struct{}
	err   error // valid after done
}

// Wait returns when the batch was brought, or could not be. A nil batch is there.
func (b *Batch) Wait(ctx context.Context) error {
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

// Ask returns the batch that brings a leaf, or nil when it is there. ahead returns
// some n paths that may be asked for next: they come along, if anybody must be
// asked at all. begin says that the caller is to see to it that Run is called.
func (q *Queue) Ask(l Leaf, ahead func(n int) []string) (b *Batch, begin bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.known[l] {
		return nil, false
	}
	for _, b := range q.next {
		if slices.Contains(b.asked, l) {
			return b, false
		}
	}
	if last := len(q.next) - 1; last >= 0 && len(q.next[last].asked) < mostAsked {
		b = q.next[last]
	} else {
		b = &Batch{done: make(chan struct{})}
		q.next = append(q.next, b)
	}
	b.asked, b.ahead = append(b.asked, l), append(b.ahead, ahead)
	begin = !q.busy
	q.busy = true
	return b, begin
}

// Run has bring bring one batch after the other, until none is asked for.
func (q *Queue) Run(bring func(*Batch) error) {
	for {
		q.mu.Lock()
		if len(q.next) == 0 {
			q.busy = false
			q.mu.Unlock()
			return
		}
		b := q.next[0]
		q.next = q.next[1:]
		q.mu.Unlock()
		b.err = program.Attempt(func() error { return bring(b) })
		close(b.done)
	}
}

// Forget makes it look again what is there.
func (q *Queue) Forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.known)
}

// Bring fetches a batch to a repository, and the file at a path of each commit's
// root too. git reads the repository.
func (q *Queue) Bring(ctx context.Context, to Repository, git *gitstore.Store, b *Batch, file string) error {
	asked := make(map[string][]string) // paths by commit; there are two only while one takes the other's place
	for _, l := range b.asked {
		if !q.isKnown(l) {
			asked[l.Commit] = append(asked[l.Commit], l.Path)
		}
	}
	for commit, paths := range asked {
		paths = append(paths, file)
		brought := paths
		if has, err := to.Has(ctx, commit, paths); err != nil {
			return err
		} else if !has {
			brought = q.alongWith(commit, paths, b)
			if err := to.Fetch(ctx, git, commit, brought, paths); err != nil {
				return err
			}
		}
		q.mu.Lock()
		if q.known == nil {
			q.known = make(map[Leaf]bool)
		}
		for _, path := range brought {
			q.known[Leaf{commit, path}] = true
		}
		q.mu.Unlock()
	}
	return nil
}

func (q *Queue) isKnown(l Leaf) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.known[l]
}

// alongWith returns the paths that are asked for, and those that may be next.
func (q *Queue) alongWith(commit string, asked []string, b *Batch) []string {
	q.mu.Lock()
	n := max(q.ahead, FirstAhead)
	q.ahead = min(2*n, mostAhead)
	q.mu.Unlock()
	paths, has := slices.Clone(asked), make(map[string]bool)
	for _, p := range asked {
		has[p] = true
	}
	for _, ahead := range b.ahead {
		for _, p := range ahead(max(1, n/len(b.ahead))) {
			if len(paths) < mostAhead && !has[p] && !q.isKnown(Leaf{commit, p}) {
				has[p] = true
				paths = append(paths, p)
			}
		}
	}
	return paths
}
