package cache

import "github.com/uniharmony/uniharmonyfs/cache/internal/disk"

// WithDisk returns options for a cache on another disk.
func WithDisk(o Options, d disk.Disk) Options {
	o.disk = d
	return o
}

// Objects returns how many keys the cache knows something of.
func Objects(c *Cache) (n int) {
	c.do(func() { n = len(c.objects) })
	return n
}

// Defects returns how often a rule of the cache was broken.
func Defects(c *Cache) (n int) {
	c.do(func() { n = c.seen.defects })
	return n
}
