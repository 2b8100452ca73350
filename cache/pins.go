package cache

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// The pinned keys lie in a file of their own: text, a key's file name a line;
// the last line is a checksum of those above. It is replaced as a whole, and
// the one before is kept. Some room is held for that, so that a full disk does
// not keep anybody from unpinning.

const pinsMark = "# sha256 "

func (s store) pins() string    { return filepath.Join(s.dir, "pins") }
func (s store) ballast() string { return filepath.Join(s.dir, "pins.room") }

// errPins says that a list of pinned files is not what was written.
var errPins = errors.New("its checksum does not agree")

// loadPins reads the pinned keys. That both files are damaged, or cannot be read
// at the moment, is an error: pins are promises.
func (s store) loadPins() (map[annex.Key]bool, error) {
	path := s.pins()
	set, err := s.readPins(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errPins) {
		return nil, fmt.Errorf("cache: the list of pinned files cannot be read: %w", err)
	}
	if err != nil {
		older, olderErr := s.readPins(path + ".bak")
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

func (s store) readPins(path string) (map[annex.Key]bool, error) {
	f, err := s.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<40))
	if err != nil {
		return nil, err
	}
	return parsePins(path, string(raw))
}

func parsePins(path, text string) (map[annex.Key]bool, error) {
	body, sum, ok := cutLastLine(text)
	if !ok || sum != pinsSum(body) {
		return nil, fmt.Errorf("%s: %w", path, errPins)
	}
	set := make(map[annex.Key]bool)
	for line := range strings.Lines(body) {
		name, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		key, err := annex.ParseFileName(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %w", path, errPins, err)
		}
		set[key] = true
	}
	return set, nil
}

func cutLastLine(s string) (body, last string, ok bool) {
	i := strings.LastIndex(s, pinsMark)
	if i < 0 || (i > 0 && s[i-1] != '\n') {
		return "", "", false
	}
	return s[:i], s[i:], true
}

func pinsSum(body string) string {
	return fmt.Sprintf("%s%x\n", pinsMark, sha256.Sum256([]byte(body)))
}

// savePins makes the set durable. After an error the file has the set of before
// or, if only the last flush failed, this one.
func (s store) savePins(set map[annex.Key]bool) error {
	names := make([]string, 0, len(set))
	for k := range set {
		names = append(names, k.FileName()+"\n")
	}
	slices.Sort(names)
	body := strings.Join(names, "")
	text := body + pinsSum(body)
	err := s.replacePins(text)
	if isDiskFull(err) {
		if err := s.Remove(s.ballast()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		err = s.replacePins(text)
	}
	if err == nil {
		s.holdRoom(2*disk.RoundUp(int64(len(text))) + 2*disk.Block)
	}
	return err
}

// holdRoom keeps n bytes of disk for the next change. That it cannot is no
// failure: there may be room then.
func (s store) holdRoom(n int64) {
	f, err := s.OpenWrite(s.ballast())
	if errors.Is(err, fs.ErrNotExist) {
		f, err = s.Create(s.ballast())
	}
	if err == nil {
		f.Allocate(0, n)
		f.Close()
	}
}

func (s store) replacePins(text string) error {
	path := s.pins()
	tmp := path + ".new"
	if err := s.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := s.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(text), 0)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		s.Remove(tmp)
		return err
	}
	// The previous generation stays reachable at every moment: between the two
	// renames it is the copy.
	if _, err := s.readPins(path); err == nil {
		if err := s.Rename(path, path+".bak"); err != nil {
			return err
		}
	}
	if err := s.Rename(tmp, path); err != nil {
		return err
	}
	return s.SyncDir(s.dir)
}

// Pin keeps keys from being evicted, whether or not they are here. When it
// returns without an error they stay pinned over every crash.
func (c *Cache) Pin(keys []annex.Key) error { return c.changePins(keys, true) }

// Unpin is the reverse of Pin.
func (c *Cache) Unpin(keys []annex.Key) error {
	err := c.changePins(keys, false)
	c.wakeRoomWaiters()
	return err
}

func (c *Cache) changePins(keys []annex.Key, pinned bool) error {
	c.pinning.Lock()
	defer c.pinning.Unlock()
	var next map[annex.Key]bool
	c.do(func() { next = maps.Clone(c.pinned) })
	for _, k := range keys {
		if pinned {
			next[k] = true
		} else {
			delete(next, k)
		}
	}
	if pinned {
		// What is pinned is not evicted from now on, also while the disk writes.
		c.markPinned(keys, true)
	}
	if err := c.store.savePins(next); err != nil {
		if pinned {
			c.restorePins(keys)
		}
		return fmt.Errorf("cache: the list of pinned files cannot be written: %w", err)
	}
	if !pinned {
		c.markPinned(keys, false)
	}
	return nil
}

// markPinned changes the set in memory.
func (c *Cache) markPinned(keys []annex.Key, pinned bool) {
	c.do(func() {
		for _, k := range keys {
			c.setPinned(k, pinned)
		}
	})
}

// setPinned changes one key in memory. Callers hold mu.
func (c *Cache) setPinned(k annex.Key, pinned bool) {
	if c.pinned[k] == pinned {
		return
	}
	if pinned {
		c.pinned[k] = true
	} else {
		delete(c.pinned, k)
	}
	o := c.objects[k]
	if o == nil {
		return
	}
	blocks := o.file.blocks
	for _, f := range o.fills {
		blocks += f.item.blocks
	}
	if !pinned {
		blocks = -blocks
	}
	c.books.pinned += blocks
	c.settle(o)
}

// restorePins takes back what was pinned in memory only.
func (c *Cache) restorePins(keys []annex.Key) {
	set, err := c.store.loadPins()
	if err != nil {
		return // too many pins lose nothing
	}
	c.do(func() {
		for _, k := range keys {
			c.setPinned(k, set[k])
		}
	})
}

// Pins returns the pinned keys, in no order.
func (c *Cache) Pins() (keys []annex.Key) {
	c.do(func() { keys = slices.Collect(maps.Keys(c.pinned)) })
	return keys
}
