package cache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

type inexact struct {
	scripted
	exact bool
}

func (s inexact) Exact() bool { return s.exact }

// scripted is a source of its own.
type scripted struct {
	name  string
	fetch func(off, n int64, w io.Writer) error
}

func (s scripted) String() string { return s.name }
func (s scripted) Exact() bool    { return true }
func (s scripted) Fetch(_ context.Context, off, n int64, w io.Writer) error {
	return s.fetch(off, n, w)
}

// placing is a source that brings whole files.
type placing struct{ scripted }

func (s placing) Place(_ context.Context, path string, _ func(int64)) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(s.fetch(0, -1, f), f.Close())
}

func honest(c content) func(off, n int64, w io.Writer) error {
	return func(off, n int64, w io.Writer) error {
		if n < 0 {
			n = int64(len(c.data)) - off
		}
		_, err := w.Write(c.data[off : off+n])
		return err
	}
}

// Wrong bytes that were served in good faith: their reader gets no further,
// others are told to forget them, and the next source is asked.
func TestWrongBytesFoundOutLate(t *testing.T) {
	one := makeContent(t, 23, 3*mib)
	wrong := content{one.key, bytes.Clone(one.data)}
	wrong.data[100] ^= 1
	for how, next := range map[string]cache.Source{
		"ranges": scripted{"right", honest(one)},
		"place":  placing{scripted{"right", honest(one)}},
	} {
		t.Run(how, func(t *testing.T) {
			origin := newFar()
			origin.sources = func(annex.Key) ([]cache.Source, error) {
				return []cache.Source{scripted{"wrong", honest(wrong)}, next}, nil
			}
			told := make(chan string, 10)
			c := open(t, t.TempDir(), cache.Options{Revoke: func(_ annex.Key, dataset string) { told <- dataset }})
			use := func(name string) cache.Use {
				return cache.Use{Origin: origin, Dataset: "ds", Name: name}
			}
			before := mustOpen(t, c, one.key, use("before"))
			mustReadAt(t, before, wrong, 0, 16*kib)
			before.Close()
			h := mustOpen(t, c, one.key, use("reader"))
			var err error
			off := 0
			for ; err == nil && off < len(one.data); off += 64 * kib {
				err = readAt(t, h, wrong, off, 64*kib)
			}
			if !errors.Is(err, cache.ErrMismatch) {
				t.Fatalf("at %d: %v", off, err)
			}
			if got := <-told; got != "ds" {
				t.Errorf("readers of %q were told", got)
			}
			if _, err := h.ReadAt(context.Background(), make([]byte, 1), 0); !errors.Is(err, cache.ErrMismatch) {
				t.Errorf("the same reader once more: %v", err)
			}
			fresh := mustOpen(t, c, one.key, use("fresh"))
			recalled(t, fresh, one)
			for off := 0; off < len(one.data); off += 64 * kib {
				mustReadAt(t, fresh, one, off, 64*kib)
			}
		})
	}
}

// recalled waits until reads do not fail any more because others are being told
// of wrong bytes.
func recalled(t *testing.T, h *cache.Handle, want content) {
	t.Helper()
	for range 5000 {
		if err := readAt(t, h, want, 0, 1); !errors.Is(err, cache.ErrMismatch) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("reads go on failing")
}

// Wrong bytes that were served, and then a source that fails to bring the whole:
// what comes after it proves them wrong.
func TestWrongBytesBeforeAPlacerThatFails(t *testing.T) {
	one := makeContent(t, 64, 3*mib)
	wrong := content{one.key, bytes.Clone(one.data)}
	wrong.data[100] ^= 1
	origin := newFar()
	origin.sources = func(annex.Key) ([]cache.Source, error) {
		return []cache.Source{
			scripted{"forgets ranges", func(off, n int64, w io.Writer) error {
				if off > 0 {
					return wholeOnly{errors.New("no ranges")}
				}
				if n == int64(len(wrong.data)) {
					return errors.New("broken off")
				}
				_, err := w.Write(wrong.data[:n])
				return err
			}},
			scripted{"right", honest(one)},
		}, nil
	}
	told := make(chan string, 10)
	c := open(t, t.TempDir(), cache.Options{Revoke: func(_ annex.Key, dataset string) { told <- dataset }})
	use := func(name string) cache.Use {
		return cache.Use{Origin: origin, Dataset: "ds", Name: name}
	}
	h := mustOpen(t, c, one.key, use("reader"))
	mustReadAt(t, h, wrong, 0, 16*kib)
	var err error
	for off := 16 * kib; err == nil && off < len(one.data); off += 16 * kib {
		_, err = h.ReadAt(context.Background(), make([]byte, 16*kib), int64(off))
	}
	if !errors.Is(err, cache.ErrMismatch) {
		t.Errorf("wrong bytes, and then read to the end: %v", err)
	}
	select {
	case who := <-told:
		if who != "ds" {
			t.Errorf("readers of %q were told", who)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was told")
	}
	fresh := mustOpen(t, c, one.key, use("fresh"))
	recalled(t, fresh, one)
	mustReadAt(t, fresh, one, 0, len(one.data))
}

// What was served of a part that goes unproven is not kept by the kernel.
func TestEvictedPartIsRecalled(t *testing.T) {
	one := makeContent(t, 65, 3*mib)
	told := make(chan struct{})
	c := open(t, t.TempDir(), cache.Options{Revoke: func(annex.Key, string) { close(told) }})
	use := cache.Use{Origin: newFar(one), Name: "x"}
	h := mustOpen(t, c, one.key, use)
	mustReadAt(t, h, one, 0, 16*kib)
	h.Close()
	settle(t, c)
	select {
	case <-told:
		t.Fatal("told while the part is here")
	default:
	}
	if n, _, err := c.Drop(nil); n != 1 || err != nil {
		t.Fatalf("%d dropped, %v", n, err)
	}
	select {
	case <-told:
	case <-time.After(10 * time.Second):
		t.Error("nobody was told")
	}
}

// The rest from elsewhere is as good, if what was served is the same there.
func TestSourceThatDiesInTheMiddle(t *testing.T) {
	one := makeContent(t, 24, 12*mib)
	for how, next := range map[string]cache.Source{
		"ranges": scripted{"second", honest(one)},
		"place":  placing{scripted{"second", honest(one)}},
	} {
		t.Run(how, func(t *testing.T) {
			origin := newFar()
			origin.sources = func(annex.Key) ([]cache.Source, error) {
				return []cache.Source{scripted{"first", func(off, n int64, w io.Writer) error {
					if off+n > 2*mib {
						return errors.New("gone")
					}
					return honest(one)(off, n, w)
				}}, next}, nil
			}
			c := open(t, t.TempDir(), cache.Options{Revoke: func(annex.Key, string) { t.Error("revoked") }})
			h := mustOpen(t, c, one.key, cache.Use{Origin: origin})
			for off := 0; off < len(one.data); off += 128 * kib {
				mustReadAt(t, h, one, off, 128*kib)
			}
		})
	}
}

// wholeOnly is the error of a server that knows no ranges.
type wholeOnly struct{ error }

func (wholeOnly) Unwrap() error { return source.ErrWholeOnly }

func TestSourceWithoutRanges(t *testing.T) {
	one := makeContent(t, 25, 3*mib)
	origin := newFar(one)
	var asked atomic.Int64
	origin.do = func(_ context.Context, _ annex.Key, off, n int64, w io.Writer) error {
		asked.Add(1)
		if off > 0 || n < int64(len(one.data)) {
			return wholeOnly{errors.New("no ranges")}
		}
		_, err := w.Write(one.data)
		return err
	}
	c := open(t, t.TempDir(), cache.Options{})
	h := mustOpen(t, c, one.key, cache.Use{Origin: origin})
	mustReadAt(t, h, one, mib, 4096)
	mustReadAt(t, h, one, 0, 4096)
	if n := asked.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

// A guess that fails is nobody's failure, but wrong bytes are everybody's.
func TestFailedGuess(t *testing.T) {
	one, bad := makeContent(t, 70, 30*kib), makeContent(t, 71, 30*kib)
	down := true
	origin := &far{sources: func(key annex.Key) ([]cache.Source, error) {
		fetch := honest(one)
		if key == bad.key {
			fetch = honest(content{bad.key, make([]byte, len(bad.data))})
		} else if down {
			fetch = func(int64, int64, io.Writer) error { return errors.New("the network is gone") }
		}
		return []cache.Source{scripted{"scripted", fetch}}, nil
	}}
	c := open(t, t.TempDir(), cache.Options{FailureTTL: time.Hour})
	guess := cache.Use{Origin: origin, Speculative: true}
	if err := c.PrefetchHeader(t.Context(), one.key, guess); err == nil {
		t.Fatal("no error without a source")
	}
	if err := c.Fetch(t.Context(), one.key, guess); err == nil {
		t.Fatal("no error without a source")
	}
	if e := c.Status().Errors; len(e) != 0 {
		t.Errorf("failures that nobody waited for are told: %v", e)
	}
	down = false
	mustRead(t, c, one, cache.Use{Origin: origin})
	if err := c.PrefetchHeader(t.Context(), bad.key, guess); err == nil {
		t.Fatal("no error with wrong bytes")
	}
	if e := c.Status().Errors; len(e) != 1 {
		t.Errorf("wrong bytes are not told: %v", e)
	}
}
