// Package layout is where a cache's files lie, and how they come to their places and
// go. It decides nothing, and knows of no transfers.
package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/cache/internal/pinfile"
	"github.com/uniharmony/uniharmonyfs/cache/internal/proof"
	"github.com/uniharmony/uniharmonyfs/cache/internal/readplan"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Charge is what the transfer of a whole file of size bytes reserves: its
// blocks, and for those that are not fetched in one go the map of what is
// there and what the file system may need to find it again.
func Charge(size int64) int64 {
	if size <= readplan.WholeUpTo {
		return disk.RoundUp(size)
	}
	return disk.RoundUp(size + max(3*disk.Block, size>>10))
}

// ChargePart is the same for a part of it.
func ChargePart(i partial.Interval) int64 {
	return disk.RoundUp(i.End) - disk.RoundDown(i.Off) + 3*disk.Block
}

// A Store is a cache's directory on a disk.
type Store struct {
	disk.Disk
	Dir string
}

// Objects is where verified content lies, Partials where what is not whole yet does,
// Placing where sources bring files, and Aside where damaged pinned ones go.
func (s Store) Objects() string    { return filepath.Join(s.Dir, "objects") }
func (s Store) Partials() string   { return filepath.Join(s.Dir, "partial") }
func (s Store) Placing() string    { return filepath.Join(s.Dir, "partial", ".placing") }
func (s Store) Pins() pinfile.File { return pinfile.File{Disk: s.Disk, Dir: s.Dir} }
func (s Store) Aside() string      { return filepath.Join(s.Dir, "aside") }

// Object is where a key's content lies, and SetAside where it lies damaged.
func (s Store) Object(k annex.Key) string   { return filepath.Join(s.Objects(), k.ObjectPath()) }
func (s Store) SetAside(k annex.Key) string { return filepath.Join(s.Aside(), k.FileName()) }

// Placed is where a source brings the whole of a partial file.
func (s Store) Placed(name string) string { return filepath.Join(s.Placing(), name) }

// Left returns what is on disk of a partial file, in bytes.
func (s Store) Left(name string) int64 {
	return partial.Left(s, filepath.Join(s.Partials(), name)) + s.LeftPlaced(name)
}

// LeftPlaced returns what is on disk of what a source brought whole, in bytes.
func (s Store) LeftPlaced(name string) int64 {
	info, err := s.Stat(s.Placed(name))
	if err != nil {
		return 0
	}
	return info.Charge()
}

// IsGone reports whether nothing of a partial file is on disk. Where that cannot be found
// out it is not.
func (s Store) IsGone(name string) bool {
	path := filepath.Join(s.Partials(), name)
	for _, path := range []string{path, partial.MapPath(path), s.Placed(name)} {
		if _, err := s.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}

// RemoveFill removes all that is on disk of a partial file.
func (s Store) RemoveFill(file *partial.File) error {
	err := file.Discard()
	if placed := s.Remove(s.Placed(file.Ident.Name())); !errors.Is(placed, fs.ErrNotExist) {
		err = errors.Join(err, placed)
	}
	return err
}

// Make makes the directories that are missing.
func (s Store) Make() error {
	return errors.Join(s.MkdirAll(s.Objects(), 0o755), s.MkdirAll(s.Placing(), 0o700))
}

// Publish gives the complete, verified file at from its final name.
func (s Store) Publish(k annex.Key, from string) error {
	to := s.Object(k)
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

// RemoveObject deletes an object and the directories that it leaves empty; or it
// sets the object aside, where nothing takes it for one.
func (s Store) RemoveObject(k annex.Key, aside bool) error {
	path := s.Object(k)
	dir := filepath.Dir(path)
	take := func() error {
		if !aside {
			return s.Remove(path)
		}
		if err := s.MkdirAll(s.Aside(), 0o700); err != nil {
			return err
		}
		return s.Rename(path, s.SetAside(k))
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

// OpenObject opens an object's file. An error that says something of the
// Object [isDamage].
func (s Store) OpenObject(key annex.Key, size int64) (disk.File, disk.Info, error) {
	f, err := s.Open(s.Object(key))
	if err != nil {
		return nil, disk.Info{}, err
	}
	info, err := f.Stat()
	if err == nil && info.Size != size {
		err = fmt.Errorf("%w: it has %d bytes, not %d", proof.ErrWrong, info.Size, size)
	}
	return f, info, err
}

// Check compares an object's file, as it is on the disk, with its key.
func (s Store) Check(ctx context.Context, key annex.Key, size int64) (disk.Info, error) {
	f, before, err := s.OpenObject(key, size)
	if f != nil {
		defer f.Close()
	}
	if err == nil {
		err = f.Uncache()
	}
	if err != nil {
		return before, err
	}
	return before, proof.Compare(ctx, f, before.ID, key)
}

// ErrUnopened says that nothing was flushed.
var ErrUnopened = errors.New("not opened")

// Flush flushes an object's data, if it is still that file.
func (s Store) Flush(key annex.Key, size int64, id disk.ID) error {
	f, info, err := s.OpenObject(key, size)
	if f != nil {
		defer f.Close()
	}
	if err == nil && info.ID != id {
		err = proof.ErrChanged
	}
	if err != nil {
		return errors.Join(ErrUnopened, err)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return s.SyncDir(filepath.Dir(s.Object(key))) // its name, too
}
