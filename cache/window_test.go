package cache_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// A file larger than the budget streams through, and is verified for who goes
// through it. The budget holds all the while.
func TestLargerThanTheBudgetStreamsThrough(t *testing.T) {
	one := makeContent(t, 426, 60*mib)
	dir, used := ownFileSystem(t)
	empty := used()
	c := open(t, dir, cache.Options{Budget: 20 * mib, RoomWait: time.Second})
	use := cache.Use{Origin: newFar(one)}
	for range 2 {
		h := mustOpen(t, c, one.key, use)
		for off := 0; off < len(one.data); off += 128 * kib {
			mustReadAt(t, h, one, off, 128*kib)
			if s := c.Status(); s.Used+s.Reserved > s.Budget {
				t.Fatalf("used %d + reserved %d of %d", s.Used, s.Reserved, s.Budget)
			}
			if n := used() - empty; n > 20*mib {
				t.Fatalf("%d bytes on disk", n)
			}
		}
		h.Close()
	}
	// Two at a time, and here and there.
	a, b := mustOpen(t, c, one.key, use), mustOpen(t, c, one.key, use)
	for off := 0; off < len(one.data); off += 512 * kib {
		mustReadAt(t, a, one, off, 512*kib)
		mustReadAt(t, b, one, (off+30*mib)%(59*mib), 64*kib)
	}
	a.Close()
	b.Close()
	if s := settle(t, c); s.Used != 0 || diskUse(dir) != 0 {
		t.Errorf("used %d, on disk %d", s.Used, diskUse(dir))
	}
}

// Nor must it be read in order: whoever reads here and there is served, however
// much that comes to.
func TestLargerThanTheBudgetIsReadAtRandom(t *testing.T) {
	one := makeContent(t, 430, 60*mib)
	c := open(t, t.TempDir(), cache.Options{Budget: 20 * mib, RoomWait: 100 * time.Millisecond})
	h := mustOpen(t, c, one.key, cache.Use{Origin: newFar(one), NoReadAhead: true})
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 400 {
		mustReadAt(t, h, one, rnd.IntN(59*mib), 4096)
		if s := c.Status(); s.Used+s.Reserved > s.Budget {
			t.Fatalf("used %d + reserved %d of %d", s.Used, s.Reserved, s.Budget)
		}
	}
	// More at once than is kept of it cannot be: it is refused, and nobody hangs.
	within(t, time.Minute, "half of the file at once", func() error {
		if _, err := h.ReadAt(t.Context(), make([]byte, 30*mib), 0); !errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("not refused: %v", err)
		}
		return nil
	})
}

// What cannot be verified for a reader of a file that streams through is
// refused, with the reason.
func TestStreamingRefusesWhatItCannotVerify(t *testing.T) {
	one := makeContent(t, 427, 60*mib)
	c := open(t, t.TempDir(), cache.Options{Budget: 20 * mib, RoomWait: time.Second, FailureTTL: time.Nanosecond})
	exact := newFar(one)
	versionless := sources(inexact{scripted{"versionless", honest(one)}, false})
	read := func(use cache.Use, off int64) error {
		h := mustOpen(t, c, one.key, use)
		defer h.Close()
		_, err := h.ReadAt(t.Context(), make([]byte, 100), off)
		return err
	}
	for how, err := range map[string]error{
		"strict":       read(cache.Use{Origin: exact, Strict: true}, 0),
		"versionless":  read(cache.Use{Dataset: "v", Origin: versionless}, 0),
		"the end":      read(cache.Use{Dataset: "e", Origin: exact}, int64(len(one.data))-100),
		"the whole":    c.Fetch(t.Context(), one.key, cache.Use{Dataset: "w", Origin: exact}),
		"only a whole": read(cache.Use{Dataset: "p", Origin: sources(placing{scripted{"p", honest(one)}})}, 0),
	} {
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(fmt.Sprint(err), "budget") {
			t.Errorf("%s: %v", how, err)
		}
	}
	if err := read(cache.Use{Origin: exact}, 30*mib); err != nil {
		t.Errorf("in the middle: %v", err)
	}
	// Wrong bytes: nobody reads them to their end.
	told := make(chan struct{}, 8)
	c = open(t, t.TempDir(), cache.Options{Budget: 20 * mib, RoomWait: time.Second, Revoke: func(annex.Key, string) { told <- struct{}{} }})
	wrong := flipped(one, 5)
	h := mustOpen(t, c, one.key, cache.Use{Origin: newFar(content{one.key, wrong.data})})
	var err error
	for off := 0; err == nil && off < len(one.data); off += 128 * kib {
		err = readAt(t, h, wrong, off, 128*kib)
	}
	if !errors.Is(err, cache.ErrMismatch) {
		t.Errorf("wrong bytes, and then: %v", err)
	}
	<-told
}

// That a file is too large for the budget several requests find out at once. All
// who wait are served.
func TestManyFindOutThatItDoesNotFit(t *testing.T) {
	one := makeContent(t, 431, 60*mib)
	dir, used := ownFileSystem(t)
	empty := used()
	for i := range 20 {
		c := open(t, filepath.Join(dir, fmt.Sprint(i)), cache.Options{Budget: 20 * mib, RoomWait: 100 * time.Millisecond})
		var all sync.WaitGroup
		for k := range 8 {
			h := mustOpen(t, c, one.key, cache.Use{Origin: newFar(one)})
			h.ReadThrough()
			all.Go(func() {
				for off := 0; off < 2*mib; off += 256*kib + k*4*kib {
					if err := readAt(t, h, one, off, 64*kib); err != nil {
						t.Errorf("at %d: %v", off, err)
						return
					}
					if n := used() - empty; n > 21*mib {
						t.Errorf("%d bytes on disk", n)
						return
					}
				}
			})
		}
		all.Wait()
		c.Close()
		os.RemoveAll(filepath.Join(dir, fmt.Sprint(i)))
	}
}

// What was served of a file that is not kept is forgotten, which takes a moment.
// Who opens it then is served, and not told that anything was wrong.
func TestWhoComesWhileBytesAreForgotten(t *testing.T) {
	slow := func(annex.Key, string) { time.Sleep(20 * time.Millisecond) }
	t.Run("a window", func(t *testing.T) {
		one := makeContent(t, 432, 60*mib)
		c := open(t, t.TempDir(), cache.Options{Budget: 20 * mib, RoomWait: time.Second, Revoke: slow})
		use := cache.Use{Origin: newFar(one)}
		for i := range 10 {
			a := mustOpen(t, c, one.key, use)
			mustReadAt(t, a, one, 0, 128*kib)
			b := mustOpen(t, c, one.key, use)
			a.Close()
			time.Sleep(time.Duration(i) * time.Millisecond)
			mustReadAt(t, b, one, 128*kib, 128*kib)
			b.Close()
			mustReadAt(t, mustOpen(t, c, one.key, use), one, 0, 128*kib)
		}
	})
	t.Run("a partial file", func(t *testing.T) {
		one, other := makeContent(t, 433, 3*mib), makeContent(t, 434, 3*mib+1)
		c := open(t, t.TempDir(), cache.Options{Budget: 4 * mib, Revoke: slow})
		for range 20 {
			for _, it := range []content{one, other} {
				h := mustOpen(t, c, it.key, cache.Use{Origin: newFar(one, other), NoReadAhead: true})
				mustReadAt(t, h, it, 0, 64*kib)
				h.Close()
				go c.DropKey(it.key, "")
				h = mustOpen(t, c, it.key, cache.Use{Origin: newFar(one, other), NoReadAhead: true})
				mustReadAt(t, h, it, 128*kib, 64*kib)
				h.Close()
			}
		}
	})
}

// stalled is a disk whose next read at a place stops before and after it.
type stalled struct {
	disk.OS
	at            atomic.Int64 // -1: none
	before, after chan chan struct{}
	cut           func() // called once when a file has been cut to nothing; nil: nothing is
}

type stalledFile struct {
	disk.File
	d *stalled
}

func (d *stalled) Create(path string) (disk.File, error) {
	f, err := d.OS.Create(path)
	return stalledFile{f, d}, err
}

func (f stalledFile) ReadAt(p []byte, off int64) (int, error) {
	if !f.d.at.CompareAndSwap(off, -1) {
		return f.File.ReadAt(p, off)
	}
	pass := func(gate chan chan struct{}) {
		on := make(chan struct{})
		gate <- on
		<-on
	}
	pass(f.d.before)
	n, err := f.File.ReadAt(p, off)
	pass(f.d.after)
	return n, err
}

func (f stalledFile) Truncate(size int64) error {
	err := f.File.Truncate(size)
	if cut := f.d.cut; cut != nil && size == 0 {
		f.d.cut = nil
		cut()
	}
	return err
}

func (f stalledFile) OS() *os.File { return f.File.OS() }

// A reader who is slow to read what was found for it gets no zeros, though the
// window went on, and came back, meanwhile.
func TestWindowThatComesBack(t *testing.T) {
	one := makeContent(t, 435, 60*mib)
	d := &stalled{before: make(chan chan struct{}), after: make(chan chan struct{})}
	d.at.Store(-1)
	c := open(t, t.TempDir(), cache.WithDisk(cache.Options{Budget: 20 * mib, RoomWait: time.Second}, d))
	h := mustOpen(t, c, one.key, cache.Use{Origin: newFar(one), NoReadAhead: true})
	const at = 8 * mib
	mustReadAt(t, h, one, at, 64*kib)
	d.at.Store(at)
	got := make([]byte, 64*kib)
	read := make(chan error)
	go func() {
		_, err := h.ReadAt(t.Context(), got, at)
		read <- err
	}()
	on := <-d.before
	for off := 20 * mib; off < 40*mib; off += 64 * kib { // the window goes away
		mustReadAt(t, h, one, off, 64*kib)
	}
	close(on)
	on = <-d.after
	mustReadAt(t, h, one, at, 64*kib) // and comes back
	close(on)
	if err := <-read; err != nil || !bytes.Equal(got, one.data[at:at+64*kib]) {
		t.Errorf("wrong bytes, or %v", err)
	}
}

// A reader who is slow to read what was found for it is served, though the file
// was thrown away meanwhile, for a source that brings the whole.
func TestReadOfAFileThatIsThrownAway(t *testing.T) {
	one := makeContent(t, 436, 5*mib)
	d := &stalled{before: make(chan chan struct{}), after: make(chan chan struct{})}
	d.at.Store(-1)
	c := open(t, t.TempDir(), cache.WithDisk(cache.Options{}, d))
	o := &outage{of: one, step: 64 * kib}
	last := placing{scripted{"placer", honest(one)}}
	h := mustOpen(t, c, one.key, cache.Use{Origin: sources(scripted{"o", o.fetch}, last), Patience: time.Minute})
	mustReadAt(t, h, one, 0, 64*kib)
	d.at.Store(0)
	slow := make(chan error)
	go func() { slow <- readAt(t, h, one, 0, 64*kib) }()
	on := <-d.before
	d.cut = func() {
		close(on)
		close(<-d.after)
	}
	o.down.Store(true)
	err := readAt(t, h, one, 4*mib, 64*kib)
	if err := errors.Join(<-slow, err); err != nil {
		t.Error(err)
	}
}
