package shelf

import "github.com/uniharmony/uniharmonyfs/internal/annex"

// Drop removes the objects and partial files that match, except those that
// are open, pinned, or being brought. A nil match matches all. It returns how
// many files and bytes are gone.
func (s *Shelf) Drop(match func(owner string, key annex.Key) bool) (files int, bytes int64, err error) {
	if match == nil {
		match = func(string, annex.Key) bool { return true }
	}
	return s.drop(func() (among []*Object) {
		for _, o := range s.objects {
			among = append(among, o)
		}
		return among
	}, match)
}

// DropKey is Drop of one key, if the owner brought it.
func (s *Shelf) DropKey(key annex.Key, owner string) (files int, bytes int64, err error) {
	return s.drop(func() []*Object {
		if o := s.objects[key]; o != nil {
			return []*Object{o}
		}
		return nil
	}, func(o string, _ annex.Key) bool { return o == owner })
}

// drop drops what matches among some objects, which it asks for with the lock held.
func (s *Shelf) drop(among func() []*Object, match func(owner string, key annex.Key) bool) (files int, bytes int64, err error) {
	var marked []*item
	for {
		var busy <-chan struct{}
		s.Do(func() {
			if busy = s.inTheWay(among(), match); busy != nil {
				return
			}
			for _, o := range among() {
				for _, i := range o.items() {
					if i.at >= 0 && match(i.owner, o.Key) {
						files++
						bytes += i.blocks
						marked = append(marked, i)
						s.mark(i)
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
		if e := s.removeMarked(i, false); e != nil {
			files--
			bytes -= i.blocks
			if err == nil {
				err = e
			}
		}
	}
	s.WakeRoomWaiters()
	return files, bytes, err
}

// items returns what of an object takes room.
func (o *Object) items() []*item {
	all := []*item{&o.file, &o.aside}
	for _, f := range o.fills {
		all = append(all, &f.item)
	}
	return all
}

// inTheWay ends transfers that match and go on without a reader, and returns
// what to wait for before objects that match can be dropped, or nil. Callers
// hold the lock.
func (s *Shelf) inTheWay(among []*Object, match func(owner string, key annex.Key) bool) <-chan struct{} {
	for _, o := range among {
		if o.flushing != nil && match(o.file.owner, o.Key) {
			return o.flushing
		}
		for _, f := range o.fills {
			if f.Transfer != nil {
				if ended := f.Transfer.Yield(func(owner string) bool { return match(owner, o.Key) }); ended != nil {
					return ended
				}
			}
			if f.flushing != nil && match(f.item.owner, o.Key) {
				return f.flushing
			}
		}
	}
	return nil
}
