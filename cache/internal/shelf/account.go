package shelf

import "github.com/uniharmony/uniharmonyfs/cache/internal/disk"

// Account is a transfer's part of the books, in bytes of disk. Guarded by the lock.
type Account struct {
	Reserved  int64
	Allocated int64 // of them allocated on the disk
	fill      *Fill
}

// OpenAccount makes the partial file that is at rest part of a reservation. Callers
// hold the lock.
func (s *Shelf) OpenAccount(f *Fill) Account {
	n := f.item.blocks
	s.books.set(&f.item, 0, s.pinned[f.Object.Key])
	s.books.reserved += n
	return Account{n, n, f}
}

// NoteAllocated notes that n bytes of a reservation are now in the disk's own
// books; less than nothing, that they no longer are. Callers hold the lock.
func (s *Shelf) NoteAllocated(a *Account, n int64) {
	n = max(min(n, a.Reserved-a.Allocated), -a.Allocated)
	a.Allocated += n
	s.books.unallocated -= n
	s.books.changes++
}

// Release exchanges a reservation for what is on disk now: a partial file of left
// bytes, on behalf of owner, or nothing. Callers hold the lock.
func (s *Shelf) Release(a *Account, left int64, owner string) {
	f := a.fill
	s.books.reserved -= a.Reserved
	s.books.unallocated -= a.Reserved - a.Allocated
	s.books.changes++
	*a = Account{fill: f}
	if left > 0 {
		s.books.set(&f.item, left, s.pinned[f.Object.Key])
		f.item.owner = owner
	}
}

// Published is Release when the transfer's verified file has the object's name: from
// now on it is present. A file that the disk refused to take is hashed as the disk has
// it, first; callers see to that by Distrust. Callers hold the lock.
func (s *Shelf) Published(a *Account, info disk.Info, refused bool, left int64, owner string) {
	o := a.fill.Object
	s.Release(a, left, owner)
	s.books.set(&o.file, info.Charge(), s.pinned[o.Key])
	o.file.owner = owner
	o.id = info.ID
	s.move(o, Present)
	if !refused {
		s.ledger.unsynced = append(s.ledger.unsynced, o)
	}
	s.touch(o)
	s.Settle(o)
	a.fill.Exposed = false
}

// PutToRest has a partial file flushed that its transfer has left. Callers hold the
// lock.
func (s *Shelf) PutToRest(f *Fill) { s.ledger.resting = append(s.ledger.resting, f) }

// ClaimName returns true when a transfer may put a file under its object's name:
// nobody else is going to, and nothing is there. It returns false when another
// dataset's transfer was faster. decided is called with the lock held at the moment in
// which it is one of these; done is closed when the transfer has ended.
func (s *Shelf) ClaimName(o *Object, done <-chan struct{}, decided func()) (mine bool, err error) {
	for {
		var gone <-chan struct{}
		var old *item
		late := false
		s.Do(func() {
			switch {
			case o.phase == Present:
				late = true
			case o.phase == Removing:
				gone = o.removed
			case o.publishing != nil:
				gone = o.publishing
			case o.check != nil:
				gone = o.check.done
			case o.phase == Unchecked:
				old = &o.file // what the transfer has is better
				s.mark(old)
			default:
				mine, o.publishing = true, done
			}
			if mine || late {
				decided()
			}
		})
		switch {
		case mine || late:
			return mine, nil
		case old != nil:
			if err := s.removeMarked(old, false); err != nil {
				return false, err
			}
		default:
			<-gone
		}
	}
}

// Ended takes note that a fill's transfer has ended, which was closed by done; the
// lock is held. What is at rest of an object that is present now is of no more use: it
// is returned, for Evict.
func (s *Shelf) Ended(f *Fill, done <-chan struct{}) (useless Marked) {
	o := f.Object
	f.Transfer = nil
	if o.publishing == done {
		o.publishing = nil
	}
	if o.phase == Present {
		useless = s.outdo(o)
	}
	s.Settle(o)
	return useless
}

// outdo marks what is at rest of an object that is present now. What was served of it
// was never proven, and right bytes must not be added to it. Callers hold the lock and
// then call evict.
func (s *Shelf) outdo(o *Object) (useless []*item) {
	for _, f := range o.fills {
		if f.Transfer != nil || f.removed != nil || f.item.blocks == 0 {
			continue
		}
		if f.Exposed {
			s.Revoke(o, f.Dataset)
			f.Exposed = false
		}
		s.mark(&f.item)
		useless = append(useless, &f.item)
	}
	return useless
}
