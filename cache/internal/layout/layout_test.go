package layout

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/cache/internal/proof"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

func newStore(t *testing.T) Store {
	t.Helper()
	s := Store{disk.OS{}, t.TempDir()}
	if err := s.Make(); err != nil {
		t.Fatal(err)
	}
	return s
}

// hello is a key, and its content.
func hello(t *testing.T) (annex.Key, string) {
	t.Helper()
	key, err := annex.ParseKey("MD5E-s5--5d41402abc4b2a76b9719d911017c592.nii.gz")
	if err != nil {
		t.Fatal(err)
	}
	return key, "hello"
}

func (s Store) put(t *testing.T, content string) (path string) {
	t.Helper()
	path = filepath.Join(s.Partials(), "it")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (s Store) publish(t *testing.T, key annex.Key, content string) {
	t.Helper()
	if err := s.Publish(key, s.put(t, content)); err != nil {
		t.Fatal(err)
	}
}

// What is published lies where git-annex looks for it, and goes with the
// directories that held only it.
func TestPublishAndRemove(t *testing.T) {
	s := newStore(t)
	key, content := hello(t)
	s.publish(t, key, content)
	path := s.Object(key)
	if rel, _ := filepath.Rel(s.Objects(), path); filepath.Base(filepath.Dir(rel)) != key.FileName() || filepath.Base(rel) != key.FileName() {
		t.Errorf("it lies at %s", rel)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != content {
		t.Errorf("%q, %v", got, err)
	}
	// git-annex protects an object's directory.
	if err := os.Chmod(filepath.Dir(path), 0o555); err != nil {
		t.Fatal(err)
	}
	s.publish(t, key, content)
	if err := s.RemoveObject(key, false); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(s.Objects()); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if err := s.RemoveObject(key, false); err != nil {
		t.Errorf("once more: %v", err)
	}
}

func TestSetAside(t *testing.T) {
	s := newStore(t)
	key, content := hello(t)
	s.publish(t, key, content)
	if err := s.RemoveObject(key, true); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(s.SetAside(key)); err != nil || string(got) != content {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Lstat(s.Object(key)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still an object: %v", err)
	}
}

func TestObjectsAreLookedAt(t *testing.T) {
	s := newStore(t)
	key, content := hello(t)
	if _, err := s.Check(t.Context(), key, 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	s.publish(t, key, content)
	info, err := s.Check(t.Context(), key, 5)
	if err != nil || info.Size != 5 {
		t.Errorf("%+v, %v", info, err)
	}
	if err := s.Flush(key, 5, info.ID); err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Check(ended, key, 5); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	s.publish(t, key, "hullo")
	if _, err := s.Check(t.Context(), key, 5); !errors.Is(err, proof.ErrWrong) {
		t.Errorf("wrong bytes: %v", err)
	}
	if err := s.Flush(key, 5, info.ID); !errors.Is(err, proof.ErrChanged) || !errors.Is(err, ErrUnopened) {
		t.Errorf("a flush of another file: %v", err)
	}
	s.publish(t, key, "hell")
	f, _, err := s.OpenObject(key, 5)
	if !errors.Is(err, proof.ErrWrong) {
		t.Errorf("a wrong size: %v", err)
	}
	if f != nil {
		f.Close()
	}
}

// blind is a disk on which nothing can be looked at.
type blind struct{ disk.OS }

func (blind) Stat(string) (disk.Info, error) { return disk.Info{}, fs.ErrPermission }

func TestPartialFilesAreGone(t *testing.T) {
	s := newStore(t)
	key, _ := hello(t)
	file := partial.New(s, s.Partials(), partial.Ident{Key: key, Dataset: "ds"}, 5)
	name := file.Ident.Name()
	if !s.IsGone(name) || s.Left(name) != 0 {
		t.Error("something is there")
	}
	for _, path := range []string{filepath.Join(s.Partials(), name), partial.MapPath(filepath.Join(s.Partials(), name)), s.Placed(name)} {
		if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
			t.Fatal(err)
		}
		if s.IsGone(name) {
			t.Errorf("%s is not seen", path)
		}
		if (Store{blind{}, s.Dir}).IsGone(name) {
			t.Error("what cannot be looked at is gone")
		}
		if err := s.RemoveFill(file); err != nil || !s.IsGone(name) {
			t.Errorf("%s stays: %v", path, err)
		}
	}
}

func TestCharges(t *testing.T) {
	for _, size := range []int64{0, 1, 4096, 4097, 1 << 20, 1<<20 + 1, 1 << 30} {
		if c := Charge(size); c < size || c%disk.Block != 0 || c > size+size>>9+8*disk.Block {
			t.Errorf("%d bytes are charged %d", size, c)
		}
	}
	if c := ChargePart(partial.Interval{Off: 5000, End: 9000}); c < 2*disk.Block || c%disk.Block != 0 {
		t.Errorf("a part is charged %d", c)
	}
}
