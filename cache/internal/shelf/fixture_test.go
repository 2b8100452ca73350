package shelf

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/journal"
	"github.com/uniharmony/uniharmonyfs/cache/internal/layout"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/cache/internal/queue"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// content is what a key names.
type content struct {
	key  annex.Key
	data []byte
}

func makeContent(t testing.TB, seed uint64, size int) content {
	t.Helper()
	data := make([]byte, size)
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	key, err := annex.ParseKey(fmt.Sprintf("MD5E-s%d--%x.nii.gz", size, md5.Sum(data)))
	if err != nil {
		t.Fatal(err)
	}
	return content{key, data}
}

// memory is a ledger.
type memory struct {
	mu      sync.Mutex
	records map[annex.Key]Record
}

func (m *memory) Load(do func(Record)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.records {
		do(r)
	}
	return nil
}

func (m *memory) Save(put []Record, del []annex.Key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range put {
		m.records[r.Key] = r
	}
	for _, k := range del {
		delete(m.records, k)
	}
	return nil
}

// bench is a shelf, and what it told.
type bench struct {
	*Shelf
	t      testing.TB
	dir    string
	ledger *memory
	budget int64

	mu      sync.Mutex
	revoked []string // datasets
}

func newBench(t testing.TB, budget int64) *bench {
	b := &bench{t: t, dir: t.TempDir(), ledger: &memory{records: make(map[annex.Key]Record)}, budget: budget}
	b.open(disk.OS{})
	return b
}

// open opens the shelf, as a process does when it begins.
func (b *bench) open(d disk.Disk) {
	b.t.Helper()
	log := slog.New(slog.DiscardHandler)
	s, err := Open(layout.Store{Disk: d, Dir: b.dir}, Options{
		Budget: b.budget, Floor: -1, RoomWait: time.Millisecond, Ledger: b.ledger,
		Journal: &journal.Journal{Log: log}, Log: log,
		Revoke: func(_ annex.Key, dataset string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.revoked = append(b.revoked, dataset)
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.Shelf = s
	b.t.Cleanup(func() { b.close(s) })
}

func (b *bench) close(s *Shelf) {
	s.Do(func() { s.Shut() })
	s.Stop(errors.New("closed"))
	if err := s.Rest(b.t.Context()); err != nil && b.t.Context().Err() == nil {
		b.t.Error(err)
	}
}

// user is somebody who has a key open.
type user struct{ misled bool }

func (u *user) Mislead() { u.misled = true }

// transfer stands for one that brings a content by hand.
type transfer struct {
	b       *bench
	c       content
	f       *Fill
	account Account
	part    *partial.File
	stock   partial.Stock
	done    chan struct{}
	told    int // times that others have brought the object
	yields  bool
}

func (t *transfer) ObjectIsHere() { t.told++ }

func (t *transfer) Yield(those func(string) bool) <-chan struct{} {
	if t.yields && those("me") {
		go t.rest()
		t.yields = false
		return t.done
	}
	return nil
}

// begin begins a transfer of a content from a dataset, with u as its user: nil if there
// is no need of one.
func (b *bench) begin(c content, dataset string, u User) *transfer {
	b.t.Helper()
	t := &transfer{b: b, c: c, done: make(chan struct{})}
	b.Do(func() {
		o := b.Use(c.key, int64(len(c.data)), u, true)
		f := b.MakeFill(o, dataset)
		if o.phase != Absent || f.Transfer != nil || f.removed != nil {
			b.Settle(o)
			t = nil
			return
		}
		t.f, t.part, f.Transfer = f, f.File, t
		t.account = b.OpenAccount(f)
	})
	if t == nil {
		return nil
	}
	var err error
	if t.stock, err = t.part.Open(); err != nil {
		b.t.Fatal(err)
	}
	return t
}

// write makes room for the whole, and writes up to end.
func (t *transfer) write(end int64) error {
	b := t.b
	if need := layout.Charge(int64(len(t.c.data))) - t.account.Reserved; need > 0 {
		if err := b.Reserve(b.t.Context(), &t.account, need, queue.Demanded); err != nil {
			return err
		}
	}
	off := t.stock.Have.From(0)
	if end <= off {
		return nil
	}
	if _, err := t.part.Write(t.c.data[off:end], off); err != nil {
		return err
	}
	t.stock.Add(partial.Interval{Off: off, End: end}, "by hand", true)
	b.Do(func() {
		b.NoteAllocated(&t.account, disk.RoundUp(end-off))
		t.f.Exposed = true
	})
	return nil
}

// rest leaves what came for the next.
func (t *transfer) rest() {
	left, err := t.part.Leave(t.stock, t.account.Reserved)
	if err != nil {
		t.b.t.Error(err)
	}
	var useless Marked
	t.b.Do(func() {
		t.b.Release(&t.account, left, "me")
		if left == 0 {
			if t.f.Exposed {
				t.b.Revoke(t.f.Object, t.f.Dataset)
				t.f.Exposed = false
			}
			t.b.Renew(t.f)
		} else {
			t.b.PutToRest(t.f)
		}
		close(t.done)
		useless = t.b.Ended(t.f, t.done)
	})
	t.b.Evict(useless)
	t.b.WakeRoomWaiters()
}

// publish makes the whole the object, and reports whether this transfer did.
func (t *transfer) publish() (mine bool) {
	b := t.b
	if err := t.part.Verify(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	mine, err := b.ClaimName(t.f.Object, t.done, func() {})
	if err != nil {
		b.t.Fatal(err)
	}
	if !mine {
		t.stock = partial.Stock{}
		t.rest()
		return false
	}
	if err := t.part.Publish(func(from string) error { return b.Store.Publish(t.c.key, from) }); err != nil {
		b.t.Fatal(err)
	}
	info, err := b.Store.Stat(b.Store.Object(t.c.key))
	if err != nil {
		b.t.Fatal(err)
	}
	var useless Marked
	b.Do(func() {
		b.Published(&t.account, info, false, b.Store.Left(t.f.File.Name()), "me")
		close(t.done)
		useless = b.Ended(t.f, t.done)
	})
	b.Evict(useless)
	b.WakeRoomWaiters()
	return true
}

// bring brings a content whole, and leaves.
func (b *bench) bring(c content) {
	b.t.Helper()
	u := &user{}
	t := b.begin(c, "a", u)
	if t == nil {
		b.t.Fatal("it is here already")
	}
	if err := t.write(int64(len(c.data))); err != nil {
		b.t.Fatal(err)
	}
	if !t.publish() {
		b.t.Fatal("somebody else was faster")
	}
	b.leave(c, u)
}

func (b *bench) leave(c content, u User) {
	b.Do(func() {
		if o := b.Find(c.key); o != nil {
			b.Leave(o, u)
		}
	})
	b.WakeRoomWaiters()
}

func (b *bench) phase(c content) (p Phase) {
	b.Do(func() {
		if o := b.Find(c.key); o != nil {
			p = o.phase
		}
	})
	return p
}

// quiet waits until nothing is checked, removed, flushed or revoked.
func (b *bench) quiet() {
	b.t.Helper()
	for range 5000 {
		busy := false
		b.Do(func() {
			for _, o := range b.objects {
				busy = busy || o.check != nil || o.phase == Removing || o.flushing != nil || o.MayRevoke() || o.aside.going
				for _, f := range o.fills {
					busy = busy || f.removed != nil || f.flushing != nil
				}
			}
		})
		if !busy {
			return
		}
		time.Sleep(time.Millisecond)
	}
	b.t.Fatal("it never comes to rest")
}

// audit compares the books with themselves and with the disk.
func (b *bench) audit() {
	b.t.Helper()
	b.quiet()
	for _, wrong := range b.Audit() {
		b.t.Error(wrong)
	}
	var on int64
	for _, dir := range []string{b.Store.Objects(), b.Store.Partials(), b.Store.Aside()} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || e.IsDir() {
				return err
			}
			info, err := b.Store.Stat(path)
			on += info.Charge()
			return err
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
	b.Do(func() {
		if used := b.Totals().Used; used != on {
			b.t.Errorf("%d bytes are on the books, %d on the disk", used, on)
		}
	})
}

// spoil writes something else into an object's file.
func (b *bench) spoil(c content) {
	b.t.Helper()
	path := b.Store.Object(c.key)
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, bytes.Repeat([]byte("x"), len(c.data)), 0o600)); err != nil {
		b.t.Fatal(err)
	}
}
