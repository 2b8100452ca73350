package cache

import (
	"fmt"
	"maps"
	"slices"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Pin keeps keys from being evicted, whether or not they are here. When it
// returns without an error they stay pinned over every crash.
func (c *Cache) Pin(keys []annex.Key) error { return c.changePins(keys, true) }

// Unpin is the reverse of Pin.
func (c *Cache) Unpin(keys []annex.Key) error {
	err := c.changePins(keys, false)
	c.wakeRoomWaiters()
	return err
}

func (c *Cache) changePins(keys []annex.Key, pinned bool) error {
	c.pinning.Lock()
	defer c.pinning.Unlock()
	var next map[annex.Key]bool
	c.do(func() { next = maps.Clone(c.pinned) })
	for _, k := range keys {
		if pinned {
			next[k] = true
		} else {
			delete(next, k)
		}
	}
	if pinned {
		// What is pinned is not evicted from now on, also while the disk writes.
		c.markPinned(keys, true)
	}
	if err := c.store.Pins().Save(next); err != nil {
		if pinned {
			c.restorePins(keys)
		}
		return fmt.Errorf("cache: the list of pinned files cannot be written: %w", err)
	}
	if !pinned {
		c.markPinned(keys, false)
	}
	return nil
}

// markPinned changes the set in memory.
func (c *Cache) markPinned(keys []annex.Key, pinned bool) {
	c.do(func() {
		for _, k := range keys {
			c.setPinned(k, pinned)
		}
	})
}

// setPinned changes one key in memory. Callers hold mu.
func (c *Cache) setPinned(k annex.Key, pinned bool) {
	if c.pinned[k] == pinned {
		return
	}
	if pinned {
		c.pinned[k] = true
	} else {
		delete(c.pinned, k)
	}
	o := c.objects[k]
	if o == nil {
		return
	}
	blocks := o.file.blocks
	for _, f := range o.fills {
		blocks += f.item.blocks
	}
	if !pinned {
		blocks = -blocks
	}
	c.books.pinned += blocks
	c.settle(o)
}

// restorePins takes back what was pinned in memory only.
func (c *Cache) restorePins(keys []annex.Key) {
	set, err := c.store.Pins().Load()
	if err != nil {
		return // too many pins lose nothing
	}
	c.do(func() {
		for _, k := range keys {
			c.setPinned(k, set[k])
		}
	})
}

// Pins returns the pinned keys, in no order.
func (c *Cache) Pins() (keys []annex.Key) {
	c.do(func() { keys = slices.Collect(maps.Keys(c.pinned)) })
	return keys
}
