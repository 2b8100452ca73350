package shelf

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// stuckFor is how long what could not be removed is left alone.
const stuckFor = 30 * time.Second

// victims picks what makes up for over bytes and marks it: what is damaged
// first, then partial files, then objects, the coldest of each first. Without
// enough of them it picks none, unless some are better than none. Callers hold
// the lock, and then call evict.
func (s *Shelf) victims(over int64, some bool) (found []*item) {
	if over <= 0 || !some && s.books.evictable() < over {
		return nil
	}
	for _, kind := range []itemKind{asideItem, partialItem, objectItem} {
		cold := &s.books.cold[kind]
		for over > 0 && cold.Len() > 0 {
			i := cold.items[0]
			over -= i.blocks
			s.mark(i)
			found = append(found, i)
		}
	}
	return found
}

// Marked are files that their holder is going to remove, by Evict.
type Marked []*item

// mark says that the caller is going to remove an item. Callers hold the lock.
func (s *Shelf) mark(i *item) {
	switch i.kind {
	case objectItem:
		s.move(i.o, Removing)
	case partialItem:
		i.f.removed = make(chan struct{})
		s.Settle(i.o)
	case asideItem:
		i.going = true
		s.Settle(i.o)
	}
}

// Evict removes marked items from the disk.
func (s *Shelf) Evict(marked Marked) (first error) {
	for _, i := range marked {
		if err := s.removeMarked(i, false); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// removeMarked removes a marked item. One that cannot be removed stays on the
// books and is left alone for a while: others make room instead.
func (s *Shelf) removeMarked(i *item, aside bool) error {
	var err error
	var left int64 // of a partial file that could not be removed
	switch i.kind {
	case objectItem:
		err = s.Store.RemoveObject(i.o.Key, aside)
	case partialItem:
		if err = s.Store.RemoveFill(i.f.File); err != nil {
			left = s.Store.Left(i.f.File.Ident.Name()) // some of its files may be gone
			if s.Store.IsGone(i.f.File.Ident.Name()) {
				err = nil
			}
		}
	case asideItem:
		if err = s.Store.Remove(s.Store.SetAside(i.o.Key)); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	s.Do(func() {
		o, pinned := i.o, s.pinned[i.o.Key]
		if err != nil {
			s.log.Error("cannot remove", "key", o.Key, "err", err)
			if i.kind == partialItem && left > 0 { // else it cannot be looked at
				s.books.set(i, left, pinned)
			}
			i.stuck = time.Now().Add(stuckFor)
			s.books.stuck = append(s.books.stuck, i)
		} else {
			if aside {
				s.books.set(&o.aside, i.blocks, false)
			}
			s.books.set(i, 0, pinned && i.kind != asideItem)
			i.stuck = time.Time{}
		}
		switch {
		case i.kind == partialItem:
			if err == nil && i.f.Exposed {
				s.Revoke(o, i.f.Dataset) // nothing can prove these bytes any more
				i.f.Exposed = false
			}
			close(i.f.removed)
			i.f.removed = nil
			s.Renew(i.f)
			s.Settle(o)
		case i.kind == asideItem:
			i.going = false
			s.Settle(o)
		case err != nil:
			s.move(o, Unchecked)
		default:
			s.move(o, Absent)
		}
	})
	if err != nil {
		return fmt.Errorf("cannot remove %s: %w", i.o.Key, err)
	}
	return nil
}

// unstick gives what could not be removed another chance. Callers hold the lock.
func (s *Shelf) unstick() {
	var still []*item
	for _, i := range s.books.stuck {
		if time.Now().Before(i.stuck) {
			still = append(still, i)
		} else {
			s.Settle(i.o)
		}
	}
	s.books.stuck = still
}
