package cache

import (
	"cmp"
	"slices"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/journal"
	"github.com/uniharmony/uniharmonyfs/cache/internal/shelf"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Presence is what of a key is here.
type Presence string

// The values of Presence.
const (
	Missing Presence = "missing"
	Partial Presence = "partial"
	Cached  Presence = "cached"
)

// State is what is known of a key.
type State struct {
	Presence Presence
	Pinned   bool
}

// State tells what of a key is here, without looking at the disk.
func (c *Cache) State(key annex.Key) State {
	s := State{Presence: Missing}
	c.do(func() {
		s.Pinned = c.shelf.IsPinned(key)
		o := c.shelf.Find(key)
		if o == nil {
			return
		}
		if o.IsHere() {
			s.Presence = Cached
			return
		}
		o.Fills(func(f *shelf.Fill) {
			if t := transferOf(f); f.AtRest() > 0 && f.Removed() == nil || t != nil && t.here() > 0 {
				s.Presence = Partial
			}
		})
	})
	return s
}

// CountCached returns how many of n files are here; size (in bytes, negative for
// a file that does not count) and key tell of the i-th. A file's key is asked for
// only if something of its size is here, which of a million files are few.
func (c *Cache) CountCached(n int, size func(i int) int64, key func(i int) annex.Key) (count int) {
	here := make(map[int64]bool)
	c.do(func() {
		c.shelf.Objects(func(o *shelf.Object) {
			if o.IsHere() {
				here[o.Size] = true
			}
		})
	})
	for i := range n {
		if here[size(i)] && c.State(key(i)).Presence == Cached {
			count++
		}
	}
	return count
}

// Event is something that went wrong.
type Event = journal.Event

// TransferStatus is a transfer under way.
type TransferStatus struct {
	Key     string         `json:"key"`
	Name    string         `json:"name"`
	Source  string         `json:"source"`
	Done    int64          `json:"done"`  // bytes
	Total   int64          `json:"total"` // bytes
	Waiters int            `json:"waiters"`
	Waiting []ReaderStatus `json:"waiting,omitempty"` // of the waiters some
	// Out says why no source can be reached at the moment, if so.
	Out string `json:"out,omitempty"`
}

// ReaderStatus is a reader that waits.
type ReaderStatus struct {
	Name  string    `json:"name"`  // of the file
	Owner string    `json:"owner"` // [Use.Owner]
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"` // when its patience ends, while all sources are out of reach
}

// maxWaiting is how many waiting readers of a transfer are told.
const maxWaiting = 16

// Status is the state of the cache. Sizes are in bytes.
type Status struct {
	Budget      int64            `json:"budget"`
	Used        int64            `json:"used"`     // blocks of objects and partial files
	Reserved    int64            `json:"reserved"` // of transfers under way
	Pinned      int64            `json:"pinned"`   // blocks of pinned objects
	PinnedFiles int              `json:"pinned_files"`
	Objects     int              `json:"objects"`
	Partials    int              `json:"partials"`
	Hits        uint64           `json:"hits"`   // opens that found the content here
	Misses      uint64           `json:"misses"` // opens that did not
	Transfers   []TransferStatus `json:"transfers"`
	Errors      []Event          `json:"errors"` // newest last
}

// Status returns the state of the cache.
func (c *Cache) Status() Status {
	s := Status{Transfers: []TransferStatus{}, Errors: c.journal.Events()}
	c.do(func() {
		t := c.shelf.Totals()
		s.Budget, s.Used, s.Reserved, s.Pinned = t.Budget, t.Used, t.Reserved, t.Pinned
		s.PinnedFiles, s.Objects, s.Partials = t.PinnedFiles, t.Objects, t.Partials
		s.Hits, s.Misses = c.hits, c.misses
		for _, t := range c.transfers() {
			if st, busy := t.status(); busy {
				s.Transfers = append(s.Transfers, st)
			}
		}
	})
	slices.SortFunc(s.Transfers, func(a, b TransferStatus) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// Budget returns the disk budget in bytes.
func (c *Cache) Budget() (bytes int64) {
	c.do(func() { bytes, _ = c.shelf.Budget() })
	return bytes
}

// here returns how much of the content has come, in bytes. Callers hold the lock.
func (t *transfer) here() int64 { return max(t.content.stock.Have.Sum(), t.content.placed) }

// status returns the state of the transfer, and whether anything is under way.
// Callers hold the lock.
func (t *transfer) status() (TransferStatus, bool) {
	s := TransferStatus{
		Key: t.o.Key.String(), Name: t.use.Name, Done: t.here(), Total: t.o.Size, Waiters: len(t.wanted.waiters),
	}
	if from, _ := t.supply.Current(); from != nil {
		s.Source = from.String()
	}
	out := !t.supply.Paused().IsZero()
	if out {
		s.Out = t.fetchError().Error()
	}
	for _, w := range t.wanted.waiters[:min(len(t.wanted.waiters), maxWaiting)] {
		r := ReaderStatus{Name: w.h.use.Name, Owner: w.h.use.Owner, Since: w.since}
		if out {
			r.Until = t.deadline(w)
		}
		s.Waiting = append(s.Waiting, r)
	}
	busy := len(t.wanted.waiters) > 0 || len(t.content.requests) > 0 || t.content.placing || t.phase == verifying || t.phase == ending
	return s, busy
}
