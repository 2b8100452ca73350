package cache

import (
	"iter"
	"maps"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Drop removes the objects and partial files that match, except those that
// are open, pinned, or being brought. A nil match matches all. It returns how
// many files and bytes are gone.
func (c *Cache) Drop(match func(owner string, key annex.Key) bool) (files int, bytes int64, err error) {
	if match == nil {
		match = func(string, annex.Key) bool { return true }
	}
	return c.drop(maps.Values(c.objects), match)
}

// DropKey is Drop of one key, if the owner brought it.
func (c *Cache) DropKey(key annex.Key, owner string) (files int, bytes int64, err error) {
	one := func(yield func(*object) bool) {
		if o := c.objects[key]; o != nil {
			yield(o)
		}
	}
	return c.drop(one, func(o string, _ annex.Key) bool { return o == owner })
}

// drop drops what matches among some objects, through which it goes with mu
// held.
func (c *Cache) drop(among iter.Seq[*object], match func(owner string, key annex.Key) bool) (files int, bytes int64, err error) {
	c.mu.Lock()
	var unread []*transfer
	for o := range among {
		// What goes on without a reader is stopped.
		if t := o.transfer; t != nil && t.users == 0 && match(t.use.Owner, t.o.key) {
			unread = append(unread, t)
		}
	}
	c.mu.Unlock()
	for _, t := range unread {
		t.shut()
		<-t.done
	}
	c.mu.Lock()
	for done := flushing(among, match); done != nil; done = flushing(among, match) {
		c.mu.Unlock()
		<-done
		c.mu.Lock()
	}
	var marked []*object
	for o := range among {
		if c.evictable(o) && match(o.owner, o.key) {
			o.evicting = make(chan struct{})
			marked = append(marked, o)
			files++
			bytes += o.blocks
		}
	}
	c.mu.Unlock()
	err = c.evict(marked)
	c.pump()
	return files, bytes, err
}

// flushing returns what ends when an object that matches has been flushed, or
// nil when none is being. Callers hold mu.
func flushing(among iter.Seq[*object], match func(owner string, key annex.Key) bool) <-chan struct{} {
	for o := range among {
		if o.flushing != nil && match(o.owner, o.key) {
			return o.flushing
		}
	}
	return nil
}
