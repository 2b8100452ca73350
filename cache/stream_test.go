package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

const kib, mib = 1 << 10, 1 << 20

// readAt reads one piece and compares it.
func readAt(t testing.TB, h *cache.Handle, want content, off, n int) error {
	t.Helper()
	buf := make([]byte, n)
	got, err := h.ReadAt(context.Background(), buf, int64(off))
	if got != n {
		return errors.Join(err, io.ErrUnexpectedEOF)
	}
	if !bytes.Equal(buf, want.data[off:off+n]) {
		t.Fatalf("wrong bytes at %d", off)
	}
	return nil
}

func mustReadAt(t testing.TB, h *cache.Handle, want content, off, n int) {
	t.Helper()
	if err := readAt(t, h, want, off, n); err != nil {
		t.Fatalf("%d bytes at %d: %v", n, off, err)
	}
}

func mustOpen(t testing.TB, c *cache.Cache, key annex.Key, use cache.Use) *cache.Handle {
	t.Helper()
	h, err := c.Open(key, use)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// settle waits until nothing is under way.
func settle(t testing.TB, c *cache.Cache) cache.Status {
	t.Helper()
	for range 5000 {
		if s := c.Status(); s.Reserved == 0 && len(s.Transfers) == 0 {
			return s
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("something goes on: %+v", c.Status())
	return cache.Status{}
}

// A look at a header costs little of the file.
func TestHeaderCostsAWindow(t *testing.T) {
	one := makeContent(t, 20, 3600*kib)
	origin := newFar(one)
	dir := t.TempDir()
	c := open(t, dir, cache.Options{})
	h := mustOpen(t, c, one.key, cache.Use{Origin: origin})
	for off := 0; off < 48*kib; off += 16 * kib {
		mustReadAt(t, h, one, off, 16*kib)
	}
	h.Close()
	s := settle(t, c)
	if n := origin.bytes.Load(); n != 80*kib {
		t.Errorf("%d bytes were fetched", n)
	}
	if s.Partials != 1 || s.Reserved != 0 || s.Used != diskUse(dir) || s.Used > 96*kib {
		t.Errorf("%d partial files; used %d, reserved %d; on disk %d", s.Partials, s.Used, s.Reserved, diskUse(dir))
	}
	// The next look costs nothing, and reading on not more than the rest.
	h = mustOpen(t, c, one.key, cache.Use{Origin: origin})
	mustReadAt(t, h, one, 0, 48*kib)
	if n := origin.bytes.Load(); n != 80*kib {
		t.Errorf("%d bytes were fetched", n)
	}
	mustRead(t, c, one, cache.Use{Origin: origin})
	h.Close()
	settle(t, c)
	if n := origin.bytes.Load(); n != int64(len(one.data)) {
		t.Errorf("%d bytes were fetched of %d", n, len(one.data))
	}
}

// A glance brings what a look at the header will read, and never more.
func TestPrefetchHeader(t *testing.T) {
	small, large, versionless, given := makeContent(t, 60, 30*kib), makeContent(t, 61, 3*mib), makeContent(t, 62, 3*mib), makeContent(t, 63, 3*mib)
	origin := newFar(small, large, versionless, given)
	c := open(t, t.TempDir(), cache.Options{})
	glance := func(one content, use cache.Use) {
		t.Helper()
		if err := c.PrefetchHeader(context.Background(), one.key, use); err != nil {
			t.Fatal(err)
		}
	}
	use := cache.Use{Origin: origin}
	for range 2 {
		glance(small, use)
		glance(large, use)
	}
	settle(t, c)
	if n := origin.bytes.Load(); n != 30*kib+80*kib {
		t.Errorf("%d bytes were fetched", n)
	}
	h := mustOpen(t, c, large.key, use)
	mustReadAt(t, h, large, 0, 48*kib)
	h.Close()
	if s := settle(t, c); s.Objects != 1 || s.Partials != 1 || origin.bytes.Load() != 110*kib {
		t.Errorf("%d bytes were fetched; %+v", origin.bytes.Load(), s)
	}
	// Where only the whole can be had, nothing is.
	whole := &far{sources: func(key annex.Key) ([]cache.Source, error) {
		return []cache.Source{inexact{scripted{"versionless", honest(versionless)}, false}}, nil
	}}
	glance(versionless, cache.Use{Origin: whole})
	placed := &far{sources: func(key annex.Key) ([]cache.Source, error) {
		return []cache.Source{placing{scripted{"placing", honest(given)}}}, nil
	}}
	glance(given, cache.Use{Origin: placed})
	glance(versionless, cache.Use{Origin: origin, Strict: true})
	if s := settle(t, c); s.Objects != 1 || s.Partials != 1 {
		t.Errorf("a glance brought a large file: %+v", s)
	}
	// Readers of such files are not held up by it.
	mustRead(t, c, given, cache.Use{Origin: placed})
	mustRead(t, c, versionless, cache.Use{Origin: whole})
	if s := c.Status(); s.Hits != 0 || s.Misses != 3 {
		t.Errorf("%d hits, %d misses", s.Hits, s.Misses)
	}
}

// Readers get bytes while the rest is still on its way, and the end only when
// all was verified.
func TestBytesAreServedAsTheyArrive(t *testing.T) {
	one := makeContent(t, 21, 3*mib)
	origin := newFar(one)
	var allowed atomic.Int64
	more := sync.NewCond(&sync.Mutex{})
	allow := func(n int64) { more.L.Lock(); allowed.Store(n); more.L.Unlock(); more.Broadcast() }
	origin.do = func(_ context.Context, _ annex.Key, off, n int64, w io.Writer) error {
		for n > 0 {
			more.L.Lock()
			for allowed.Load() <= off {
				more.Wait()
			}
			step := min(n, allowed.Load()-off)
			more.L.Unlock()
			if _, err := w.Write(one.data[off : off+step]); err != nil {
				return err
			}
			off, n = off+step, n-step
		}
		return nil
	}
	c := open(t, t.TempDir(), cache.Options{})
	h := mustOpen(t, c, one.key, cache.Use{Origin: origin})
	for off := 0; off+32*kib <= 3*mib-64*kib; off += 32 * kib {
		allow(int64(off + 32*kib))
		mustReadAt(t, h, one, off, 32*kib)
	}
	allow(3*mib - 1)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if n, err := h.ReadAt(ctx, make([]byte, 10), 3*mib-64*kib); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%d bytes of the end were served unverified: %v", n, err)
	}
	allow(3 * mib)
	mustReadAt(t, h, one, 3*mib-64*kib, 64*kib)
	if c.State(one.key).Presence != cache.Cached {
		t.Error("read to the end, and not there")
	}
}

// What must not be served before it is verified is not.
func TestStrictServesNothingBeforeTheEnd(t *testing.T) {
	one := makeContent(t, 22, 3*mib)
	for how, strict := range map[string]bool{"a strict reader": true, "a source without version": false} {
		t.Run(how, func(t *testing.T) {
			origin := newFar(one)
			var sent atomic.Bool
			do := func(_ context.Context, _ annex.Key, off, n int64, w io.Writer) error {
				_, err := w.Write(one.data[off : off+n])
				if off+n == int64(len(one.data)) {
					sent.Store(true)
				}
				return err
			}
			origin.do = do
			origin.sources = func(key annex.Key) ([]cache.Source, error) {
				p := &place{origin, key}
				return []cache.Source{inexact{scripted{"far", func(off, n int64, w io.Writer) error { return p.Fetch(context.Background(), off, n, w) }}, strict}}, nil
			}
			c := open(t, t.TempDir(), cache.Options{})
			h := mustOpen(t, c, one.key, cache.Use{Origin: origin, Strict: strict})
			mustReadAt(t, h, one, 0, 10)
			if !sent.Load() || c.State(one.key).Presence != cache.Cached {
				t.Error("served before the whole was there")
			}
		})
	}
}

// copyDir copies what is in the cache's directory at this moment, as a kill
// would leave it.
func copyDir(t *testing.T, from string) string {
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// What has come survives an end of the process, and is not fetched again.
func TestPartialFilesSurvive(t *testing.T) {
	one := makeContent(t, 26, 30*mib)
	origin := newFar(one)
	dir := t.TempDir()
	c := open(t, dir, cache.Options{})
	use := cache.Use{Origin: origin, NoReadAhead: true}
	h := mustOpen(t, c, one.key, use)
	spots := []int{0, 7 * mib, 20*mib + 5, 29 * mib}
	for _, off := range spots {
		mustReadAt(t, h, one, off, 100)
	}
	h.Close()
	c.Close()
	fetched := origin.bytes.Load()
	again := copyDir(t, dir)
	c = open(t, again, cache.Options{})
	if s := c.Status(); s.Partials != 1 || s.Used != diskUse(again) {
		t.Errorf("%d partial files of %d bytes; on disk %d", s.Partials, s.Used, diskUse(again))
	}
	h = mustOpen(t, c, one.key, use)
	for _, off := range spots {
		mustReadAt(t, h, one, off, 100)
	}
	if n := origin.bytes.Load(); n != fetched {
		t.Errorf("%d bytes were fetched again", n-fetched)
	}
	if err := c.Fetch(context.Background(), one.key, use); err != nil {
		t.Fatal(err)
	}
	if n := origin.bytes.Load(); n != int64(len(one.data)) {
		t.Errorf("%d bytes were fetched of %d", n, len(one.data))
	}
}

// A map that does not say the truth is not believed; nor is a file without.
func TestDamagedPartialFilesAreFetchedAgain(t *testing.T) {
	one := makeContent(t, 27, 5*mib)
	origin := newFar(one)
	dir := t.TempDir()
	c := open(t, dir, cache.Options{})
	use := cache.Use{Origin: origin}
	h := mustOpen(t, c, one.key, use)
	mustReadAt(t, h, one, 4*mib, 100)
	h.Close()
	c.Close()
	names, err := filepath.Glob(filepath.Join(dir, "partial", "*.map"))
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	mapPath := filepath.Join("partial", filepath.Base(names[0]))
	bytesPath := strings.TrimSuffix(mapPath, ".map")
	whole, err := os.ReadFile(filepath.Join(dir, mapPath))
	if err != nil {
		t.Fatal(err)
	}
	part, err := os.ReadFile(filepath.Join(dir, bytesPath))
	if err != nil {
		t.Fatal(err)
	}
	try := func(how string, part, mapped []byte) {
		again := t.TempDir()
		err := os.MkdirAll(filepath.Join(again, "partial"), 0o700)
		if part != nil {
			err = errors.Join(err, os.WriteFile(filepath.Join(again, bytesPath), part, 0o600))
		}
		if mapped != nil {
			err = errors.Join(err, os.WriteFile(filepath.Join(again, mapPath), mapped, 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := cache.Open(again, cache.Options{Floor: -1})
		if err != nil {
			t.Fatal(err)
		}
		if s := c.Status(); s.Partials != 0 || diskUse(again) != 0 {
			t.Errorf("%s: %d partial files, %d bytes", how, s.Partials, diskUse(again))
		}
		c.Close()
	}
	for at := range whole {
		flipped := bytes.Clone(whole)
		flipped[at] ^= 0x10
		try(fmt.Sprintf("map flipped at %d", at), part, flipped)
		try(fmt.Sprintf("map cut at %d", at), part, whole[:at])
	}
	try("no map", part, nil)
	try("a map alone", nil, whole)
	try("bytes cut short", part[:len(part)-1], whole)
}
