package cache

import (
	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/shelf"
)

// WithDisk returns options for a cache on another disk.
func WithDisk(o Options, d disk.Disk) Options {
	o.disk = d
	return o
}

// Objects returns how many keys the cache knows something of.
func Objects(c *Cache) (n int) {
	c.do(func() { c.shelf.Objects(func(*shelf.Object) { n++ }) })
	return n
}

// Defects returns how often a rule of the cache was broken.
func Defects(c *Cache) int { return c.shelf.Defects() }
