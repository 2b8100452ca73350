package cache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// within fails the test when do takes longer than anything that works.
func within(t *testing.T, limit time.Duration, what string, do func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	case <-time.After(limit):
		t.Fatalf("%s: still waiting after %v", what, limit)
	}
}

// hold keeps a file open that takes much of the budget.
func hold(t *testing.T, c *cache.Cache, one content) *cache.Handle {
	h := mustOpen(t, c, one.key, cache.Use{Origin: newFar(one)})
	if _, err := h.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

// What fits does not wait behind what does not.
func TestSmallRequestsPassLargeOnes(t *testing.T) {
	held, large, small := makeContent(t, 420, 6*mib), makeContent(t, 421, 6*mib), makeContent(t, 422, 100*kib)
	c := open(t, t.TempDir(), cache.Options{Budget: 10 * mib, RoomWait: time.Minute})
	h := hold(t, c, held)
	waits := make(chan error, 1)
	go func() {
		_, err := readAll(c, large.key, cache.Use{Origin: newFar(large)})
		waits <- err
	}()
	for len(c.Status().Transfers) == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond) // it is in the queue by then
	within(t, 20*time.Second, "a small file", func() error {
		_, err := readAll(c, small.key, cache.Use{Origin: newFar(small)})
		return err
	})
	h.Close()
	if err := <-waits; err != nil {
		t.Errorf("the large one, when there is room: %v", err)
	}
}

// A look at a header does not fail, nor wait, since all of the file does not
// fit that somebody else wants.
func TestHeaderOfAFileThatDoesNotFitNow(t *testing.T) {
	held, large := makeContent(t, 423, 6*mib), makeContent(t, 424, 6*mib)
	c := open(t, t.TempDir(), cache.Options{Budget: 10 * mib, RoomWait: time.Second})
	hold(t, c, held)
	use := cache.Use{Origin: newFar(large)}
	fetched := make(chan error, 1)
	go func() { fetched <- c.Fetch(t.Context(), large.key, use) }()
	for len(c.Status().Transfers) == 0 {
		time.Sleep(time.Millisecond)
	}
	within(t, 20*time.Second, "a header", func() error {
		h := mustOpen(t, c, large.key, use)
		return readAt(t, h, large, 0, 16*kib)
	})
	if err := <-fetched; !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the whole: %v", err)
	}
	within(t, 20*time.Second, "another look", func() error {
		h := mustOpen(t, c, large.key, use)
		return readAt(t, h, large, 2*mib, 16*kib)
	})
}

// A file that just fits can be read in any order.
func TestFileThatJustFitsIsReadAtRandom(t *testing.T) {
	one := makeContent(t, 425, 20*mib+5)
	c := open(t, t.TempDir(), cache.Options{Budget: 20*mib + 32*kib, RoomWait: 100 * time.Millisecond})
	h := mustOpen(t, c, one.key, cache.Use{Origin: newFar(one), NoReadAhead: true})
	for _, block := range rand.New(rand.NewPCG(1, 2)).Perm(len(one.data) / (4 * kib)) {
		mustReadAt(t, h, one, block*4*kib, 4*kib)
	}
	for off := 0; off < len(one.data); off += 64 * kib {
		mustReadAt(t, h, one, off, min(64*kib, len(one.data)-off))
	}
}

// On a disk without a free byte pins can be taken back, and what is cached be
// read and dropped.
func TestFullDiskCanBeCleaned(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, for a disk of its own")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	one, two := makeContent(t, 428, mib), makeContent(t, 429, 100*kib)
	at := filepath.Join(dir, "cache")
	c, err := cache.Open(at, cache.Options{Floor: -1, FailureTTL: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	mustRead(t, c, one, cache.Use{Origin: newFar(one)})
	var pins []annex.Key
	for i := range 50 {
		pins = append(pins, makeContent(t, uint64(3000+i), 10).key)
	}
	if err := c.Pin(append(pins, one.key)); err != nil {
		t.Fatal(err)
	}
	fill, err := os.Create(filepath.Join(dir, "others"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(fill, zeros{}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	fill.Close()
	mustRead(t, c, one, cache.Use{})
	if _, err := readAll(c, two.key, cache.Use{Origin: newFar(two)}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("fetched on a full disk: %v", err)
	}
	if err := c.Unpin([]annex.Key{one.key}); err != nil {
		t.Errorf("unpin on a full disk: %v", err)
	}
	if n, _, err := c.Drop(nil); n != 1 || err != nil {
		t.Errorf("%d dropped, %v", n, err)
	}
	mustRead(t, c, two, cache.Use{Origin: newFar(two)})
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	c, err = cache.Open(at, cache.Options{Floor: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if len(c.Pins()) != len(pins) {
		t.Errorf("%d pins, want %d", len(c.Pins()), len(pins))
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// BenchmarkRoom makes room among many objects, that lie there from before, for
// one that takes another's.
func BenchmarkRoom(b *testing.B) {
	for _, objects := range []int{1000, 200_000} {
		b.Run(fmt.Sprint(objects), func(b *testing.B) {
			dir := b.TempDir()
			for i := range objects {
				one := makeContent(b, uint64(i), 4)
				path := filepath.Join(dir, "objects", one.key.ObjectPath())
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, one.data, 0o400)); err != nil {
					b.Fatal(err)
				}
			}
			c := open(b, dir, cache.Options{Budget: int64(objects) * 4096})
			for i := 0; b.Loop(); i++ {
				one := makeContent(b, uint64(1_000_000+i), 4)
				if err := c.Fetch(context.Background(), one.key, cache.Use{Origin: newFar(one)}); err != nil {
					b.Fatal(err)
				}
			}
			if s := c.Status(); s.Used > s.Budget || s.Objects != objects {
				b.Errorf("%+v", s)
			}
		})
	}
}
