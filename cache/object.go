package cache

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// phase is what is under an object's name on disk, and so who may open it:
//
//	absent     nothing; a transfer may publish
//	unchecked  a file that nothing vouches for: only a check opens it
//	present    content that is known to match the key: readers open it, to read
//	removing   whoever set this removes the file; nobody else opens it
//
// The legal transitions, all made by [Cache.move]:
//
//	absent    → present    a verified file was renamed to it
//	absent    → unchecked  found by the scan at the start
//	unchecked → present    its hash agrees
//	present   → unchecked  it is another file than before, or its flush failed
//	unchecked, present → removing  evicted, dropped, or evidence of damage
//	unchecked, present → absent    it vanished
//	removing  → absent     gone
//	removing  → unchecked  it could not be removed
type phase uint8

const (
	absent phase = iota
	unchecked
	present
	removing
)

func (p phase) String() string {
	return [...]string{"absent", "unchecked", "present", "removing"}[p]
}

var legal = map[phase][]phase{
	absent:    {present, unchecked},
	unchecked: {present, removing, absent},
	present:   {unchecked, removing, absent},
	removing:  {absent, unchecked},
}

// object is a key that is on disk or in use. All fields but key and size, and
// the atomic one, are guarded by Cache.mu.
type object struct {
	key  annex.Key
	size int64 // bytes

	phase    phase
	id       disk.ID // of the file; when present, of one that was verified
	synced   bool    // present, and would survive a power cut
	served   bool    // readers had the file open: some of it may be kept
	file     item
	aside    item          // a damaged file that was pinned
	removed  chan struct{} // while removing; closed at its end
	flushing chan struct{} // closed when the flush has ended
	check    *check        // running

	publishing *transfer // it is going to put a file under the name

	handles     map[*Handle]bool // open
	fills       map[string]*fill // by dataset
	revocations revocations
}

// revocations are the readers' sides that are being told to forget wrong bytes.
// Until they have, reads of the dataset fail: right bytes must not be added to
// wrong ones that are kept.
type revocations struct {
	by   map[string]int // how many, by dataset; "" is all
	over chan struct{}  // closed at the end of the last one to begin
	sum  atomic.Int32   // of all, to be looked at without the lock
}

// fill is what of a key came from one dataset's sources: a partial file at
// rest, or a transfer that goes on with it. Guarded by Cache.mu.
type fill struct {
	o        *object
	dataset  string
	file     *partial.File
	item     item          // the partial file at rest
	exposed  bool          // bytes of it were served
	transfer *transfer     // running: it owns the file
	removed  chan struct{} // while the file is being removed
	flushing chan struct{}
}

func (f *fill) id() fillID { return fillID{f.o.key, f.dataset} }

// object returns the entry of a key, making it. Callers hold mu.
func (c *Cache) object(key annex.Key, size int64) *object {
	o := c.objects[key]
	if o == nil {
		o = &object{key: key, size: size, handles: make(map[*Handle]bool), fills: make(map[string]*fill)}
		o.file = item{o: o, kind: objectItem, at: -1}
		o.aside = item{o: o, kind: asideItem, at: -1}
		c.objects[key] = o
	}
	return o
}

// fill returns what came of an object from a dataset, making the entry.
// Callers hold mu.
func (c *Cache) fill(o *object, dataset string) *fill {
	f := o.fills[dataset]
	if f == nil {
		f = &fill{o: o, dataset: dataset}
		f.item = item{o: o, f: f, kind: partialItem, at: -1}
		f.file = partial.New(c.store, c.store.Partials(), partial.Ident{Key: o.key, Dataset: dataset}, o.size)
		o.fills[dataset] = f
	}
	return f
}

// move is the one place where an object's phase changes. Callers hold mu, and
// see to the books.
func (c *Cache) move(o *object, to phase) {
	if !allowed(o.phase, to) {
		// A defect: it is told, and what is done goes by the new phase.
		c.seen.defects++
		c.log.Error("an object's phase changes against the rules", "key", o.key, "from", o.phase, "to", to)
	}
	if o.phase == removing {
		close(o.removed)
		o.removed = nil
	}
	if to == removing {
		o.removed = make(chan struct{})
	}
	o.phase = to
	if to != present {
		o.synced = false
	} else {
		// Transfers from other datasets are of no more use. One that waits for
		// its sources would not look.
		for _, f := range o.fills {
			if f.transfer != nil {
				f.transfer.kick()
			}
		}
	}
	c.ledger.dirty[o.key] = true
	c.settle(o)
}

func allowed(from, to phase) bool {
	for _, p := range legal[from] {
		if p == to {
			return true
		}
	}
	return false
}

// settle brings an object's place among what can be evicted up to date, and
// forgets what is of no more interest. Whoever changes what that hangs on calls
// it. Callers hold mu.
func (c *Cache) settle(o *object) {
	free := len(o.handles) == 0 && !c.pinned[o.key]
	for dataset, f := range o.fills {
		c.books.place(&f.item, free && f.item.blocks > 0 && f.transfer == nil && f.removed == nil && f.flushing == nil)
		if f.item.blocks == 0 && f.transfer == nil && f.removed == nil && f.flushing == nil {
			delete(o.fills, dataset)
		}
	}
	c.books.place(&o.file, free && (o.phase == unchecked || o.phase == present) && o.check == nil && o.flushing == nil)
	c.books.place(&o.aside, o.aside.blocks > 0 && !o.aside.going)
	if len(o.handles) == 0 && o.phase == absent && len(o.fills) == 0 && o.aside.blocks == 0 && o.check == nil && o.flushing == nil && len(o.revocations.by) == 0 {
		delete(c.objects, o.key)
	}
}

// touch makes an object the one that was used last. Callers hold mu.
func (c *Cache) touch(o *object) {
	c.books.clock++
	o.file.seq = c.books.clock
	for _, f := range o.fills {
		f.item.seq = c.books.clock
	}
	c.ledger.dirty[o.key] = true
	c.settle(o)
}

// vanished takes note that there is no file under an object's name any more.
// Callers hold mu.
func (c *Cache) vanished(o *object) {
	c.books.set(&o.file, 0, c.pinned[o.key])
	c.move(o, absent)
}

// damaged takes note of evidence that the file is not the object: those who
// read it get errors, what is kept of it is revoked, and it goes. A pinned one
// is set aside. Callers hold mu.
func (c *Cache) damaged(o *object, err error) {
	if o.phase != present && o.phase != unchecked || c.closed {
		return
	}
	c.note(o, "", fmt.Errorf("the cached content is damaged: %w", err))
	for h := range o.handles {
		if h.file.Load() != nil {
			h.misled.Store(true)
		}
	}
	if o.served {
		c.revoke(o, "")
	}
	aside := c.pinned[o.key]
	c.move(o, removing)
	c.spawn("the removal of a damaged object", func() { c.removeMarked(&o.file, aside) }, nil)
}

// revoke has the bytes of an object forgotten that were served to readers of
// a dataset, or of all. Callers hold mu.
func (c *Cache) revoke(o *object, dataset string) {
	if o.revocations.by == nil {
		o.revocations.by = make(map[string]int)
	}
	o.revocations.by[dataset]++
	o.revocations.sum.Add(1)
	over := make(chan struct{})
	o.revocations.over = over
	c.spawn("the revocation of bytes", func() {
		defer c.do(func() {
			o.revocations.sum.Add(-1)
			if o.revocations.by[dataset]--; o.revocations.by[dataset] == 0 {
				delete(o.revocations.by, dataset)
			}
			close(over)
			c.settle(o)
		})
		c.options.Revoke(o.key, dataset)
	}, nil)
}

// record is what the ledger keeps of a present object.
func (o *object) record() Record {
	return Record{
		Key: o.key, Size: o.id.Size, MTime: o.id.MTime, CTime: o.id.CTime,
		Inode: o.id.Inode, Seq: o.file.seq, Owner: o.file.owner,
	}
}

// matches reports whether a file is the one that the ledger vouches for. The
// device number is not compared: it may change with a restart of the machine.
func (r Record) matches(id disk.ID) bool {
	return r.Size == id.Size && r.MTime == id.MTime && r.CTime == id.CTime && r.Inode == id.Inode
}

// stuckFor is how long what could not be removed is left alone.
const stuckFor = 30 * time.Second
