package cache

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// pins are the keys that are never evicted. Their file is text, a key's file
// name a line; the last line is a checksum of those above. It is replaced as a
// whole, and the one before is kept.
type pins struct {
	path string

	// mu is held while the file is written; set is also read alone.
	mu   sync.Mutex
	read sync.RWMutex
	set  map[annex.Key]bool
}

const pinsMark = "# sha256 "

func openPins(dir string) (*pins, error) {
	p := &pins{path: filepath.Join(dir, "pins")}
	set, err := readPins(p.path)
	if err != nil {
		older, olderErr := readPins(p.path + ".bak")
		switch {
		case errors.Is(err, fs.ErrNotExist) && errors.Is(olderErr, fs.ErrNotExist):
		case olderErr == nil:
			// The last change was never acknowledged, or its file was
			// damaged afterwards: at most that change is lost.
			set = older
		default:
			return nil, fmt.Errorf("cache: the list of pinned files is damaged, and so is its copy: look at %s and %[1]s.bak, mend or remove them: %w", p.path, errors.Join(err, olderErr))
		}
	}
	p.set = set
	if p.set == nil {
		p.set = make(map[annex.Key]bool)
	}
	return p, nil
}

func readPins(path string) (map[annex.Key]bool, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	body, sum, ok := cutLastLine(string(raw))
	if !ok || sum != pinsSum(body) {
		return nil, fmt.Errorf("%s: its checksum does not agree", path)
	}
	set := make(map[annex.Key]bool)
	for line := range strings.Lines(body) {
		name, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		key, err := annex.ParseFileName(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
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

// change adds or removes keys. It returns when the file is durable; after an
// error nothing has changed.
func (p *pins) change(keys []annex.Key, pinned bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := make(map[annex.Key]bool, len(p.set)+len(keys))
	for k := range p.set {
		next[k] = true
	}
	for _, k := range keys {
		if pinned {
			next[k] = true
		} else {
			delete(next, k)
		}
	}
	if err := p.write(next); err != nil {
		return fmt.Errorf("cache: the list of pinned files cannot be written: %w", err)
	}
	p.read.Lock()
	defer p.read.Unlock()
	p.set = next
	return nil
}

func (p *pins) write(set map[annex.Key]bool) error {
	names := make([]string, 0, len(set))
	for k := range set {
		names = append(names, k.FileName()+"\n")
	}
	slices.Sort(names)
	body := strings.Join(names, "")
	tmp := p.path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(body + pinsSum(body))
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		os.Remove(tmp)
		return err
	}
	// The previous generation stays reachable at every moment.
	if _, err := readPins(p.path); err == nil {
		os.Remove(p.path + ".bak")
		if err := os.Link(p.path, p.path+".bak"); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	if err := os.Rename(tmp, p.path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(p.path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func (p *pins) has(k annex.Key) bool {
	p.read.RLock()
	defer p.read.RUnlock()
	return p.set[k]
}

func (p *pins) all() []annex.Key {
	p.read.RLock()
	defer p.read.RUnlock()
	keys := make([]annex.Key, 0, len(p.set))
	for k := range p.set {
		keys = append(keys, k)
	}
	return keys
}

// Pin keeps keys from being evicted, whether or not they are here. When it
// returns without an error they stay pinned over every crash.
func (c *Cache) Pin(keys []annex.Key) error { return c.pins.change(keys, true) }

// Unpin is the reverse of Pin.
func (c *Cache) Unpin(keys []annex.Key) error {
	err := c.pins.change(keys, false)
	c.pump()
	return err
}

// Pins returns the pinned keys, in no order.
func (c *Cache) Pins() []annex.Key { return c.pins.all() }
