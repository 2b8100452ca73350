package cache

import (
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Drop removes the objects and partial files that match, except those that
// are open, pinned, or being brought. A nil match matches all. It returns how
// many files and bytes are gone.
func (c *Cache) Drop(match func(owner string, key annex.Key) bool) (files int, bytes int64, err error) {
	if match == nil {
		match = func(string, annex.Key) bool { return true }
	}
	return c.drop(func() (among []*object) {
		for _, o := range c.objects {
			among = append(among, o)
		}
		return among
	}, match)
}

// DropKey is Drop of one key, if the owner brought it.
func (c *Cache) DropKey(key annex.Key, owner string) (files int, bytes int64, err error) {
	return c.drop(func() []*object {
		if o := c.objects[key]; o != nil {
			return []*object{o}
		}
		return nil
	}, func(o string, _ annex.Key) bool { return o == owner })
}

// drop drops what matches among some objects, which it asks for with mu held.
func (c *Cache) drop(among func() []*object, match func(owner string, key annex.Key) bool) (files int, bytes int64, err error) {
	var marked []*item
	for {
		var busy <-chan struct{}
		c.do(func() {
			if busy = c.inTheWay(among(), match); busy != nil {
				return
			}
			for _, o := range among() {
				for _, i := range o.items() {
					if i.at >= 0 && match(i.owner, o.key) {
						files++
						bytes += i.blocks
						marked = append(marked, i)
						c.mark(i)
					}
				}
			}
		})
		if busy == nil {
			break
		}
		<-busy
	}
	for _, i := range marked {
		if e := c.removeMarked(i, false); e != nil {
			files--
			bytes -= i.blocks
			if err == nil {
				err = e
			}
		}
	}
	c.wakeRoomWaiters()
	return files, bytes, err
}

// items returns what of an object takes room.
func (o *object) items() []*item {
	all := []*item{&o.file, &o.aside}
	for _, f := range o.fills {
		all = append(all, &f.item)
	}
	return all
}

// inTheWay ends transfers that match and go on without a reader, and returns
// what to wait for before objects that match can be dropped, or nil. Callers
// hold mu.
func (c *Cache) inTheWay(among []*object, match func(owner string, key annex.Key) bool) <-chan struct{} {
	for _, o := range among {
		if o.flushing != nil && match(o.file.owner, o.key) {
			return o.flushing
		}
		for _, f := range o.fills {
			t := f.transfer
			switch {
			case t != nil && len(t.wanted.handles) == 0 && match(t.use.Owner, o.key):
				t.shut()
				return t.done
			case f.flushing != nil && match(f.item.owner, o.key):
				return f.flushing
			}
		}
	}
	return nil
}
