package cache

import (
	"context"
	"log/slog"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/journal"
	"github.com/uniharmony/uniharmonyfs/cache/internal/layout"
	"github.com/uniharmony/uniharmonyfs/cache/internal/proof"
	"github.com/uniharmony/uniharmonyfs/cache/internal/queue"
	"github.com/uniharmony/uniharmonyfs/cache/internal/shelf"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// Origin finds where a key's content can be had.
type Origin interface {
	// Sources returns the places that may have the content, best first. What
	// it fails with is classed as a source's failure is.
	Sources(ctx context.Context, key annex.Key) ([]Source, error)
}

// A Source is one place that may have a key's content; a Placer brings it as a
// whole file. See package source for what they promise.
type (
	Source = source.Source
	Placer = source.Placer
)

// Ledger remembers objects between runs, as records.
type (
	Ledger = shelf.Ledger
	Record = shelf.Record
)

// DecodeRecord returns the record of a key from what [Record.Encode] made, or an
// error if key is none or value is too short.
func DecodeRecord(key string, value []byte) (Record, error) { return shelf.DecodeRecord(key, value) }

// Use says on whose behalf a key is opened.
type Use struct {
	Origin Origin
	// Dataset is whose sources Origin has. What they sent is served to readers
	// of the same dataset only, until it is verified.
	Dataset string
	Owner   string // whose fetched objects [Cache.Drop] can tell apart
	Name    string // of the file, for people
	// Strict serves nothing before the whole is verified.
	Strict bool
	// NoReadAhead fetches what is read, and a window before a reader that goes
	// on, but never completes a file that is only read in part.
	NoReadAhead bool
	// Speculative says that nobody has asked for it yet: a failure is not
	// told, and not remembered for those who ask.
	Speculative bool
	// Patience is how long a read waits without a new byte while all sources
	// are out of reach; 0 is not at all. What cannot come back fails at once.
	Patience time.Duration
}

// DefaultBudget is the disk budget in bytes when Options say none.
const DefaultBudget = 20 << 30

// Options tune Open. The zero value works.
type Options struct {
	Budget     int64         // bytes; 0 is DefaultBudget
	Floor      int64         // free bytes to leave on the disk; 0 is min(5 %, 1 GiB), negative none
	Requests   int           // to sources, at once; 0 is 16
	RoomWait   time.Duration // longest wait for others to free room; 0 is 20 s
	FailureTTL time.Duration // how long a failure is remembered; 0 is 3 s
	Ledger     Ledger        // nil remembers nothing
	// Revoke is called when bytes of a key that were served may not be the
	// key's: whoever keeps some must forget them before it returns. It is
	// meant for readers of one dataset, or of all when that is "". It may be
	// called at any time, with no lock held.
	Revoke func(key annex.Key, dataset string)
	Log    *slog.Logger

	disk   disk.Disk // nil is this machine's
	window int64     // bytes, of the smallest window that content streams through; 0 is 4 MiB
}

func (o Options) withDefaults() Options {
	if o.Budget == 0 {
		o.Budget = DefaultBudget
	}
	if o.Requests == 0 {
		o.Requests = 16
	}
	if o.RoomWait == 0 {
		o.RoomWait = 20 * time.Second
	}
	if o.FailureTTL == 0 {
		o.FailureTTL = 3 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Revoke == nil {
		o.Revoke = func(annex.Key, string) {}
	}
	if o.disk == nil {
		o.disk = disk.OS{}
	}
	if o.window == 0 {
		o.window = 4 << 20
	}
	return o
}

// Cache is an open cache directory. Its methods are safe for concurrent use;
// one process may have it open.
//
// There is one lock, the shelf's, taken by do: it guards what hangs on a transfer or
// a handle, too. After it only those of the packages queue, partial and proof are
// taken, which take none of ours. Nothing that can wait is done with it held: no file
// is opened, read, written, hashed or removed, and nobody's function called.
type Cache struct {
	shelf   *shelf.Shelf
	queue   *queue.Queue
	inPlace proof.Files
	journal journal.Journal
	options Options
	log     *slog.Logger

	// Guarded by the shelf's lock.
	failures     failures
	hits, misses uint64 // of opens
}

// Open opens the cache in dir, making what is missing, and takes stock of what
// is there: half-made things of a killed process are removed.
func Open(dir string, o Options) (*Cache, error) {
	o = o.withDefaults()
	c := &Cache{options: o, log: o.Log, queue: queue.New(o.Requests), journal: journal.Journal{Log: o.Log}}
	var err error
	c.shelf, err = shelf.Open(layout.Store{Disk: o.disk, Dir: dir}, shelf.Options{
		Budget: o.Budget, Floor: o.Floor, RoomWait: o.RoomWait, Ledger: o.Ledger,
		Revoke: o.Revoke, Journal: &c.journal, Log: o.Log,
	})
	if err != nil {
		return nil, err
	}
	c.inPlace.Disk, c.inPlace.Context, c.inPlace.Spawn = o.disk, c.shelf.Context, c.shelf.Spawn
	return c, nil
}

// do calls fn with the lock held.
func (c *Cache) do(fn func()) { c.shelf.Do(fn) }
