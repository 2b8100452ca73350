package cache

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/cache/internal/proof"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// scan takes stock of the disk. What a killed process left half-made goes;
// what is not ours by its shape is not touched; what cannot be looked at is
// passed over, and told.
func (c *Cache) scan() error {
	known := make(map[annex.Key]Record)
	if c.options.Ledger != nil {
		err := c.options.Ledger.Load(func(r Record) { known[r.Key] = r })
		if err != nil {
			c.log.Warn("ledger is unreadable: objects are hashed again", "err", err)
		}
	}
	c.removeBelow(c.store.Placing())
	if err := c.scanPartials(known); err != nil {
		return err
	}
	if err := c.scanObjects(known); err != nil {
		return err
	}
	c.scanAside()
	c.orderByUse()
	clear(c.ledger.dirty)
	for key := range known {
		if o := c.objects[key]; o == nil || o.phase != present {
			c.ledger.dirty[key] = true
		}
	}
	return nil
}

func (c *Cache) passOver(what string, err error) {
	c.log.Error("passed over while taking stock", "what", what, "err", err)
}

func (c *Cache) removeBelow(dir string) {
	names, err := c.store.List(dir)
	if err != nil {
		c.passOver(dir, err)
	}
	for _, name := range names {
		if err := c.store.Remove(filepath.Join(dir, name)); err != nil {
			c.passOver(name, err)
		}
	}
}

// isPartialName reports whether a name is of the shape of a partial file's.
func isPartialName(name string) bool {
	return len(name) == 64 && strings.Trim(name, "0123456789abcdef") == ""
}

func (c *Cache) scanPartials(known map[annex.Key]Record) error {
	dir := c.store.Partials()
	names, err := c.store.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		base, isMap := strings.CutSuffix(name, ".map")
		path := filepath.Join(dir, base)
		switch {
		case isMap && isPartialName(base):
			if _, err := c.store.Stat(path); errors.Is(err, fs.ErrNotExist) {
				c.tidy(partial.MapPath(path))
			}
		case isPartialName(name):
			c.scanPartial(dir, name, known)
		default:
			// Versions before kept a partial file under its key's name.
			if _, err := annex.ParseFileName(name); err == nil {
				c.tidy(filepath.Join(dir, name))
			}
		}
	}
	return nil
}

func (c *Cache) tidy(path string) {
	if err := c.store.Remove(path); err != nil {
		c.passOver(path, err)
	}
}

func (c *Cache) scanPartial(dir, name string, known map[annex.Key]Record) {
	path := filepath.Join(dir, name)
	info, err := c.store.Stat(path)
	if err != nil || !info.Mode.IsRegular() {
		c.passOver(path, err)
		return
	}
	of, stock, err := partial.Find(c.store, dir, name)
	if err != nil && !errors.Is(err, partial.ErrMap) && !errors.Is(err, fs.ErrNotExist) {
		c.passOver(path, err)
		return
	}
	size, sized := of.Key.Size()
	if err != nil || !sized || len(stock.Have) == 0 || stock.Have[len(stock.Have)-1].End > info.Size {
		c.log.Info("a partial file is of no use", "file", name, "err", err)
		if err := partial.Remove(c.store, path); err != nil {
			c.passOver(path, err)
		}
		return
	}
	f := c.fill(c.object(of.Key, size), of.Dataset)
	f.item.seq = known[of.Key].Seq
	blocks := info.Blocks
	if m, err := c.store.Stat(partial.MapPath(path)); err == nil {
		blocks += m.Charge()
	}
	c.books.set(&f.item, blocks, c.pinned[of.Key])
}

// scanObjects looks through objects/XXX/YYY/KEY/KEY.
func (c *Cache) scanObjects(known map[annex.Key]Record) error {
	top := c.store.Objects()
	first, err := c.store.List(top)
	if err != nil {
		return err
	}
	for _, a := range first {
		for _, b := range c.list(filepath.Join(top, a)) {
			for _, name := range c.list(filepath.Join(top, a, b)) {
				key, err := annex.ParseFileName(name)
				if err == nil && c.store.Object(key) == filepath.Join(top, a, b, name, name) {
					c.scanObject(key, known)
				}
			}
		}
	}
	return nil
}

func (c *Cache) list(dir string) []string {
	info, err := c.store.Stat(dir)
	if err == nil && !info.Mode.IsDir() {
		return nil
	}
	var names []string
	if err == nil {
		names, err = c.store.List(dir)
	}
	if err != nil {
		c.passOver(dir, err)
	}
	return names
}

func (c *Cache) scanObject(key annex.Key, known map[annex.Key]Record) {
	size, err := proof.Size(key)
	if err != nil {
		return
	}
	path := c.store.Object(key)
	info, err := c.store.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.store.RemoveObject(key, false) // its empty directory
		return
	case err != nil:
		c.passOver(path, err)
		return
	case !info.Mode.IsRegular():
		c.passOver(path, disk.ErrNotRegular)
		return
	}
	o := c.object(key, size)
	r, ok := known[key]
	o.id, o.file.seq, o.file.owner = info.ID, r.Seq, r.Owner
	c.books.set(&o.file, info.Charge(), c.pinned[key])
	c.move(o, unchecked)
	switch {
	case info.Size != size:
		c.log.Warn("object of a wrong size is removed", "key", key, "size", info.Size)
		aside := c.pinned[key]
		c.move(o, removing)
		if err := c.removeMarked(&o.file, aside); err != nil {
			c.passOver(path, err)
		}
		return
	case ok && r.matches(info.ID):
		c.move(o, present)
		o.synced = true
	}
	// Complete after all: what is left of its transfers is of no use.
	for _, f := range o.fills {
		c.mark(&f.item)
		c.removeMarked(&f.item, false)
	}
}

func (c *Cache) scanAside() {
	for _, name := range c.listIfAny(c.store.Aside()) {
		key, err := annex.ParseFileName(name)
		if err != nil {
			continue
		}
		size, err := proof.Size(key)
		info, statErr := c.store.Stat(c.store.SetAside(key))
		if err = errors.Join(err, statErr); err != nil {
			c.passOver(name, err)
			continue
		}
		c.books.set(&c.object(key, size).aside, info.Charge(), false)
	}
}

func (c *Cache) listIfAny(dir string) []string {
	names, err := c.store.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.passOver(dir, err)
	}
	return names
}

// orderByUse puts what is here in the order of its last use, as far as it is
// known, and by age before that.
func (c *Cache) orderByUse() {
	var all []*item
	for _, o := range c.objects {
		all = append(all, &o.file)
		for _, f := range o.fills {
			all = append(all, &f.item)
		}
	}
	age := func(i *item) int64 { return i.o.id.MTime }
	slices.SortFunc(all, func(a, b *item) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(age(a), age(b)))
	})
	for _, i := range all {
		c.books.clock++
		i.seq = max(i.seq, c.books.clock)
		c.books.clock = i.seq
	}
	for _, o := range c.objects {
		c.settle(o)
	}
}
