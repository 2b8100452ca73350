package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// InPlace is a file of the user's own that has a key's content: it is read
// where it lies, never copied and never changed. Its name vouches for nothing,
// so it is hashed before it is served for the first time, and again when it is
// another file or was changed. Its methods are safe for concurrent use.
type InPlace struct {
	c    *Cache
	of   provenFile
	path string
	f    disk.File
}

// OpenInPlace opens the file at path, if it has the size of the key's content
// and was not found to be wrong. It reads nothing. An error that [ErrMismatch]
// is says that it is not the content.
func (c *Cache) OpenInPlace(key annex.Key, path string) (*InPlace, error) {
	size, err := verifiable(key)
	if err != nil {
		return nil, err
	}
	f, err := c.store.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size != size {
		err = fmt.Errorf("%w: %s has %d bytes", ErrMismatch, path, info.Size)
	}
	l := &InPlace{c: c, of: provenFile{key, info.ID}, path: path, f: f}
	if err == nil {
		c.do(func() {
			if k := c.proofs.known[l.of]; k != nil && isClosed(k.done) && k.err != nil {
				err = k.err // another source may have it
			}
		})
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// prove returns when the file was found to match its key. The check goes on
// when a reader leaves: the next one will ask again.
func (l *InPlace) prove(ctx context.Context) error {
	c := l.c
	var k *proof
	var begin bool
	c.do(func() {
		if c.closed {
			return
		}
		k, begin = c.proofs.get(l.of)
	})
	switch {
	case k == nil:
		return ErrClosed
	case begin:
		c.spawn("the check of a file in place", func() { l.check(k) }, func(err error) {
			c.do(func() { c.proofs.drop(l.of, k) })
			k.err = err
			close(k.done)
		})
	}
	if err := wait(ctx, k.done); err != nil {
		return err
	}
	return k.err
}

// check compares the file with its key. It opens it for itself, since the one
// who asks may leave.
func (l *InPlace) check(k *proof) {
	c := l.c
	f, err := c.store.Open(l.path)
	if err == nil {
		defer f.Close()
		var info disk.Info
		if info, err = f.Stat(); err == nil && info.ID != l.of.id {
			err = errDemoted
		}
		if err == nil {
			err = compare(c.ctx, f, info.ID, l.of.key)
		}
	}
	if err != nil {
		err = fmt.Errorf("the content in your repository (%s): %w", l.path, err)
		if !errors.Is(err, ErrMismatch) {
			c.do(func() { c.proofs.drop(l.of, k) })
		}
	}
	k.err = err
	close(k.done)
}

// same reports whether the file is still the one that was proven.
func (l *InPlace) same() error {
	info, err := l.f.Stat()
	if err != nil {
		return err
	}
	if info.ID != l.of.id {
		return fmt.Errorf("%w: the file in your repository (%s) was changed while it was open", ErrMismatch, l.path)
	}
	return nil
}

// Wait returns the file when it was found to match its key. It belongs to l
// and is valid until Close. Who has copied it asks Same whether that was the
// content.
func (l *InPlace) Wait(ctx context.Context) (*os.File, error) {
	if err := l.prove(ctx); err != nil {
		return nil, err
	}
	return l.f.OS(), l.same()
}

// Same returns an error when the file was changed since it was opened.
func (l *InPlace) Same() error { return l.same() }

// ReadAt reads like [io.ReaderAt]. The first read waits until the file was
// hashed.
func (l *InPlace) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := l.prove(ctx); err != nil {
		return 0, err
	}
	n, err := l.f.ReadAt(p, off)
	if err != nil && err != io.EOF {
		return 0, err
	}
	// Looked at after the read: what changes later was not read.
	if err := l.same(); err != nil {
		return 0, err
	}
	return n, err
}

// File returns the file for passthrough once it was found to match its key, and
// as long as nobody can have changed it since.
func (l *InPlace) File() *os.File {
	known := false
	l.c.do(func() {
		k := l.c.proofs.known[l.of]
		known = k != nil && isClosed(k.done) && k.err == nil
	})
	if known && l.same() == nil {
		return l.f.OS()
	}
	return nil
}

// Close closes the file.
func (l *InPlace) Close() error { return l.f.Close() }
