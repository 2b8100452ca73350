package cache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

func TestBudgetHoldsUnderConcurrentReaders(t *testing.T) {
	const files, size, budget = 200, 40_000, 20 * 40_960
	var all []content
	for i := range files {
		all = append(all, makeContent(t, uint64(100+i), size))
	}
	origin := newFar(all...)
	dir, used := ownFileSystem(t)
	c := open(t, dir, cache.Options{Budget: budget})
	empty := used()
	done := make(chan struct{})
	var most atomic.Int64
	var sampler sync.WaitGroup
	sampler.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
			if n := used() - empty; n > most.Load() {
				most.Store(n)
			}
			if s := c.Status(); s.Used+s.Reserved > budget {
				t.Errorf("used %d + reserved %d > %d", s.Used, s.Reserved, budget)
			}
		}
	})
	var readers sync.WaitGroup
	for r := range 16 {
		readers.Go(func() {
			order := rand.New(rand.NewPCG(uint64(r), 0)).Perm(files)
			for _, i := range order {
				got, err := readAll(c, all[i].key, cache.Use{Origin: origin, Name: "x"})
				if err != nil || !bytes.Equal(got, all[i].data) {
					t.Errorf("file %d: %v", i, err)
				}
			}
		})
	}
	readers.Wait()
	close(done)
	sampler.Wait()
	if most.Load() > budget {
		t.Errorf("up to %d bytes on disk under a budget of %d", most.Load(), budget)
	}
	if s := c.Status(); s.Reserved != 0 || s.Used != diskUse(dir) {
		t.Errorf("books: used %d, reserved %d; disk: %d", s.Used, s.Reserved, diskUse(dir))
	}
}

func TestOpenAndPinnedAreNotEvicted(t *testing.T) {
	a, b, d := makeContent(t, 7, 40_960), makeContent(t, 8, 40_960), makeContent(t, 9, 40_960)
	origin := newFar(a, b, d)
	use := cache.Use{Origin: origin, Name: "x"}
	dir := t.TempDir()
	c := open(t, dir, cache.Options{Budget: 2 * 40_960, RoomWait: 50 * time.Millisecond, FailureTTL: time.Nanosecond})
	if err := c.Pin([]annex.Key{a.key}); err != nil {
		t.Fatal(err)
	}
	mustRead(t, c, a, use)
	h, _ := c.Open(b.key, use)
	if _, err := h.ReadAt(context.Background(), make([]byte, 10), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(c, d.key, use); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("with all pinned or open: %v", err)
	}
	if c.State(a.key).Presence != cache.Cached || c.State(b.key).Presence != cache.Cached {
		t.Error("evicted in vain")
	}
	h.Close()
	mustRead(t, c, d, use)
	if c.State(a.key).Presence != cache.Cached {
		t.Error("a pinned object was evicted")
	}
	if c.State(b.key).Presence != cache.Missing {
		t.Error("the coldest object was not evicted")
	}
	c.Drop(nil)
	if c.State(a.key).Presence != cache.Cached {
		t.Error("a pinned object was dropped")
	}
	c.Close()
	c = open(t, dir, cache.Options{Budget: 1})
	if !c.State(a.key).Pinned {
		t.Error("the pin is lost")
	}
	if _, err := readAll(c, b.key, use); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("larger than the budget: %v", err)
	}
}

func TestTornPinsFileLosesNothingAcknowledged(t *testing.T) {
	a, b := makeContent(t, 10, 10), makeContent(t, 11, 20)
	dir := t.TempDir()
	c := open(t, dir, cache.Options{})
	if err := errors.Join(c.Pin([]annex.Key{a.key}), c.Pin([]annex.Key{b.key})); err != nil {
		t.Fatal(err)
	}
	c.Close()
	path := filepath.Join(dir, "pins")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := cache.Open(dir, cache.Options{})
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if !c.State(a.key).Pinned {
			t.Errorf("%d bytes: the pin of the previous generation is lost", n)
		}
		c.Close()
	}
	os.WriteFile(path+".bak", []byte("x"), 0o600)
	if c, err := cache.Open(dir, cache.Options{}); err == nil {
		c.Close()
		t.Error("both files are damaged, and nobody is told")
	}
}

// Who is refused for a failure of before, and so never looks at the partial
// file, must not make the cache forget what is on the disk.
func TestRefusalLeavesThePartOnTheBooks(t *testing.T) {
	one := makeContent(t, 80, 3*mib)
	down := false
	origin := &far{sources: func(annex.Key) ([]cache.Source, error) {
		fetch := honest(one)
		if down {
			fetch = func(int64, int64, io.Writer) error { return errors.New("the network is gone") }
		}
		return []cache.Source{scripted{"scripted", fetch}}, nil
	}}
	dir := t.TempDir()
	c := open(t, dir, cache.Options{FailureTTL: time.Hour})
	use := cache.Use{Origin: origin, NoReadAhead: true}
	h := mustOpen(t, c, one.key, use)
	mustReadAt(t, h, one, 0, 16*kib)
	h.Close()
	before := settle(t, c)
	down = true
	for range 3 {
		if err := c.Fetch(t.Context(), one.key, use); err == nil {
			t.Fatal("fetched what nobody has")
		}
	}
	if s := settle(t, c); s.Partials != 1 || s.Used != before.Used || before.Used == 0 {
		t.Errorf("%d partial files, %d bytes used; before %d", s.Partials, s.Used, before.Used)
	}
	if _, _, err := c.Drop(nil); err != nil {
		t.Error(err)
	}
	if s := c.Status(); s.Used != 0 || diskUse(dir) != 0 {
		t.Errorf("after all was dropped: used %d; files of %d on disk", s.Used, diskUse(dir))
	}
}

// What is being flushed at the moment is dropped all the same.
func TestDropWhileFlushing(t *testing.T) {
	var all []content
	for i := range 40 {
		all = append(all, makeContent(t, uint64(100+i), mib))
	}
	origin := newFar(all...)
	dir := t.TempDir()
	started := time.Now()
	c := open(t, dir, cache.Options{})
	for second := range time.Duration(3) { // new objects are flushed every second
		flush := started.Add((second + 1) * time.Second)
		time.Sleep(time.Until(flush.Add(-250 * time.Millisecond)))
		for _, one := range all {
			mustRead(t, c, one, cache.Use{Origin: origin})
		}
		time.Sleep(time.Until(flush.Add(10 * time.Millisecond)))
		if files, _, err := c.Drop(nil); files != len(all) || err != nil {
			t.Fatalf("%d of %d files were dropped: %v", files, len(all), err)
		}
	}
	if s := settle(t, c); s.Used != 0 || diskUse(dir) != 0 {
		t.Errorf("after all was dropped: used %d; files of %d on disk", s.Used, diskUse(dir))
	}
}

func TestDropKey(t *testing.T) {
	one, two := makeContent(t, 90, 5000), makeContent(t, 91, 5000)
	c := open(t, t.TempDir(), cache.Options{})
	for _, x := range []content{one, two} {
		mustRead(t, c, x, cache.Use{Origin: newFar(x), Owner: "me"})
	}
	if files, _, err := c.DropKey(one.key, "you"); files != 0 || err != nil {
		t.Errorf("dropped %d files of somebody else: %v", files, err)
	}
	if files, bytes, err := c.DropKey(one.key, "me"); files != 1 || bytes != 8192 || err != nil {
		t.Errorf("dropped %d files, %d bytes: %v", files, bytes, err)
	}
	if c.State(one.key).Presence != cache.Missing || c.State(two.key).Presence != cache.Cached {
		t.Errorf("one is %v, two is %v", c.State(one.key), c.State(two.key))
	}
}

// What was open when the budget became smaller goes when it is open no more.
func TestSmallerBudgetIsKeptInTheEnd(t *testing.T) {
	one := makeContent(t, 960, mib)
	c := open(t, t.TempDir(), cache.Options{Budget: 8 * mib})
	h := hold(t, c, one)
	c.SetBudget(100 * kib)
	if c.State(one.key).Presence != cache.Cached {
		t.Fatal("what is open has gone")
	}
	h.Close()
	for range 1000 {
		if c.Status().Used == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d bytes are kept of a budget of 100 KiB", c.Status().Used)
}
