package cache

import (
	"cmp"
	"slices"
	"time"

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
	s := State{Presence: Missing, Pinned: c.pins.has(key)}
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.objects[key]
	switch {
	case o == nil || o.evicting != nil:
	case o.state == present:
		s.Presence = Cached
	case o.state == partial:
		s.Presence = Partial
	case o.transfer != nil:
		if t, _ := o.transfer.status(); t.Done > 0 {
			s.Presence = Partial
		}
	}
	return s
}

// Sizes returns the sizes of the content that is here, in bytes. Who counts how
// many of a million files are need ask for the [Cache.State] of few.
func (c *Cache) Sizes() map[int64]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	sizes := make(map[int64]bool)
	for key, o := range c.objects {
		if size, ok := key.Size(); ok && o.state == present {
			sizes[size] = true
		}
	}
	return sizes
}

// Event is something that went wrong.
type Event struct {
	Time time.Time `json:"time"`
	Key  string    `json:"key"`
	Name string    `json:"name"`
	Text string    `json:"text"`
}

// maxEvents is how many events are remembered.
const maxEvents = 100

// note remembers and logs what went wrong with an object. Callers hold mu.
func (c *Cache) note(o *object, name string, err error) {
	if name == "" {
		name = o.key.String()
	}
	c.log.Error("content cannot be had", "file", name, "key", o.key, "err", err)
	c.events = append(c.events, Event{Time: time.Now(), Key: o.key.String(), Name: name, Text: err.Error()})
	if len(c.events) > maxEvents {
		c.events = slices.Delete(c.events, 0, len(c.events)-maxEvents)
	}
}

// TransferStatus is a transfer under way.
type TransferStatus struct {
	Key     string `json:"key"`
	Name    string `json:"name"`
	Source  string `json:"source"`
	Done    int64  `json:"done"`  // bytes
	Total   int64  `json:"total"` // bytes
	Waiters int    `json:"waiters"`
}

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
	pinned := c.pins.all()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{
		Budget: c.budget, Used: c.used, Reserved: c.reserved, PinnedFiles: len(pinned),
		Hits: c.hits, Misses: c.misses, Partials: c.partials,
		Transfers: []TransferStatus{}, Errors: append([]Event{}, c.events...),
	}
	for _, k := range pinned {
		if o := c.objects[k]; o != nil {
			s.Pinned += o.blocks
		}
	}
	for _, o := range c.objects {
		if o.state == present {
			s.Objects++
		}
		if t := o.transfer; t != nil {
			if st, busy := t.status(); busy {
				s.Transfers = append(s.Transfers, st)
			}
		}
	}
	slices.SortFunc(s.Transfers, func(a, b TransferStatus) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// status returns the state of the transfer, and whether anything is under way.
// Callers hold Cache.mu.
func (t *transfer) status() (TransferStatus, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := TransferStatus{
		Key: t.o.key.String(), Name: t.use.Name,
		Done: max(t.have.sum(), t.placed.Load()), Total: t.o.size, Waiters: len(t.demands),
	}
	if t.at < len(t.sources) {
		s.Source = t.sources[t.at].String()
	}
	return s, len(t.demands) > 0 || len(t.spans) > 0 || t.placing || t.finishing
}
