package cache_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// inPlaceFile makes a file with a content in a directory of its own.
func inPlaceFile(t *testing.T, c content) string {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, c.data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func readInPlace(t *testing.T, c *cache.Cache, key annex.Key, path string) ([]byte, error) {
	t.Helper()
	l, err := c.OpenInPlace(key, path)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	size, _ := key.Size()
	buf := make([]byte, size)
	n, err := l.ReadAt(t.Context(), buf, 0)
	if err == io.EOF {
		err = nil
	}
	return buf[:n], err
}

// Each file in place is vouched for by its own bytes, not by those of another
// with the same name.
func TestInPlaceEachFileIsHashed(t *testing.T) {
	one := makeContent(t, 304, 100*kib)
	right, damaged := inPlaceFile(t, one), inPlaceFile(t, flipped(one, 7))
	c := open(t, t.TempDir(), cache.Options{})
	done := make(chan struct{}, 16)
	for i := range 16 {
		go func() {
			defer func() { done <- struct{}{} }()
			path := []string{right, damaged}[i%2]
			got, err := readInPlace(t, c, one.key, path)
			if (err == nil) != (path == right) || err == nil && !bytes.Equal(got, one.data) {
				t.Errorf("%s: %d bytes, %v", path, len(got), err)
			}
		}()
	}
	for range 16 {
		<-done
	}
	// Both are known from now on, in turns: nothing is hashed again.
	other := inPlaceFile(t, one)
	for _, path := range []string{right, other, right, other} {
		readInPlace(t, c, one.key, path)
	}
	for _, path := range []string{right, other, right} {
		l, err := c.OpenInPlace(one.key, path)
		if err != nil {
			t.Fatal(err)
		}
		if l.File() == nil {
			t.Error("it would be hashed again")
		}
		l.Close()
	}
	if _, err := c.OpenInPlace(one.key, damaged); !errors.Is(err, cache.ErrMismatch) {
		t.Errorf("known to be wrong, and opened: %v", err)
	}
}

// A file that was changed in place is noticed although its mtime was set back,
// also while it is open.
func TestInPlaceChangeWithRestoredTime(t *testing.T) {
	one := makeContent(t, 305, 100*kib)
	path := inPlaceFile(t, one)
	c := open(t, t.TempDir(), cache.Options{})
	if got, err := readInPlace(t, c, one.key, path); err != nil || !bytes.Equal(got, one.data) {
		t.Fatal(err)
	}
	l, err := c.OpenInPlace(one.key, path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte{one.data[9] ^ 1}, 9)
	f.Close()
	if err := os.Chtimes(path, st.ModTime(), st.ModTime()); err != nil {
		t.Fatal(err)
	}
	if n, err := l.ReadAt(t.Context(), make([]byte, 100), 0); err == nil {
		t.Errorf("%d bytes of the changed file were served", n)
	}
	if l.File() != nil {
		t.Error("the changed file is passed through")
	}
	if err := l.Same(); !errors.Is(err, cache.ErrMismatch) {
		t.Errorf("a copy of it would be taken for right: %v", err)
	}
	if got, err := readInPlace(t, c, one.key, path); err == nil {
		t.Errorf("%d bytes of the changed file were served", len(got))
	}
}
