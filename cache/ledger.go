package cache

import (
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

const (
	flushEvery = time.Second      // data of new objects
	noteEvery  = 30 * time.Second // order of use
)

// keepLedger runs until the cache is closed.
func (c *Cache) keepLedger() {
	defer c.work.Done()
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-c.ctx.Done():
			return
		case now := <-tick.C:
			c.mu.Lock()
			due := len(c.fresh) > 0 || (len(c.dirty) > 0 && now.Sub(last) >= noteEvery)
			c.mu.Unlock()
			if !due {
				continue
			}
			last = now
			if err := c.flushLedger(); err != nil {
				c.log.Warn("ledger is behind: objects may be hashed again", "err", err)
			}
		}
	}
}

// flushLedger flushes the data of new objects and brings the ledger up to
// date: first the data, then the record that vouches for it.
func (c *Cache) flushLedger() error {
	c.mu.Lock()
	fresh := c.fresh
	c.fresh = nil
	c.mu.Unlock()
	for _, o := range fresh {
		c.flushObject(o)
	}
	c.mu.Lock()
	var put []Record
	var del []annex.Key
	for key := range c.dirty {
		switch o := c.objects[key]; {
		case o != nil && o.state == present && o.trusted && !o.flushed:
			continue // it is fresh again
		case o != nil && o.state == present && o.trusted:
			put = append(put, o.record())
		default:
			del = append(del, key)
		}
		delete(c.dirty, key)
	}
	c.mu.Unlock()
	if c.options.Ledger == nil || len(put)+len(del) == 0 {
		return nil
	}
	return c.options.Ledger.Save(put, del)
}

// flushObject flushes what an object has on disk. Meanwhile it is not evicted:
// an open file's blocks stay in use.
func (c *Cache) flushObject(o *object) {
	c.mu.Lock()
	state := o.state
	if state == absent || o.evicting != nil {
		c.mu.Unlock()
		return
	}
	o.flushing = make(chan struct{})
	c.mu.Unlock()
	var st fileState
	var err error
	if state == partial {
		// A transfer that goes on meanwhile writes a map of its own.
		err = c.store.flushPart(o.key, o.size)
	} else {
		st, err = c.store.flush(o.key)
	}
	c.mu.Lock()
	close(o.flushing)
	o.flushing = nil
	switch {
	case err != nil:
		c.log.Info("not flushed", "key", o.key, "err", err)
	case o.state == present && o.trusted && o.inode == st.inode && o.mtime == st.mtime:
		o.flushed = true
		c.dirty[o.key] = true
	}
	c.forget(o)
	c.mu.Unlock()
	c.pump()
}

// flush flushes an object's data.
func (s store) flush(key annex.Key) (fileState, error) {
	f, st, err := s.open(key)
	if err != nil {
		return st, err
	}
	defer f.Close()
	return st, f.Sync()
}
