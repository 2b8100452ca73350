package cache

import (
	"container/list"
	"sync/atomic"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// presence is what of an object is on disk.
type presence uint8

const (
	absent presence = iota
	partial
	present
)

// object is a key that is on disk, in use, or has failed lately. All fields
// but key and size are guarded by Cache.mu.
type object struct {
	key  annex.Key
	size int64

	state   presence
	trusted bool  // present, and known to match the key
	flushed bool  // trusted, and would survive a power cut
	blocks  int64 // on disk, in bytes; part of Cache.used
	mtime   int64
	inode   uint64
	seq     uint64 // last use
	owner   string
	inLRU   *list.Element // set while state != absent

	refs     int           // open handles
	evicting chan struct{} // closed when the file is gone
	flushing chan struct{} // closed when the file has been flushed
	transfer *transfer     // running
	check    *check        // running

	failure  error
	retryAt  time.Time
	mismatch int // times that every source had other bytes

	// served are those who were given bytes before the whole was verified, by
	// owner and name: what to do should the bytes turn out wrong.
	served map[string]func()
	// recalls is how many of these are being told. Until then reads fail at
	// once: right bytes must not be added to wrong ones that are kept somewhere.
	recalls atomic.Int32
}

func (o *object) record() Record {
	return Record{Key: o.key, Size: o.size, MTime: o.mtime, Inode: o.inode, Seq: o.seq, Owner: o.owner}
}

// lru orders objects on disk by last use, the coldest first.
type lru struct {
	order *list.List
	seq   uint64
}

func (l *lru) init() { l.order = list.New() }

// touch makes o the warmest.
func (l *lru) touch(o *object) {
	l.seq++
	o.seq = l.seq
	switch {
	case o.state == absent:
		l.remove(o)
	case o.inLRU == nil:
		o.inLRU = l.order.PushBack(o)
	default:
		l.order.MoveToBack(o.inLRU)
	}
}

func (l *lru) remove(o *object) {
	if o.inLRU != nil {
		l.order.Remove(o.inLRU)
		o.inLRU = nil
	}
}

// object returns the entry of a key, making it. Callers hold mu.
func (c *Cache) object(key annex.Key, size int64) *object {
	o := c.objects[key]
	if o == nil {
		o = &object{key: key, size: size}
		c.objects[key] = o
	}
	return o
}

// forget drops the entry of an object that is of no more interest. Callers
// hold mu.
func (c *Cache) forget(o *object) {
	if o.refs == 0 && o.state == absent && o.transfer == nil && o.check == nil && o.evicting == nil && o.flushing == nil && o.failure == nil && o.recalls.Load() == 0 {
		delete(c.objects, o.key)
	}
}

// setState records what is on disk now. Callers hold mu.
func (c *Cache) setState(o *object, s presence, blocks int64) {
	c.used += blocks - o.blocks
	if o.state == partial {
		c.partials--
	}
	if s == partial {
		c.partials++
	}
	o.blocks, o.state = blocks, s
	if s != present {
		o.trusted, o.flushed = false, false
	}
	if s == absent {
		c.lru.remove(o)
	} else if o.inLRU == nil {
		c.lru.touch(o)
	}
	c.dirty[o.key] = true
}
