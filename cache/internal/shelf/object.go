package shelf

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Phase is what is under an object's name on disk, and so who may open it. The legal
// transitions, all made by [Shelf.move]:
//
//	Absent    → Present    a verified file was renamed to it
//	Absent    → Unchecked  found by the scan at the start
//	Unchecked → Present    its hash agrees
//	Present   → Unchecked  it is another file than before, or its flush failed
//	Unchecked, Present → Removing  evicted, dropped, or evidence of damage
//	Unchecked, Present → Absent    it vanished
//	Removing  → Absent     gone
//	Removing  → Unchecked  it could not be removed
type Phase uint8

const (
	Absent    Phase = iota // nothing; a transfer may publish
	Unchecked              // a file that nothing vouches for: only a check opens it
	Present                // content that is known to match the key: readers open it, to read
	Removing               // whoever set this removes the file; nobody else opens it
)

func (p Phase) String() string {
	return [...]string{"absent", "unchecked", "present", "removing"}[p]
}

var legal = map[Phase][]Phase{
	Absent:    {Present, Unchecked},
	Unchecked: {Present, Removing, Absent},
	Present:   {Unchecked, Removing, Absent},
	Removing:  {Absent, Unchecked},
}

// A User has a key's content open. Mislead is called with the lock held: what it has
// read of the object's file may be wrong.
type User interface{ Mislead() }

// A Transfer brings a key from a dataset's sources. Its methods are called with the
// lock held.
type Transfer interface {
	// ObjectIsHere says that others have brought the object.
	ObjectIsHere()
	// Yield has the transfer end if nobody reads of it and the owner that it works
	// for is one of those, and returns what is closed then; else nil.
	Yield(those func(owner string) bool) <-chan struct{}
}

// Object is a key that is on disk or in use. Its fields are guarded by the lock, but
// for those that never change and the atomic one.
type Object struct {
	Key  annex.Key
	Size int64 // bytes

	phase    Phase
	id       disk.ID // of the file; when present, of one that was verified
	synced   bool    // present, and would survive a power cut
	served   bool    // readers had the file open: some of it may be kept
	file     item
	aside    item          // a damaged file that was pinned
	removed  chan struct{} // while removing; closed at its end
	flushing chan struct{} // closed when the flush has ended
	check    *Check        // running

	publishing <-chan struct{} // closed when the transfer that is going to put a file under the name has ended

	users       map[User]bool
	fills       map[string]*Fill // by dataset
	revocations revocations
}

// Fill is what of a key came from one dataset's sources: a partial file at rest, or
// a transfer that goes on with it. Guarded by the lock.
type Fill struct {
	Object   *Object
	Dataset  string
	File     *partial.File // the transfer's, while there is one
	Exposed  bool          // bytes of it were served
	Transfer Transfer      // running: it owns the file

	item     item          // the partial file at rest
	removed  chan struct{} // while the file is being removed
	flushing chan struct{}
}

// ID names a fill.
type ID struct {
	Key     annex.Key
	Dataset string
}

// ID returns the fill's name.
func (f *Fill) ID() ID { return ID{f.Object.Key, f.Dataset} }

// Phase returns the object's phase. Callers hold the lock.
func (o *Object) Phase() Phase { return o.phase }

// IsHere reports whether there is a file under the object's name, verified or not.
// Callers hold the lock.
func (o *Object) IsHere() bool { return o.phase == Present || o.phase == Unchecked }

// Removed is closed when the file of an object that is being removed is gone. Callers
// hold the lock.
func (o *Object) Removed() <-chan struct{} { return o.removed }

// Fill returns what came of the object from a dataset, or nil. Callers hold the lock.
func (o *Object) Fill(dataset string) *Fill { return o.fills[dataset] }

// Fills calls do for all that came of the object. Callers hold the lock.
func (o *Object) Fills(do func(*Fill)) {
	for _, f := range o.fills {
		do(f)
	}
}

// Removed is closed when the partial file is gone, and nil unless it is being
// removed. Callers hold the lock.
func (f *Fill) Removed() <-chan struct{} { return f.removed }

// AtRest returns what the partial file takes while no transfer has it, in bytes of
// disk. Callers hold the lock.
func (f *Fill) AtRest() int64 { return f.item.blocks }

// Find returns the entry of a key, or nil. Callers hold the lock.
func (s *Shelf) Find(key annex.Key) *Object { return s.objects[key] }

// Objects calls do for all that is known of. Callers hold the lock.
func (s *Shelf) Objects(do func(*Object)) {
	for _, o := range s.objects {
		do(o)
	}
}

// object returns the entry of a key, making it. Callers hold the lock.
func (s *Shelf) object(key annex.Key, size int64) *Object {
	o := s.objects[key]
	if o == nil {
		o = &Object{Key: key, Size: size, users: make(map[User]bool), fills: make(map[string]*Fill)}
		o.file = item{o: o, kind: objectItem, at: -1}
		o.aside = item{o: o, kind: asideItem, at: -1}
		s.objects[key] = o
	}
	return o
}

// MakeFill returns what came of an object from a dataset, making the entry. Callers
// hold the lock.
func (s *Shelf) MakeFill(o *Object, dataset string) *Fill {
	f := o.fills[dataset]
	if f == nil {
		f = &Fill{Object: o, Dataset: dataset}
		f.item = item{o: o, f: f, kind: partialItem, at: -1}
		s.Renew(f)
		o.fills[dataset] = f
	}
	return f
}

// Renew gives a fill another partial file: one that was thrown away is not the same
// when it is made again. Callers hold the lock.
func (s *Shelf) Renew(f *Fill) {
	f.File = partial.New(s.Store, s.Store.Partials(), partial.Ident{Key: f.Object.Key, Dataset: f.Dataset}, f.Object.Size)
}

// Use makes u a user of a key: its object is not evicted until u has left. If that
// is on a reader's behalf, the object is the one that was used last. Callers hold the
// lock.
func (s *Shelf) Use(key annex.Key, size int64, u User, reader bool) *Object {
	o := s.object(key, size)
	o.users[u] = true
	if reader {
		s.touch(o)
	}
	s.Settle(o)
	return o
}

// Leave is the end of a use. Callers hold the lock.
func (s *Shelf) Leave(o *Object, u User) {
	delete(o.users, u)
	if len(o.users) == 0 && o.check != nil {
		o.check.leave()
	}
	s.Settle(o)
}

// move is the one place where an object's phase changes. Callers hold the lock, and
// see to the books.
func (s *Shelf) move(o *Object, to Phase) {
	if !slices.Contains(legal[o.phase], to) {
		// A defect: it is told, and what is done goes by the new phase.
		s.defects++
		s.log.Error("an object's phase changes against the rules", "key", o.Key, "from", o.phase, "to", to)
	}
	if o.phase == Removing {
		close(o.removed)
		o.removed = nil
	}
	if to == Removing {
		o.removed = make(chan struct{})
	}
	o.phase = to
	if to != Present {
		o.synced = false
	} else {
		// Transfers from other datasets are of no more use. One that waits for
		// its sources would not look.
		for _, f := range o.fills {
			if f.Transfer != nil {
				f.Transfer.ObjectIsHere()
			}
		}
	}
	s.ledger.dirty[o.Key] = true
	s.Settle(o)
}

// Settle brings an object's place among what can be evicted up to date, and
// forgets what is of no more interest. Whoever changes what that hangs on calls
// it. Callers hold the lock.
func (s *Shelf) Settle(o *Object) {
	free := len(o.users) == 0 && !s.pinned[o.Key]
	for dataset, f := range o.fills {
		idle := f.Transfer == nil && f.removed == nil && f.flushing == nil
		s.books.place(&f.item, free && idle && f.item.blocks > 0)
		if idle && f.item.blocks == 0 {
			delete(o.fills, dataset)
		}
	}
	busy := o.check != nil || o.flushing != nil
	s.books.place(&o.file, free && !busy && o.IsHere())
	s.books.place(&o.aside, o.aside.blocks > 0 && !o.aside.going)
	if len(o.users) == 0 && o.phase == Absent && len(o.fills) == 0 && o.aside.blocks == 0 && !busy && len(o.revocations.by) == 0 {
		delete(s.objects, o.Key)
	}
}

// touch makes an object the one that was used last. Callers hold the lock, and settle
// it.
func (s *Shelf) touch(o *Object) {
	s.books.clock++
	o.file.seq = s.books.clock
	for _, f := range o.fills {
		f.item.seq = s.books.clock
	}
	s.ledger.dirty[o.Key] = true
}

// vanished takes note that there is no file under an object's name any more.
// Callers hold the lock.
func (s *Shelf) vanished(o *Object) {
	s.books.set(&o.file, 0, s.pinned[o.Key])
	s.move(o, Absent)
}

// Damaged takes note of evidence that the file is not the object: those who
// read it get errors, what is kept of it is revoked, and it goes. A pinned one
// is set aside. Callers hold the lock.
func (s *Shelf) Damaged(o *Object, err error) {
	if !o.IsHere() || s.closed {
		return
	}
	s.options.Journal.Note(o.Key, "", "", fmt.Errorf("the cached content is damaged: %w", err))
	for u := range o.users {
		u.Mislead()
	}
	if o.served {
		s.Revoke(o, "")
	}
	aside := s.pinned[o.Key]
	s.move(o, Removing)
	s.Spawn("the removal of a damaged object", func() { s.removeMarked(&o.file, aside) }, nil)
}

// revocations are the readers' sides that are being told to forget wrong bytes.
// Until they have, reads of the dataset fail: right bytes must not be added to
// wrong ones that are kept.
type revocations struct {
	by   map[string]int // how many, by dataset; "" is all
	over chan struct{}  // closed at the end of the last one to begin
	sum  atomic.Int32   // of all, to be looked at without the lock
}

// Revoke has the bytes of an object forgotten that were served to readers of
// a dataset, or of all when that is "". Callers hold the lock.
func (s *Shelf) Revoke(o *Object, dataset string) {
	if o.revocations.by == nil {
		o.revocations.by = make(map[string]int)
	}
	o.revocations.by[dataset]++
	o.revocations.sum.Add(1)
	over := make(chan struct{})
	o.revocations.over = over
	s.Spawn("the revocation of bytes", func() {
		defer s.Do(func() {
			o.revocations.sum.Add(-1)
			if o.revocations.by[dataset]--; o.revocations.by[dataset] == 0 {
				delete(o.revocations.by, dataset)
			}
			close(over)
			s.Settle(o)
		})
		s.options.Revoke(o.Key, dataset)
	}, nil)
}

// MayRevoke reports whether bytes of the object are being forgotten, of any dataset.
// It needs no lock.
func (o *Object) MayRevoke() bool { return o.revocations.sum.Load() > 0 }

// Revoking is closed when the bytes that were served to a dataset's readers have been
// forgotten, and nil unless they are being. Callers hold the lock.
func (o *Object) Revoking(dataset string) <-chan struct{} {
	if o.revocations.by[""]+o.revocations.by[dataset] == 0 {
		return nil
	}
	return o.revocations.over
}

// record is what the ledger keeps of a present object.
func (o *Object) record() Record {
	return Record{
		Key: o.Key, Size: o.id.Size, MTime: o.id.MTime, CTime: o.id.CTime,
		Inode: o.id.Inode, Seq: o.file.seq, Owner: o.file.owner,
	}
}

// matches reports whether a file is the one that the ledger vouches for. The
// device number is not compared: it may change with a restart of the machine.
func (r Record) matches(id disk.ID) bool {
	return r.Size == id.Size && r.MTime == id.MTime && r.CTime == id.CTime && r.Inode == id.Inode
}
