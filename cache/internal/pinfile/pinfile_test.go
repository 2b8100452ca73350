package pinfile

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

func set(t *testing.T, names ...string) map[annex.Key]bool {
	t.Helper()
	all := make(map[annex.Key]bool)
	for _, name := range names {
		key, err := annex.ParseKey(name)
		if err != nil {
			t.Fatal(err)
		}
		all[key] = true
	}
	return all
}

const (
	one = "MD5E-s5--5d41402abc4b2a76b9719d911017c592.nii"
	two = "MD5E-s5--5d41402abc4b2a76b9719d911017c592.a/b %c"
)

func TestSavedIsLoaded(t *testing.T) {
	f := File{disk.OS{}, t.TempDir()}
	if got, err := f.Load(); err != nil || len(got) != 0 {
		t.Errorf("of a new cache: %v, %v", got, err)
	}
	for _, want := range []map[annex.Key]bool{set(t, one), set(t, one, two), set(t), set(t, two)} {
		if err := f.Save(want); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Load(); err != nil || !maps.Equal(got, want) {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
	}
	// What a killed process left of a list is in nobody's way.
	if err := os.WriteFile(filepath.Join(f.Dir, "pins.new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(set(t, one)); err != nil {
		t.Error(err)
	}
}

// Whatever one file became, the list is the last or the one before; what became of
// both is an error.
func TestDamagedLists(t *testing.T) {
	damages := map[string]func(path string) error{
		"gone": os.Remove, "empty": func(p string) error { return os.Truncate(p, 0) },
		"half":  func(p string) error { return os.Truncate(p, 20) },
		"wrong": func(p string) error { return flip(p, 3) }, "wrong at the end": func(p string) error { return flip(p, -5) },
		"other": func(p string) error { return os.WriteFile(p, []byte("# sha256 00\n"), 0o600) },
	}
	for name, damage := range damages {
		f := File{disk.OS{}, t.TempDir()}
		if err := errors.Join(f.Save(set(t, one)), f.Save(set(t, one, two)), damage(f.path())); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Load(); err != nil || !maps.Equal(got, set(t, one)) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		// A damaged list does not take the place of the one before.
		if err := f.Save(set(t, two)); err != nil {
			t.Fatal(err)
		}
		if err := damage(f.path()); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Load(); err != nil || !maps.Equal(got, set(t, one)) {
			t.Errorf("%s, once more: %v, %v", name, got, err)
		}
		if err := damage(f.path() + ".bak"); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Load(); name != "gone" && err == nil {
			t.Errorf("%s, both: %v", name, got)
		}
	}
}

func flip(path string, at int) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if at < 0 {
		at += len(data)
	}
	data[at] ^= 1
	return os.WriteFile(path, data, 0o600)
}

// failing is a disk that fails in one way.
type failing struct {
	disk.OS
	open   error
	create func() error
}

func (d *failing) Open(path string) (disk.File, error) {
	if d.open != nil {
		return nil, d.open
	}
	return d.OS.Open(path)
}

func (d *failing) Create(path string) (disk.File, error) {
	if d.create != nil {
		if err := d.create(); err != nil {
			return nil, err
		}
	}
	return d.OS.Create(path)
}

// That a list cannot be read at the moment says nothing about what is pinned.
func TestListThatCannotBeReadIsAnError(t *testing.T) {
	d := &failing{}
	f := File{d, t.TempDir()}
	if err := f.Save(set(t, one)); err != nil {
		t.Fatal(err)
	}
	d.open = syscall.EMFILE
	if got, err := f.Load(); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("%v, %v", got, err)
	}
	d.open = nil
	if got, err := f.Load(); err != nil || len(got) != 1 {
		t.Errorf("afterwards: %v, %v", got, err)
	}
}

// On a full disk there is room for one more list; on one that refuses all the list
// of before stays.
func TestListOnAFullDisk(t *testing.T) {
	d := &failing{}
	f := File{d, t.TempDir()}
	if err := f.Save(set(t, one, two)); err != nil {
		t.Fatal(err)
	}
	d.create = func() error {
		if _, err := os.Lstat(f.room()); err == nil {
			return fmt.Errorf("writing: %w", syscall.ENOSPC)
		}
		return nil
	}
	if err := f.Save(set(t, one)); err != nil {
		t.Errorf("there was room for it: %v", err)
	}
	d.create = func() error { return syscall.ENOSPC }
	if err := f.Save(set(t)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("no room at all: %v", err)
	}
	d.create = nil
	if got, err := f.Load(); err != nil || !maps.Equal(got, set(t, one)) {
		t.Errorf("%v, %v", got, err)
	}
}
