package shelf

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/journal"
	"github.com/uniharmony/uniharmonyfs/cache/internal/layout"
	"github.com/uniharmony/uniharmonyfs/cache/internal/life"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Options tune Open. All must be said, but for the ledger.
type Options struct {
	Budget   int64         // bytes
	Floor    int64         // free bytes to leave on the disk; 0 is min(5 %, 1 GiB), negative none
	RoomWait time.Duration // longest wait for others to free room
	Ledger   Ledger        // nil remembers nothing
	Revoke   func(key annex.Key, dataset string)
	Journal  *journal.Journal
	Log      *slog.Logger
}

// Shelf is a cache's directory and its accounts. Its methods are safe for concurrent
// use.
//
// Lock order: pinning and the ledger's turn, the lock of Do, then those of the
// packages partial, journal and life, which take none of ours.
type Shelf struct {
	Store layout.Store
	*life.Life
	options Options
	log     *slog.Logger
	pinning disk.Turn // held while the pins' file is written

	mu      sync.Mutex // guards the following, and all that hangs on it
	objects map[annex.Key]*Object
	pinned  map[annex.Key]bool
	books   books
	ledger  ledgerState
	defects int // changes against the rules; never, or the program is wrong
	closed  bool
}

// Open opens the cache in the store's directory, making what is missing, and takes
// stock of what is there: half-made things of a killed process are removed.
func Open(store layout.Store, o Options) (*Shelf, error) {
	s := &Shelf{
		Store:   store,
		Life:    life.New(o.Log),
		options: o,
		log:     o.Log,
		pinning: disk.NewTurn(),
		objects: make(map[annex.Key]*Object),
		books:   books{budget: o.Budget},
		ledger:  ledgerState{dirty: make(map[annex.Key]bool), saving: disk.NewTurn()},
	}
	if err := s.Store.Make(); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	var err error
	if s.pinned, err = s.Store.Pins().Load(); err != nil {
		return nil, err
	}
	if err := s.scan(); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	s.Spawn("ledger", s.keepLedger, nil)
	return s, nil
}

// Shut says that nothing new begins, and reports whether that is news. Callers hold
// the lock.
func (s *Shelf) Shut() (news bool) {
	news, s.closed = !s.closed, true
	return news
}

// IsShut reports whether [Shelf.Shut] was called. Callers hold the lock.
func (s *Shelf) IsShut() bool { return s.closed }

// Rest returns when nothing is running any more and the ledger is up to date, as far
// as that can be before ctx ends.
func (s *Shelf) Rest(ctx context.Context) error {
	s.Life.Rest()
	return s.flushLedger(ctx)
}

// Do calls fn with the lock held, and lets go of it also when fn panics.
func (s *Shelf) Do(fn func()) {
	s.mu.Lock()
	defer s.unlock()
	fn()
}

// AfterUnlock is, when set by a test, called at each end of a hold of the lock.
var AfterUnlock func()

func (s *Shelf) unlock() {
	s.mu.Unlock()
	if AfterUnlock != nil {
		AfterUnlock()
	}
}

// Defects returns how often a rule was broken.
func (s *Shelf) Defects() (n int) {
	s.Do(func() { n = s.defects })
	return n
}
