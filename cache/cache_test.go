package cache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

func TestReadFetchesOnceAndKeeps(t *testing.T) {
	one := makeContent(t, 1, 300_000)
	origin := newFar(one)
	dir := t.TempDir()
	ledger := &memory{}
	c := open(t, dir, cache.Options{Ledger: ledger})
	use := cache.Use{Origin: origin, Owner: "me", Name: "one"}
	h, err := c.Open(one.key, use)
	if err != nil {
		t.Fatal(err)
	}
	if h.File() != nil {
		t.Error("a file before anything was fetched")
	}
	if origin.count(one.key) != 0 {
		t.Error("opening fetched")
	}
	buf := make([]byte, 1000)
	if n, err := h.ReadAt(context.Background(), buf, 299_500); n != 500 || err != io.EOF || !bytes.Equal(buf[:500], one.data[299_500:]) {
		t.Errorf("%d, %v", n, err)
	}
	h.Close()
	mustRead(t, c, one, use)
	if n := origin.count(one.key); n != 1 {
		t.Errorf("fetched %d times", n)
	}
	if h, _ = c.Open(one.key, use); h.File() == nil {
		t.Error("no file for passthrough")
	}
	h.Close()
	c.Close()
	// What was known is known again, and trusted without hashing.
	c = open(t, dir, cache.Options{Ledger: ledger})
	h, _ = c.Open(one.key, cache.Use{})
	if h.File() == nil {
		t.Error("not trusted after a clean restart")
	}
	h.Close()
}

// One user who must not fetch does not keep another from it.
func TestOfflineIsNoFailureOfTheContent(t *testing.T) {
	one := makeContent(t, 1, 1000)
	far, away := newFar(one), newFar()
	away.sources = func(annex.Key) ([]cache.Source, error) { return nil, cache.ErrOffline }
	c := open(t, t.TempDir(), cache.Options{FailureTTL: time.Hour})
	if _, err := readAll(c, one.key, cache.Use{Origin: away}); !errors.Is(err, cache.ErrOffline) {
		t.Fatalf("offline: %v", err)
	}
	mustRead(t, c, one, cache.Use{Origin: far})
}

func TestManyReadersOneTransfer(t *testing.T) {
	one := makeContent(t, 2, 1<<20)
	origin := newFar(one)
	gate := make(chan struct{})
	origin.do = func(ctx context.Context, _ annex.Key, off, n int64, w io.Writer) error {
		<-gate
		_, err := w.Write(one.data[off : off+n])
		return err
	}
	c := open(t, t.TempDir(), cache.Options{})
	use := cache.Use{Origin: origin, Name: "one"}
	leaving, leave := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	for i := range 32 {
		readers.Go(func() {
			h, err := c.Open(one.key, use)
			if err != nil {
				t.Error(err)
				return
			}
			defer h.Close()
			ctx := context.Background()
			if i%4 == 0 {
				ctx = leaving
			}
			buf := make([]byte, 1<<20)
			_, err = h.ReadAt(ctx, buf, 0)
			switch {
			case i%4 == 0:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("a reader that left got %v", err)
				}
			case err != nil || !bytes.Equal(buf, one.data):
				t.Errorf("reader %d: %v", i, err)
			}
		})
	}
	for c.Status().Transfers == nil || len(c.Status().Transfers) == 0 || c.Status().Transfers[0].Waiters < 32 {
		time.Sleep(time.Millisecond)
	}
	leave()
	for c.Status().Transfers[0].Waiters > 24 {
		time.Sleep(time.Millisecond)
	}
	close(gate)
	readers.Wait()
	if n := origin.count(one.key); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

func TestLastReaderEndsTheTransferAndTheNextResumes(t *testing.T) {
	one := makeContent(t, 3, 6<<20)
	origin := newFar(one)
	half := make(chan struct{})
	var from []int64
	origin.do = func(ctx context.Context, _ annex.Key, off, n int64, w io.Writer) error {
		from = append(from, off)
		if off == 0 {
			w.Write(one.data[:3<<20])
			close(half)
			<-ctx.Done()
			return ctx.Err()
		}
		_, err := w.Write(one.data[off : off+n])
		return err
	}
	c := open(t, t.TempDir(), cache.Options{})
	use := cache.Use{Origin: origin, Name: "one"}
	ctx, cancel := context.WithCancel(context.Background())
	h, _ := c.Open(one.key, use)
	go func() { <-half; cancel() }()
	if _, err := h.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	h.Close()
	mustRead(t, c, one, use)
	if len(from) != 2 || from[1] != 3<<20 {
		t.Errorf("asked from %v", from)
	}
}

func TestEmptyContentNeedsNoSource(t *testing.T) {
	empty := makeContent(t, 12, 0)
	c := open(t, t.TempDir(), cache.Options{})
	if err := c.Fetch(context.Background(), empty.key, cache.Use{}); err != nil {
		t.Fatal(err)
	}
	if c.State(empty.key).Presence != cache.Cached {
		t.Error("not there")
	}
}
