package proof

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

func parse(t *testing.T, text string) annex.Key {
	t.Helper()
	key, err := annex.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

const hello = "MD5E-s5--5d41402abc4b2a76b9719d911017c592.nii"

func TestSize(t *testing.T) {
	if n, err := Size(parse(t, hello)); n != 5 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for _, text := range []string{"MD5E--5d41402abc4b2a76b9719d911017c592.nii", "WORM-s5-m1--x", "URL-s5--http&c%%x"} {
		if n, err := Size(parse(t, text)); !errors.Is(err, ErrUnverifiable) {
			t.Errorf("%s: %d, %v", text, n, err)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// changing is a disk whose files are changed while they are read.
type changing struct {
	disk.OS
	read func()
}

type changingFile struct {
	disk.File
	d *changing
}

func (d *changing) Open(path string) (disk.File, error) {
	f, err := d.OS.Open(path)
	return changingFile{f, d}, err
}

func (f changingFile) ReadAt(p []byte, off int64) (int, error) {
	if f.d.read != nil {
		f.d.read()
	}
	return f.File.ReadAt(p, off)
}

func TestCompare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	d := &changing{}
	compare := func(ctx context.Context, text string, key annex.Key) error {
		t.Helper()
		write(t, path, text)
		f, err := d.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return Compare(ctx, f, info.ID, key)
	}
	key := parse(t, hello)
	if err := compare(t.Context(), "hello", key); err != nil {
		t.Error(err)
	}
	if err := compare(t.Context(), "hullo", key); !errors.Is(err, ErrWrong) {
		t.Errorf("wrong: %v", err)
	}
	if err := compare(t.Context(), "hello", parse(t, "WORM-s5-m1--x")); !errors.Is(err, ErrUnverifiable) {
		t.Errorf("without a hash: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := compare(ended, string(bytes.Repeat([]byte("x"), 3*hashChunk)), key); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	d.read = func() {
		d.read = nil
		os.Chtimes(path, time.Time{}, time.Unix(1, 0))
	}
	if err := compare(t.Context(), "hello", key); !errors.Is(err, ErrChanged) {
		t.Errorf("changed while it was read: %v", err)
	}
}

func files(t *testing.T, ctx context.Context, d disk.Disk) *Files {
	var work sync.WaitGroup
	t.Cleanup(work.Wait)
	return &Files{Disk: d, Context: ctx, Spawn: func(_ string, fn func(), _ func(error)) { work.Go(fn) }}
}

// A file is hashed once, for all who read it, and again when it is another one.
func TestInPlaceIsProvenOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "hello")
	hashes := 0
	d := &changing{read: func() { hashes++ }}
	fs := files(t, t.Context(), d)
	for range 3 {
		l, err := fs.Open(parse(t, hello), path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		l.Close()
	}
	first := hashes
	if first == 0 {
		t.Fatal("it was never read")
	}
	write(t, path, "hullo")
	l, err := fs.Open(parse(t, hello), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Wait(t.Context()); !errors.Is(err, ErrWrong) || hashes == first {
		t.Errorf("another file: %v after %d more reads", err, hashes-first)
	}
	l.Close()
	if _, err := fs.Open(parse(t, hello), path); !errors.Is(err, ErrWrong) {
		t.Errorf("known to be wrong: %v", err)
	}
	write(t, path, "hell")
	if _, err := fs.Open(parse(t, hello), path); !errors.Is(err, ErrWrong) {
		t.Errorf("of a wrong size: %v", err)
	}
}

// What another cache vouches for is not hashed; another file than that is. Links that come
// and go change nothing.
func TestBorrowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "hello")
	hashes := 0
	d := &changing{read: func() { hashes++ }}
	fs := files(t, t.Context(), d)
	borrow := func(vouched func() (disk.ID, bool)) *InPlace {
		t.Helper()
		l, err := fs.Borrow(parse(t, hello), path, vouched)
		if err != nil {
			t.Fatal(err)
		}
		if !l.IsLent() {
			t.Error("it is not lent")
		}
		return l
	}
	info, err := d.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	l := borrow(func() (disk.ID, bool) { return info.ID, true })
	defer l.Close()
	if l.File() == nil {
		t.Error("what is vouched for is not believed")
	}
	if _, err := l.Wait(t.Context()); err != nil || hashes != 0 {
		t.Errorf("%v after %d reads", err, hashes)
	}
	if err := errors.Join(os.Link(path, path+".link"), os.Remove(path)); err != nil {
		t.Fatal(err)
	}
	if err := l.Same(); err != nil || l.File() == nil {
		t.Errorf("after a link and a removal: %v", err)
	}
	write(t, path, "hullo")
	for _, vouched := range []func() (disk.ID, bool){
		func() (disk.ID, bool) { return info.ID, true }, // of the file that was there
		func() (disk.ID, bool) { return disk.ID{}, false },
	} {
		if l, err := fs.Borrow(parse(t, hello), path, vouched); err == nil {
			if _, err = l.Wait(t.Context()); !errors.Is(err, ErrWrong) {
				t.Errorf("another file: %v", err)
			}
			l.Close()
		} else if !errors.Is(err, ErrWrong) {
			t.Error(err)
		}
	}
	if hashes == 0 {
		t.Error("it was never read")
	}
}

// Who leaves does not end a check; the end of everything does, and says so.
func TestInPlaceAtTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "hello")
	errOver := errors.New("over")
	ctx, end := context.WithCancelCause(context.Background())
	defer end(nil)
	begun, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	d := &changing{read: func() { once.Do(func() { close(begun) }); <-goOn }}
	fs := files(t, ctx, d)
	l, err := fs.Open(parse(t, hello), path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asking, leave := context.WithCancel(t.Context())
	go func() { <-begun; leave() }()
	if _, err := l.Wait(asking); !errors.Is(err, context.Canceled) {
		t.Errorf("who leaves: %v", err)
	}
	close(goOn)
	if _, err := l.Wait(t.Context()); err != nil {
		t.Errorf("who comes then: %v", err)
	}
	end(errOver)
	if _, err := l.Wait(t.Context()); !errors.Is(err, errOver) {
		t.Errorf("at the end: %v", err)
	}
}
