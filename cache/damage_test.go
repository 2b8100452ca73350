package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

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
			c := open(t, dir, cache.Options{FailureTTL: time.Nanosecond})
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
				readAfterRevocation(t, c, one, use)
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

// readAfterRevocation reads; what others may have kept is forgotten first, and
// who reads at that moment is told so.
func readAfterRevocation(t *testing.T, c *cache.Cache, one content, use cache.Use) {
	t.Helper()
	for range 1000 {
		got, err := readAll(c, one.key, use)
		switch {
		case errors.Is(err, cache.ErrMismatch):
			time.Sleep(time.Millisecond)
		case err != nil:
			t.Fatal(err)
		case !bytes.Equal(got, one.data):
			t.Fatal("wrong bytes")
		default:
			return
		}
	}
	t.Fatal("reads go on failing")
}
