package cache_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// refusing is a disk that does not take the data of one fsync. The kernel keeps
// them in its memory for a while, and calls the next fsync a success: fsync(2).
type refusing struct {
	disk.OS
	refuse   atomic.Bool
	loses    bool // what was to be written; else it is on the disk all the same
	uncached atomic.Int32
}

type refusedFile struct {
	disk.File
	d *refusing
}

func (d *refusing) Open(path string) (disk.File, error) {
	f, err := d.OS.Open(path)
	if err != nil || !strings.Contains(path, "/objects/") {
		return f, err
	}
	return refusedFile{f, d}, nil
}

func (f refusedFile) Sync() error {
	if !f.d.refuse.CompareAndSwap(true, false) {
		return f.File.Sync()
	}
	if f.d.loses {
		path := f.File.OS().Name()
		if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, make([]byte, 300*kib), 0o600)); err != nil {
			return err
		}
	}
	return syscall.EIO
}

func (f refusedFile) Uncache() error {
	f.d.uncached.Add(1)
	return f.File.Uncache()
}

func (f refusedFile) OS() *os.File { return f.File.OS() }

// What the disk refused is not vouched for: what it holds is hashed, and comes
// again where it is not the content.
func TestRefusedDataAreNotTrusted(t *testing.T) {
	for name, loses := range map[string]bool{"written all the same": false, "lost": true} {
		t.Run(name, func(t *testing.T) {
			one := makeContent(t, 440, 300*kib)
			d := &refusing{loses: loses}
			d.refuse.Store(true)
			origin := newFar(one)
			c := open(t, t.TempDir(), cache.WithDisk(cache.Options{Budget: 20 * mib}, d))
			use := cache.Use{Origin: origin}
			if err := c.Fetch(t.Context(), one.key, use); err != nil {
				t.Fatal(err)
			}
			keys := []annex.Key{one.key}
			if err := c.Flush(t.Context(), keys); !errors.Is(err, syscall.EIO) {
				t.Errorf("flushed, or %v", err)
			}
			if err := c.Flush(t.Context(), keys); err != nil { // waits until it is hashed
				t.Error(err)
			}
			h := mustOpen(t, c, one.key, use)
			mustReadAt(t, h, one, 0, len(one.data))
			want := 1
			if loses {
				want = 2
			}
			if got := origin.count(one.key); got != want {
				t.Errorf("fetched %d times, want %d", got, want)
			}
			if d.uncached.Load() == 0 {
				t.Error("it was hashed in the kernel's memory")
			}
			if err := c.Flush(t.Context(), keys); err != nil {
				t.Error(err)
			}
		})
	}
}

// blind is a disk that fails in reading and flushing when it is told.
type blind struct {
	disk.OS
	now atomic.Bool
}

func (d *blind) Open(path string) (disk.File, error) {
	if d.now.Load() && filepath.Base(path) == "pins" {
		return nil, syscall.EIO
	}
	return d.OS.Open(path)
}

func (d *blind) SyncDir(dir string) error {
	if d.now.Load() {
		return syscall.EIO
	}
	return d.OS.SyncDir(dir)
}

// A pin that was promised is not given up for one that cannot be: where the list
// cannot be read at the moment, the one before it says nothing.
func TestPinsThatCannotBeReadStay(t *testing.T) {
	d := &blind{}
	dir := t.TempDir()
	c := open(t, dir, cache.WithDisk(cache.Options{Budget: 20 * mib}, d))
	a, b := makeContent(t, 441, 100).key, makeContent(t, 442, 100).key
	for _, key := range []annex.Key{a, b} { // the list before has the first one only
		if err := c.Pin([]annex.Key{key}); err != nil {
			t.Fatal(err)
		}
	}
	d.now.Store(true)
	if err := c.Pin([]annex.Key{b}); !errors.Is(err, syscall.EIO) {
		t.Errorf("pinned, or %v", err)
	}
	if len(c.Pins()) != 2 {
		t.Errorf("%d pins are left of 2", len(c.Pins()))
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := cache.Open(dir, cache.WithDisk(cache.Options{Budget: 20 * mib}, d)); !errors.Is(err, syscall.EIO) {
		t.Errorf("it starts without its pins, or %v", err)
	}
	d.now.Store(false)
	if c := open(t, dir, cache.Options{Budget: 20 * mib}); len(c.Pins()) != 2 {
		t.Errorf("%d pins are left of 2", len(c.Pins()))
	}
}

// gated is a disk on which nothing below partial can be removed or looked at
// when it is told.
type gated struct {
	disk.OS
	now atomic.Bool
}

func (d *gated) refuses(path string) bool {
	return d.now.Load() && strings.Contains(path, "/partial/")
}

func (d *gated) Stat(path string) (disk.Info, error) {
	if d.refuses(path) {
		return disk.Info{}, syscall.EIO
	}
	return d.OS.Stat(path)
}

func (d *gated) Remove(path string) error {
	if d.refuses(path) {
		return syscall.EIO
	}
	return d.OS.Remove(path)
}

// What cannot be removed, nor looked at, stays on the books.
func TestWhatCannotBeLookedAtStaysOnTheBooks(t *testing.T) {
	d := &gated{}
	one := makeContent(t, 443, 3*mib)
	c := open(t, t.TempDir(), cache.WithDisk(cache.Options{Budget: 20 * mib}, d))
	h := mustOpen(t, c, one.key, cache.Use{Origin: newFar(one), NoReadAhead: true})
	mustReadAt(t, h, one, 0, 64*kib)
	h.Close()
	before := settle(t, c).Used
	if before == 0 {
		t.Fatal("nothing of it was kept")
	}
	d.now.Store(true)
	if _, _, err := c.DropKey(one.key, ""); !errors.Is(err, syscall.EIO) {
		t.Errorf("dropped, or %v", err)
	}
	if got := c.Status().Used; got != before {
		t.Errorf("%d bytes are on the books of %d", got, before)
	}
	d.now.Store(false)
}
