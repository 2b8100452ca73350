package shelf

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
func (s *Shelf) scan() error {
	known := make(map[annex.Key]Record)
	if s.options.Ledger != nil {
		err := s.options.Ledger.Load(func(r Record) { known[r.Key] = r })
		if err != nil {
			s.log.Warn("ledger is unreadable: objects are hashed again", "err", err)
		}
	}
	s.removeBelow(s.Store.Placing())
	if err := s.scanPartials(known); err != nil {
		return err
	}
	if err := s.scanObjects(known); err != nil {
		return err
	}
	s.scanAside()
	s.orderByUse()
	clear(s.ledger.dirty)
	for key := range known {
		if o := s.objects[key]; o == nil || o.phase != Present {
			s.ledger.dirty[key] = true
		}
	}
	return nil
}

func (s *Shelf) passOver(what string, err error) {
	s.log.Error("passed over while taking stock", "what", what, "err", err)
}

func (s *Shelf) removeBelow(dir string) {
	names, err := s.Store.List(dir)
	if err != nil {
		s.passOver(dir, err)
	}
	for _, name := range names {
		if err := s.Store.Remove(filepath.Join(dir, name)); err != nil {
			s.passOver(name, err)
		}
	}
}

// isPartialName reports whether a name is of the shape of a partial file's.
func isPartialName(name string) bool {
	return len(name) == 64 && strings.Trim(name, "0123456789abcdef") == ""
}

func (s *Shelf) scanPartials(known map[annex.Key]Record) error {
	dir := s.Store.Partials()
	names, err := s.Store.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		base, isMap := strings.CutSuffix(name, ".map")
		path := filepath.Join(dir, base)
		switch {
		case isMap && isPartialName(base):
			if _, err := s.Store.Stat(path); errors.Is(err, fs.ErrNotExist) {
				s.tidy(partial.MapPath(path))
			}
		case isPartialName(name):
			s.scanPartial(dir, name, known)
		default:
			// Versions before kept a partial file under its key's name.
			if _, err := annex.ParseFileName(name); err == nil {
				s.tidy(filepath.Join(dir, name))
			}
		}
	}
	return nil
}

func (s *Shelf) tidy(path string) {
	if err := s.Store.Remove(path); err != nil {
		s.passOver(path, err)
	}
}

func (s *Shelf) scanPartial(dir, name string, known map[annex.Key]Record) {
	path := filepath.Join(dir, name)
	info, err := s.Store.Stat(path)
	if err != nil || !info.Mode.IsRegular() {
		s.passOver(path, err)
		return
	}
	of, stock, err := partial.Find(s.Store, dir, name)
	if err != nil && !errors.Is(err, partial.ErrMap) && !errors.Is(err, fs.ErrNotExist) {
		s.passOver(path, err)
		return
	}
	size, sized := of.Key.Size()
	if err != nil || !sized || len(stock.Have) == 0 || stock.Have[len(stock.Have)-1].End > info.Size {
		s.log.Info("a partial file is of no use", "file", name, "err", err)
		if err := partial.Remove(s.Store, path); err != nil {
			s.passOver(path, err)
		}
		return
	}
	f := s.MakeFill(s.object(of.Key, size), of.Dataset)
	f.item.seq = known[of.Key].Seq
	blocks := info.Blocks
	if m, err := s.Store.Stat(partial.MapPath(path)); err == nil {
		blocks += m.Charge()
	}
	s.books.set(&f.item, blocks, s.pinned[of.Key])
}

// scanObjects looks through objects/XXX/YYY/KEY/KEY.
func (s *Shelf) scanObjects(known map[annex.Key]Record) error {
	top := s.Store.Objects()
	first, err := s.Store.List(top)
	if err != nil {
		return err
	}
	for _, a := range first {
		for _, b := range s.list(filepath.Join(top, a)) {
			for _, name := range s.list(filepath.Join(top, a, b)) {
				key, err := annex.ParseFileName(name)
				if err == nil && s.Store.Object(key) == filepath.Join(top, a, b, name, name) {
					s.scanObject(key, known)
				}
			}
		}
	}
	return nil
}

func (s *Shelf) list(dir string) []string {
	info, err := s.Store.Stat(dir)
	if err == nil && !info.Mode.IsDir() {
		return nil
	}
	var names []string
	if err == nil {
		names, err = s.Store.List(dir)
	}
	if err != nil {
		s.passOver(dir, err)
	}
	return names
}

func (s *Shelf) scanObject(key annex.Key, known map[annex.Key]Record) {
	size, err := proof.Size(key)
	if err != nil {
		return
	}
	path := s.Store.Object(key)
	info, err := s.Store.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.Store.RemoveObject(key, false) // its empty directory
		return
	case err != nil:
		s.passOver(path, err)
		return
	case !info.Mode.IsRegular():
		s.passOver(path, disk.ErrNotRegular)
		return
	}
	o := s.object(key, size)
	r, ok := known[key]
	o.id, o.file.seq, o.file.owner = info.ID, r.Seq, r.Owner
	s.books.set(&o.file, info.Charge(), s.pinned[key])
	s.move(o, Unchecked)
	switch {
	case info.Size != size:
		s.log.Warn("object of a wrong size is removed", "key", key, "size", info.Size)
		aside := s.pinned[key]
		s.move(o, Removing)
		if err := s.removeMarked(&o.file, aside); err != nil {
			s.passOver(path, err)
		}
		return
	case ok && r.matches(info.ID):
		s.move(o, Present)
		o.synced = true
	}
	// Complete after all: what is left of its transfers is of no use.
	for _, f := range o.fills {
		s.mark(&f.item)
		s.removeMarked(&f.item, false)
	}
}

func (s *Shelf) scanAside() {
	for _, name := range s.listIfAny(s.Store.Aside()) {
		key, err := annex.ParseFileName(name)
		if err != nil {
			continue
		}
		size, err := proof.Size(key)
		info, statErr := s.Store.Stat(s.Store.SetAside(key))
		if err = errors.Join(err, statErr); err != nil {
			s.passOver(name, err)
			continue
		}
		s.books.set(&s.object(key, size).aside, info.Charge(), false)
	}
}

func (s *Shelf) listIfAny(dir string) []string {
	names, err := s.Store.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.passOver(dir, err)
	}
	return names
}

// orderByUse puts what is here in the order of its last use, as far as it is
// known, and by age before that.
func (s *Shelf) orderByUse() {
	var all []*item
	for _, o := range s.objects {
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
		s.books.clock++
		i.seq = max(i.seq, s.books.clock)
		s.books.clock = i.seq
	}
	for _, o := range s.objects {
		s.Settle(o)
	}
}
