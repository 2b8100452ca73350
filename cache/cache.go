package cache

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// Origin finds where a key's content can be had.
type Origin interface {
	// Sources returns the places that may have the content, best first. It
	// asks nobody: no network.
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

// Record is what the ledger keeps of an object. Size (bytes), MTime
// (nanoseconds) and Inode are the file's when its content was known to match
// the key; Seq orders objects by last use; Owner is [Use.Owner].
type Record struct {
	Key         annex.Key
	Size, MTime int64
	Inode, Seq  uint64
	Owner       string
}

// Use says on whose behalf a key is opened.
type Use struct {
	Origin Origin
	Owner  string // whose fetched objects [Cache.Drop] can tell apart
	Name   string // of the file, for people
	// Strict serves nothing before the whole is verified.
	Strict bool
	// NoReadAhead fetches what is read, and a window before a reader that goes
	// on, but never completes a file that is only read in part.
	NoReadAhead bool
	// Guess says that nobody has asked for it yet: a failure is not told, and
	// not remembered for who asks.
	Guess bool
	// Wrong is called when bytes that were served turn out not to be the
	// key's, or when what could have proven them is gone: they may be kept
	// somewhere. It may be called at any time, also after the handle is closed.
	Wrong func()
}

// DefaultBudget is the disk budget in bytes when Options say none.
const DefaultBudget = 20 << 30

// Options tune Open. The zero value works.
type Options struct {
	Budget   int64         // bytes; 0 is DefaultBudget
	Floor    int64         // free bytes to leave on the disk; 0 is min(5 %, 1 GiB), negative none
	Requests int           // to sources, at once; 0 is 16
	RoomWait time.Duration // longest wait for others to free room; 0 is 20 s
	Forget   time.Duration // how long a failure is remembered; 0 is 3 s
	Ledger   Ledger        // nil remembers nothing
	Log      *slog.Logger
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
	if o.Forget == 0 {
		o.Forget = 3 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Cache is an open cache directory. Its methods are safe for concurrent use;
// one process may have it open.
type Cache struct {
	store   store
	options Options
	log     *slog.Logger
	slots   *slots
	pins    *pins

	// ctx ends with Close; work counts the goroutines that it ends.
	ctx  context.Context
	stop context.CancelFunc
	work sync.WaitGroup

	// mu guards the following and every object's fields. It is held for
	// bookkeeping only: never while reading, writing, hashing or waiting.
	// Lock order: pins.mu, mu, slots.mu.
	mu       sync.Mutex
	objects  map[annex.Key]*object
	lru      lru
	budget   int64
	used     int64 // blocks of objects and partial files, in bytes
	reserved int64 // of running transfers, in bytes
	unmade   int64 // reserved, but not yet allocated on the disk
	partials int   // objects of which a part is on disk
	waiting  []*roomWaiter
	dirty    map[annex.Key]bool // the ledger is behind on these
	fresh    []*object          // written, not flushed
	events   []Event
	hits     uint64
	misses   uint64
	closed   bool
}

// Open opens the cache in dir, making what is missing, and looks through what
// is there: half-made things of a killed process are removed.
func Open(dir string, o Options) (*Cache, error) {
	o = o.withDefaults()
	c := &Cache{
		store:   store{dir: dir},
		options: o,
		log:     o.Log,
		slots:   newSlots(o.Requests),
		objects: make(map[annex.Key]*object),
		budget:  o.Budget,
		dirty:   make(map[annex.Key]bool),
	}
	c.lru.init()
	if err := c.store.make(); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	var err error
	if c.pins, err = openPins(dir); err != nil {
		return nil, err
	}
	if err := c.scan(); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.work.Add(1)
	go c.keepLedger()
	return c, nil
}

// Close ends all transfers, waits for them, and brings the ledger up to date.
// Handles may still be closed afterwards.
func (c *Cache) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	var running []*transfer
	for _, o := range c.objects {
		if o.transfer != nil {
			running = append(running, o.transfer)
		}
	}
	c.mu.Unlock()
	c.stop()
	for _, t := range running {
		t.shut()
	}
	c.work.Wait()
	return c.flushLedger()
}

// SetBudget changes the budget. Objects above it are evicted at once, as far
// as they are neither open nor pinned.
func (c *Cache) SetBudget(bytes int64) {
	c.mu.Lock()
	c.budget = bytes
	over := c.used + c.reserved - c.budget
	victims := c.victims(over, true)
	c.mu.Unlock()
	c.evict(victims)
	c.pump()
}

// Fetch brings a key's content and returns when it is there and verified, or
// cannot be had. It goes behind readers.
func (c *Cache) Fetch(ctx context.Context, key annex.Key, use Use) error {
	h, err := c.open(key, use, false)
	if err != nil {
		return err
	}
	defer h.Close()
	return h.ready(ctx, background)
}
