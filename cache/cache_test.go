package cache_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// content is a file of a made-up dataset.
type content struct {
	key  annex.Key
	data []byte
}

func makeContent(t testing.TB, seed uint64, size int) content {
	t.Helper()
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	r.Read(data)
	key, err := annex.ParseKey(fmt.Sprintf("SHA256E-s%d--%x.nii.gz", size, sha256.Sum256(data)))
	if err != nil {
		t.Fatal(err)
	}
	return content{key, data}
}

// far is an origin of contents that counts what is asked of it.
type far struct {
	mu       sync.Mutex
	contents map[annex.Key][]byte
	fetches  map[annex.Key]int
	bytes    atomic.Int64
	// do, when set, replaces the plain transfer of bytes [off, off+n).
	do func(ctx context.Context, key annex.Key, off, n int64, w io.Writer) error
	// sources, when set, replaces the one source.
	sources func(key annex.Key) ([]cache.Source, error)
}

func newFar(contents ...content) *far {
	f := &far{contents: make(map[annex.Key][]byte), fetches: make(map[annex.Key]int)}
	for _, c := range contents {
		f.contents[c.key] = c.data
	}
	return f
}

func (f *far) Sources(_ context.Context, key annex.Key) ([]cache.Source, error) {
	if f.sources != nil {
		return f.sources(key)
	}
	return []cache.Source{&place{f, key}}, nil
}

func (f *far) count(key annex.Key) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fetches[key]
}

type place struct {
	f   *far
	key annex.Key
}

func (p *place) String() string { return "far" }
func (p *place) Exact() bool    { return true }
func (p *place) Fetch(ctx context.Context, off, n int64, w io.Writer) error {
	p.f.mu.Lock()
	p.f.fetches[p.key]++
	data, do := p.f.contents[p.key], p.f.do
	p.f.mu.Unlock()
	if do != nil {
		return do(ctx, p.key, off, n, w)
	}
	written, err := w.Write(data[off : off+n])
	p.f.bytes.Add(int64(written))
	return err
}

// memory is a ledger.
type memory struct {
	mu      sync.Mutex
	records map[annex.Key]cache.Record
}

func (m *memory) Load(fn func(cache.Record)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.records {
		fn(r)
	}
	return nil
}

func (m *memory) Save(put []cache.Record, del []annex.Key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records == nil {
		m.records = make(map[annex.Key]cache.Record)
	}
	for _, k := range del {
		delete(m.records, k)
	}
	for _, r := range put {
		m.records[r.Key] = r
	}
	return nil
}

func open(t testing.TB, dir string, o cache.Options) *cache.Cache {
	t.Helper()
	if o.Floor == 0 {
		o.Floor = -1
	}
	c, err := cache.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func readAll(c *cache.Cache, key annex.Key, use cache.Use) ([]byte, error) {
	h, err := c.Open(key, use)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	buf := make([]byte, h.Size())
	n, err := h.ReadAt(context.Background(), buf, 0)
	if err == io.EOF && int64(n) == h.Size() {
		err = nil
	}
	return buf[:n], err
}

func mustRead(t testing.TB, c *cache.Cache, want content, use cache.Use) {
	t.Helper()
	got, err := readAll(c, want.key, use)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.data) {
		t.Fatal("wrong bytes")
	}
}

// diskUse sums the blocks of the cache's contents in bytes.
func diskUse(dir string) (sum int64) {
	for _, sub := range []string{"objects", "partial"} {
		filepath.WalkDir(filepath.Join(dir, sub), func(_ string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return nil
			}
			if info, err := e.Info(); err == nil {
				sum += info.Sys().(*syscall.Stat_t).Blocks * 512
			}
			return nil
		})
	}
	return sum
}

// ownFileSystem returns a directory, and how many bytes are in use there. A
// walk over the files would not do to watch the budget: while it goes on, one
// file is evicted and another allocated. Without root the use is always 0.
func ownFileSystem(t *testing.T) (dir string, used func() int64) {
	dir = t.TempDir()
	if os.Geteuid() != 0 || syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m") != nil {
		t.Log("cannot mount a tmpfs: the disk is not watched, only the books")
		return dir, func() int64 { return 0 }
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir, func() int64 {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Error(err)
		}
		return int64(st.Blocks-st.Bfree) * st.Bsize
	}
}

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

func TestWrongBytesAreNeverServed(t *testing.T) {
	one := makeContent(t, 4, 50_000)
	harm := map[string]func(w io.Writer) error{
		"flipped": func(w io.Writer) error {
			b := bytes.Clone(one.data)
			b[40_000] ^= 1
			_, err := w.Write(b)
			return err
		},
		"short": func(w io.Writer) error { _, err := w.Write(one.data[:49_999]); return err },
		"wrong, and long": func(w io.Writer) error {
			w.Write(make([]byte, 50_000))
			_, err := w.Write([]byte{0})
			return err
		},
		"nothing":  func(io.Writer) error { return nil },
		"an error": func(io.Writer) error { return errors.New("no") },
		"wrong, then late": func(w io.Writer) error {
			w.Write(make([]byte, 50_000))
			go func() { time.Sleep(time.Millisecond); w.Write(one.data) }()
			return nil
		},
	}
	for how, do := range harm {
		t.Run(how, func(t *testing.T) {
			origin := newFar(one)
			origin.do = func(_ context.Context, _ annex.Key, off, n int64, w io.Writer) error {
				if off > 0 { // a resumed attempt
					_, err := w.Write(bytes.Repeat([]byte{7}, int(n)))
					return err
				}
				return do(w)
			}
			dir := t.TempDir()
			c := open(t, dir, cache.Options{Forget: time.Nanosecond})
			for range 2 {
				got, err := readAll(c, one.key, cache.Use{Origin: origin, Name: "one"})
				var failed *cache.FetchError
				if len(got) > 0 || !errors.As(err, &failed) {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
				if len(c.Status().Errors) == 0 {
					t.Error("the failure is not in the status")
				}
			}
			// The source mends: nothing of before stands in the way.
			origin.mu.Lock()
			origin.do = nil
			origin.mu.Unlock()
			mended := func() error {
				got, err := readAll(c, one.key, cache.Use{Origin: origin, Name: "one"})
				if err == nil && !bytes.Equal(got, one.data) {
					t.Fatal("wrong bytes")
				}
				return err
			}
			for err := mended(); err != nil; err = mended() {
				time.Sleep(time.Millisecond)
			}
		})
	}
}

func TestObjectsDamagedAtRest(t *testing.T) {
	one := makeContent(t, 5, 50_000)
	harm := map[string]func(path string) error{
		"removed":   os.Remove,
		"truncated": func(p string) error { return rewrite(p, one.data[:100]) },
		"emptied":   func(p string) error { return rewrite(p, nil) },
		"longer":    func(p string) error { return rewrite(p, append(bytes.Clone(one.data), 1)) },
		"flipped": func(p string) error {
			b := bytes.Clone(one.data)
			b[7] ^= 0x80
			return rewrite(p, b)
		},
		"replaced by a directory": func(p string) error { return errors.Join(os.Remove(p), os.MkdirAll(p+"/full", 0o755)) },
		"replaced by a symlink":   func(p string) error { return errors.Join(os.Remove(p), os.Symlink("/etc/passwd", p)) },
		"write-protected":         func(p string) error { return os.Chmod(filepath.Dir(p), 0o555) },
	}
	for how, do := range harm {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/restart=%v", how, restart), func(t *testing.T) {
				origin := newFar(one)
				use := cache.Use{Origin: origin, Name: "one"}
				dir := t.TempDir()
				ledger := &memory{}
				c := open(t, dir, cache.Options{Ledger: ledger})
				mustRead(t, c, one, use)
				path := filepath.Join(dir, "objects", one.key.ObjectPath())
				if restart {
					c.Close()
				}
				if err := do(path); err != nil {
					t.Fatal(err)
				}
				if restart {
					c = open(t, dir, cache.Options{Ledger: ledger})
				}
				if how == "replaced by a directory" {
					// Not ours by its shape: not touched, but told.
					if _, err := readAll(c, one.key, use); err == nil {
						t.Error("read a directory")
					}
					return
				}
				mustRead(t, c, one, use)
				mustRead(t, c, one, use)
				if _, _, err := c.Drop(nil); err != nil {
					t.Error(err)
				}
				if n := diskUse(dir); n != 0 {
					t.Errorf("%d bytes left", n)
				}
			})
		}
	}
}

func rewrite(path string, data []byte) error {
	return errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, data, 0o644))
}

// After a kill the ledger may know nothing: what is there is hashed first.
func TestUnknownObjectIsHashedBeforeItIsServed(t *testing.T) {
	one := makeContent(t, 6, 200_000)
	origin := newFar(one)
	dir := t.TempDir()
	c := open(t, dir, cache.Options{})
	mustRead(t, c, one, cache.Use{Origin: origin})
	c.Close()
	c = open(t, dir, cache.Options{})
	h, err := c.Open(one.key, cache.Use{})
	if err != nil {
		t.Fatal(err)
	}
	if h.File() != nil {
		t.Error("an unknown object is served unseen")
	}
	h.Close()
	mustRead(t, c, one, cache.Use{})
	if n := origin.count(one.key); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

func TestOpenAndPinnedAreNotEvicted(t *testing.T) {
	a, b, d := makeContent(t, 7, 40_960), makeContent(t, 8, 40_960), makeContent(t, 9, 40_960)
	origin := newFar(a, b, d)
	use := cache.Use{Origin: origin, Name: "x"}
	dir := t.TempDir()
	c := open(t, dir, cache.Options{Budget: 2 * 40_960, RoomWait: 50 * time.Millisecond, Forget: time.Nanosecond})
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

func TestUnverifiableKeysAreRefused(t *testing.T) {
	c := open(t, t.TempDir(), cache.Options{})
	for _, s := range []string{"URL-s5--http&c%%x", "WORM-s5-m1--x", "SHA256E--" + fmt.Sprintf("%064d", 0), "MD5-s5--abc", "XFOO-s5--00"} {
		key, err := annex.ParseKey(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Open(key, cache.Use{}); !errors.Is(err, cache.ErrUnverifiable) {
			t.Errorf("%s: %v", s, err)
		}
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
