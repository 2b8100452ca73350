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

func rewrite(path string, data []byte) error {
	return errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, data, 0o644))
}
