package shelf

import (
	"fmt"
	"maps"
	"slices"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Pin keeps keys from being evicted, whether or not they are here. When it
// returns without an error they stay pinned over every crash.
func (s *Shelf) Pin(keys []annex.Key) error { return s.changePins(keys, true) }

// Unpin is the reverse of Pin.
func (s *Shelf) Unpin(keys []annex.Key) error {
	err := s.changePins(keys, false)
	s.WakeRoomWaiters()
	return err
}

func (s *Shelf) changePins(keys []annex.Key, pinned bool) error {
	s.pinning.Lock()
	defer s.pinning.Unlock()
	var next map[annex.Key]bool
	s.Do(func() { next = maps.Clone(s.pinned) })
	for _, k := range keys {
		if pinned {
			next[k] = true
		} else {
			delete(next, k)
		}
	}
	if pinned {
		// What is pinned is not evicted from now on, also while the disk writes.
		s.markPinned(keys, true)
	}
	if err := s.Store.Pins().Save(next); err != nil {
		if pinned {
			s.restorePins(keys)
		}
		return fmt.Errorf("cache: the list of pinned files cannot be written: %w", err)
	}
	if !pinned {
		s.markPinned(keys, false)
	}
	return nil
}

// markPinned changes the set in memory.
func (s *Shelf) markPinned(keys []annex.Key, pinned bool) {
	s.Do(func() {
		for _, k := range keys {
			s.setPinned(k, pinned)
		}
	})
}

// setPinned changes one key in memory. Callers hold the lock.
func (s *Shelf) setPinned(k annex.Key, pinned bool) {
	if s.pinned[k] == pinned {
		return
	}
	if pinned {
		s.pinned[k] = true
	} else {
		delete(s.pinned, k)
	}
	o := s.objects[k]
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
	s.books.pinned += blocks
	s.Settle(o)
}

// restorePins takes back what was pinned in memory only.
func (s *Shelf) restorePins(keys []annex.Key) {
	set, err := s.Store.Pins().Load()
	if err != nil {
		return // too many pins lose nothing
	}
	s.Do(func() {
		for _, k := range keys {
			s.setPinned(k, set[k])
		}
	})
}

// Pins returns the pinned keys, in no order.
func (s *Shelf) Pins() (keys []annex.Key) {
	s.Do(func() { keys = slices.Collect(maps.Keys(s.pinned)) })
	return keys
}
