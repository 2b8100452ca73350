package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/layout"
	"github.com/uniharmony/uniharmonyfs/cache/internal/proof"
	"github.com/uniharmony/uniharmonyfs/cache/internal/queue"
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

// Ledger remembers objects between runs. It may forget anything at any time.
type Ledger interface {
	Load(func(Record)) error
	Save(put []Record, del []annex.Key) error
}

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
// Lock order: pinning, mu, then the locks of the packages queue, partial and proof,
// which take none of ours. Nothing that can wait is done with mu held: no file
// is opened, read, written, hashed or removed, and nobody's function called.
type Cache struct {
	store   layout.Store
	options Options
	log     *slog.Logger
	queue   *queue.Queue

	life

	inPlace proof.Files
	pinning disk.Turn // held while the pins' file is written

	mu       sync.Mutex // guards the following, and all that hangs on it
	objects  map[annex.Key]*object
	pinned   map[annex.Key]bool
	books    books
	ledger   ledgerState
	seen     counters
	failures failures
	closed   bool
}

// life is what ends with Close: ctx, by stop, and the goroutines that work begins.
// One may begin at any time, also while Close waits: whoever was late with a
// handle or a drop. (A sync.WaitGroup allows no such thing.)
type life struct {
	ctx  context.Context
	stop func()

	counting sync.Mutex // a leaf; guards running
	running  int
	ended    sync.Cond // of counting: nothing is running
}

func (l *life) work(fn func()) {
	l.counting.Lock()
	l.running++
	l.counting.Unlock()
	go func() {
		defer func() {
			l.counting.Lock()
			defer l.counting.Unlock()
			if l.running--; l.running == 0 {
				l.ended.Broadcast()
			}
		}()
		fn()
	}()
}

// rest returns at a moment when nothing is running.
func (l *life) rest() {
	l.counting.Lock()
	defer l.counting.Unlock()
	for l.running > 0 {
		l.ended.Wait()
	}
}

// Open opens the cache in dir, making what is missing, and takes stock of what
// is there: half-made things of a killed process are removed.
func Open(dir string, o Options) (*Cache, error) {
	o = o.withDefaults()
	c := &Cache{
		store:   layout.Store{Disk: o.disk, Dir: dir},
		options: o,
		log:     o.Log,
		queue:   queue.New(o.Requests),
		pinning: disk.NewTurn(),
		objects: make(map[annex.Key]*object),
		books:   books{budget: o.Budget},
		ledger:  ledgerState{dirty: make(map[annex.Key]bool), saving: disk.NewTurn()},
	}
	if err := c.store.Make(); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	var err error
	if c.pinned, err = c.store.Pins().Load(); err != nil {
		return nil, err
	}
	if err := c.scan(); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	c.ctx, c.stop = ctx, func() { cancel(ErrClosed) }
	c.ended.L = &c.counting
	c.inPlace.Disk, c.inPlace.Context, c.inPlace.Spawn = o.disk, ctx, c.spawn
	c.spawn("ledger", c.keepLedger, nil)
	return c, nil
}

// closeFor bounds how long Close flushes data, and half of how long it waits.
const closeFor = 5 * time.Second

// Close ends all transfers, waits for them, and brings the ledger up to date,
// for some seconds at most: what was not flushed by then is hashed again when
// it is used the next time. Handles may still be closed afterwards; reads of
// what is not here fail with [ErrClosed].
func (c *Cache) Close() error {
	var running []*transfer
	done := false
	c.do(func() {
		done, c.closed = c.closed, true
		for _, o := range c.objects {
			for _, f := range o.fills {
				if f.transfer != nil {
					running = append(running, f.transfer)
				}
			}
		}
		for _, t := range running {
			t.shut()
		}
	})
	if done {
		return nil
	}
	c.stop()
	ctx, cancel := context.WithTimeout(context.Background(), closeFor)
	defer cancel()
	closed := make(chan error, 1)
	go func() {
		closed <- c.guard("Close", func() error {
			c.rest()
			return c.flushLedger(ctx)
		})
	}()
	select {
	case err := <-closed:
		return err
	case <-time.After(2 * closeFor): // a flush that has begun cannot be broken off
		return fmt.Errorf("cache: the disk, or a source, did not come to an end within %v: some objects will be hashed again", 2*closeFor)
	}
}

// do calls fn with mu held, and lets go of it also when fn panics.
func (c *Cache) do(fn func()) {
	c.mu.Lock()
	defer c.unlock()
	fn()
}

// afterUnlock, when set by a test, is called at each end of a hold of mu.
var afterUnlock func()

func (c *Cache) unlock() {
	c.mu.Unlock()
	if afterUnlock != nil {
		afterUnlock()
	}
}

// spawn runs fn in a goroutine that Close waits for. A panic ends nothing but
// what fn was about: failed is told.
func (c *Cache) spawn(what string, fn func(), failed func(error)) {
	c.work(func() {
		defer func() {
			if p := recover(); p != nil {
				c.log.Error("panic in the cache", "in", what, "panic", p, "stack", string(debug.Stack()))
				if failed != nil {
					failed(fmt.Errorf("a defect of the program: %v: %w", p, errDefect))
				}
			}
		}()
		fn()
	})
}

// guard calls what is not ours: a panic there is its failure.
func (c *Cache) guard(what string, fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("panic in what the cache called", "in", what, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("a defect of the program: %v: %w", p, errDefect)
		}
	}()
	return fn()
}

var errDefect = errors.New("see the log")

// SetBudget changes the budget. Objects above it are evicted at once, as far
// as they are neither open nor pinned.
func (c *Cache) SetBudget(bytes int64) {
	var victims []*item
	c.do(func() {
		c.books.budget = bytes
		victims = c.victims(c.books.used+c.books.reserved-bytes, true)
	})
	c.evict(victims)
	c.wakeRoomWaiters()
}

// Fetch brings a key's content and returns when it is there and verified, or
// cannot be had. It goes behind readers.
func (c *Cache) Fetch(ctx context.Context, key annex.Key, use Use) error {
	h, err := c.open(key, use, false)
	if err != nil {
		return err
	}
	defer h.Close()
	return h.ready(ctx, queue.Background)
}
