// Package pinfile keeps the list of pinned keys on the disk.
//
// It is text: a key's file name a line, and a last line with a checksum of those
// above. It is replaced as a whole, and the one before is kept. Pins are promises:
// one that was acknowledged is lost to no crash, and what cannot be read is an
// error. Some room is held for the next list, so that a full disk does not keep
// anybody from unpinning.
package pinfile

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

const mark = "# sha256 "

// A File is the list of pinned keys in a cache's directory. One goroutine at a time
// saves it.
type File struct {
	disk.Disk
	Dir string
}

func (f File) path() string { return filepath.Join(f.Dir, "pins") }
func (f File) room() string { return filepath.Join(f.Dir, "pins.room") }

// errDamaged says that a list is not what was written.
var errDamaged = errors.New("its checksum does not agree")

// Load reads the pinned keys. That both files are damaged, or cannot be read
// at the moment, is an error: pins are promises.
func (f File) Load() (map[annex.Key]bool, error) {
	path := f.path()
	set, err := f.read(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errDamaged) {
		return nil, fmt.Errorf("cache: the list of pinned files cannot be read: %w", err)
	}
	if err != nil {
		older, olderErr := f.read(path + ".bak")
		switch {
		case errors.Is(err, fs.ErrNotExist) && errors.Is(olderErr, fs.ErrNotExist):
		case olderErr == nil:
			// The last change was never acknowledged, or its file was
			// damaged afterwards: at most that change is lost.
			set = older
		default:
			return nil, fmt.Errorf("cache: the list of pinned files is damaged, and so is its copy: look at %s and %[1]s.bak, mend or remove them: %w", path, errors.Join(err, olderErr))
		}
	}
	if set == nil {
		set = make(map[annex.Key]bool)
	}
	return set, nil
}

func (f File) read(path string) (map[annex.Key]bool, error) {
	from, err := f.Open(path)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	raw, err := io.ReadAll(io.NewSectionReader(from, 0, 1<<40))
	if err != nil {
		return nil, err
	}
	return parse(path, string(raw))
}

func parse(path, text string) (map[annex.Key]bool, error) {
	body, last, ok := cutLastLine(text)
	if !ok || last != sum(body) {
		return nil, fmt.Errorf("%s: %w", path, errDamaged)
	}
	set := make(map[annex.Key]bool)
	for line := range strings.Lines(body) {
		name, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		key, err := annex.ParseFileName(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %w", path, errDamaged, err)
		}
		set[key] = true
	}
	return set, nil
}

func cutLastLine(s string) (body, last string, ok bool) {
	i := strings.LastIndex(s, mark)
	if i < 0 || (i > 0 && s[i-1] != '\n') {
		return "", "", false
	}
	return s[:i], s[i:], true
}

func sum(body string) string {
	return fmt.Sprintf("%s%x\n", mark, sha256.Sum256([]byte(body)))
}

// Save makes the set durable. After an error the file has the set of before
// or, if only the last flush failed, this one.
func (f File) Save(set map[annex.Key]bool) error {
	names := make([]string, 0, len(set))
	for k := range set {
		names = append(names, k.FileName()+"\n")
	}
	slices.Sort(names)
	body := strings.Join(names, "")
	text := body + sum(body)
	err := f.replace(text)
	if disk.IsFull(err) {
		if err := f.Remove(f.room()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		err = f.replace(text)
	}
	if err == nil {
		f.holdRoom(2*disk.RoundUp(int64(len(text))) + 2*disk.Block)
	}
	return err
}

// holdRoom keeps n bytes of disk for the next change. That it cannot is no
// failure: there may be room then.
func (f File) holdRoom(n int64) {
	room, err := f.OpenWrite(f.room())
	if errors.Is(err, fs.ErrNotExist) {
		room, err = f.Create(f.room())
	}
	if err == nil {
		room.Allocate(0, n)
		room.Close()
	}
}

func (f File) replace(text string) error {
	path := f.path()
	tmp := path + ".new"
	if err := f.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	to, err := f.Create(tmp)
	if err != nil {
		return err
	}
	_, err = to.WriteAt([]byte(text), 0)
	if err := errors.Join(err, to.Sync(), to.Close()); err != nil {
		f.Remove(tmp)
		return err
	}
	// The previous generation stays reachable at every moment: between the two
	// renames it is the copy.
	if _, err := f.read(path); err == nil {
		if err := f.Rename(path, path+".bak"); err != nil {
			return err
		}
	}
	if err := f.Rename(tmp, path); err != nil {
		return err
	}
	return f.SyncDir(f.Dir)
}
