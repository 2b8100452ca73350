package cache

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// scan takes stock of the disk. What a killed process left half-made goes;
// what is not ours by its shape is not touched.
func (c *Cache) scan() error {
	known := make(map[annex.Key]Record)
	if c.options.Ledger != nil {
		err := c.options.Ledger.Load(func(r Record) { known[r.Key] = r })
		if err != nil {
			c.log.Warn("ledger is unreadable: objects are hashed again", "err", err)
		}
	}
	if err := removeAll(c.store.placing()); err != nil {
		return err
	}
	if err := c.scanPartial(known); err != nil {
		return err
	}
	if err := c.scanObjects(known); err != nil {
		return err
	}
	c.orderByUse()
	for key := range known {
		if o := c.objects[key]; o == nil || !o.trusted {
			c.dirty[key] = true
		}
	}
	return nil
}

func removeAll(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return err
}

func (c *Cache) scanPartial(known map[annex.Key]Record) error {
	dir := filepath.Dir(c.store.placing())
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		key, err := annex.ParseFileName(e.Name())
		if err != nil || !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		size, ok := key.Size()
		f, st, err := openFile(path, os.O_RDONLY)
		if err != nil {
			return err
		}
		if ok {
			_, err = readMap(f, size)
		}
		f.Close()
		if !ok || err != nil {
			c.log.Info("partial file is of no use", "key", key, "err", err)
			if err := os.Remove(path); err != nil {
				return err
			}
			continue
		}
		o := c.object(key, size)
		o.seq, o.mtime = known[key].Seq, st.mtime
		c.setState(o, partial, st.onDisk)
	}
	return nil
}

func (c *Cache) scanObjects(known map[annex.Key]Record) error {
	return filepath.WalkDir(c.store.objects(), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		key, err := annex.ParseFileName(e.Name())
		if err != nil || path != c.store.object(key) {
			return nil
		}
		size, ok := key.Size()
		if _, _, hashed := key.NewHash(); !ok || !hashed {
			return nil
		}
		f, st, err := c.store.open(key)
		if err != nil {
			return err
		}
		f.Close()
		if st.size != size {
			c.log.Warn("object of a wrong size is removed", "key", key, "size", st.size)
			return c.store.remove(key)
		}
		if o := c.objects[key]; o != nil { // complete after all
			os.Remove(c.store.partial(key))
		}
		o := c.object(key, size)
		r, ok := known[key]
		c.setState(o, present, st.blocks)
		o.mtime, o.inode, o.seq, o.owner = st.mtime, st.inode, r.Seq, r.Owner
		o.trusted = ok && r.Size == st.size && r.MTime == st.mtime && r.Inode == st.inode
		o.flushed = o.trusted
		return nil
	})
}

// orderByUse puts the objects in the order of their last use, as far as it is
// known, and by age before those.
func (c *Cache) orderByUse() {
	var all []*object
	for _, o := range c.objects {
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b *object) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.mtime, b.mtime))
	})
	highest := uint64(0)
	for _, o := range all {
		highest = max(highest, o.seq)
	}
	c.lru.seq = highest
	c.lru.order.Init()
	clear(c.dirty)
	for _, o := range all {
		o.inLRU = c.lru.order.PushBack(o)
	}
}
