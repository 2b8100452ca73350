package cache

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/cache/internal/pinfile"
	"github.com/uniharmony/uniharmonyfs/cache/internal/readplan"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// charge is what the transfer of a whole file of size bytes reserves: its
// blocks, and for those that are not fetched in one go the map of what is
// there and what the file system may need to find it again.
func charge(size int64) int64 {
	if size <= readplan.WholeUpTo {
		return disk.RoundUp(size)
	}
	return disk.RoundUp(size + max(3*disk.Block, size>>10))
}

// chargePart is the same for a part of it.
func chargePart(i partial.Interval) int64 {
	return disk.RoundUp(i.End) - disk.RoundDown(i.Off) + 3*disk.Block
}

// store is the layout of the cache's files. It decides nothing.
type store struct {
	disk.Disk
	dir string
}

func (s store) objects() string    { return filepath.Join(s.dir, "objects") }
func (s store) partials() string   { return filepath.Join(s.dir, "partial") }
func (s store) placing() string    { return filepath.Join(s.dir, "partial", ".placing") }
func (s store) pins() pinfile.File { return pinfile.File{Disk: s.Disk, Dir: s.dir} }
func (s store) aside() string      { return filepath.Join(s.dir, "aside") }

func (s store) object(k annex.Key) string   { return filepath.Join(s.objects(), k.ObjectPath()) }
func (s store) setAside(k annex.Key) string { return filepath.Join(s.aside(), k.FileName()) }

// placed is where a source brings the whole of a fill.
func (s store) placed(f *fill) string { return filepath.Join(s.placing(), f.file.Ident.Name()) }

// leftOf returns what is on disk of a fill, in bytes.
func (s store) leftOf(f *fill) int64 {
	return partial.Left(s, filepath.Join(s.partials(), f.file.Ident.Name())) + s.leftPlaced(f)
}

// leftPlaced returns what is on disk of what a source brought whole, in bytes.
func (s store) leftPlaced(f *fill) int64 {
	info, err := s.Stat(s.placed(f))
	if err != nil {
		return 0
	}
	return info.Charge()
}

// isGone reports whether nothing of a fill is on disk. Where that cannot be found
// out it is not.
func (s store) isGone(f *fill) bool {
	path := filepath.Join(s.partials(), f.file.Ident.Name())
	for _, path := range []string{path, partial.MapPath(path), s.placed(f)} {
		if _, err := s.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}

// removeFill removes all that is on disk of a fill.
func (s store) removeFill(f *fill) error {
	err := f.file.Discard()
	if placed := s.Remove(s.placed(f)); !errors.Is(placed, fs.ErrNotExist) {
		err = errors.Join(err, placed)
	}
	return err
}

func (s store) make() error {
	return errors.Join(s.MkdirAll(s.objects(), 0o755), s.MkdirAll(s.placing(), 0o700))
}

// publish gives the complete, verified file at from its final name.
func (s store) publish(k annex.Key, from string) error {
	to := s.object(k)
	dir := filepath.Dir(to)
	var err error
	// An eviction may remove the directories while they are still empty.
	for range 10 {
		if err = s.MkdirAll(dir, 0o755); err == nil {
			err = s.Rename(from, to)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if errors.Is(err, fs.ErrPermission) {
		// git-annex write-protects the directory of an object.
		if err := s.Chmod(dir, 0o755); err != nil {
			return err
		}
		return s.Rename(from, to)
	}
	return err
}

// remove deletes an object and the directories that it leaves empty; or it
// sets the object aside, where nothing takes it for one.
func (s store) remove(k annex.Key, aside bool) error {
	path := s.object(k)
	dir := filepath.Dir(path)
	take := func() error {
		if !aside {
			return s.Remove(path)
		}
		if err := s.MkdirAll(s.aside(), 0o700); err != nil {
			return err
		}
		return s.Rename(path, s.setAside(k))
	}
	err := take()
	if errors.Is(err, fs.ErrPermission) {
		s.Chmod(dir, 0o755)
		err = take()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for range 3 {
		if s.Remove(dir) != nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	return nil
}
