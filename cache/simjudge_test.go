package cache

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/shelf"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

func (w *world) check() {
	s := w.cache.Status()
	w.mu.Lock()
	slack := w.slack
	w.mu.Unlock()
	if s.Used < 0 || s.Reserved < 0 || !slack && s.Used+s.Reserved > s.Budget {
		w.broken("used %d + reserved %d of %d", s.Used, s.Reserved, s.Budget)
	}
	if n := w.defects(); n > 0 {
		w.broken("%d rules of the phases were broken", n)
	}
	for _, c := range w.contents {
		if w.cache.State(c.key).Presence == Missing {
			delete(w.harmed, c.key) // the cache knows
		}
		if w.disk.lost(filepath.Join(simDir, "objects", c.key.ObjectPath())) {
			delete(w.kept, c.key)
			continue
		}
		here := w.pinned[c.key] && !w.harmed[c.key] && w.isPresent(c.key)
		if w.kept[c.key] && w.cache.State(c.key).Presence != Cached {
			w.broken("%s was pinned and whole, and is gone", c.key)
		}
		w.kept[c.key] = w.kept[c.key] || here
	}
	for k := range w.pinned {
		if !w.cache.State(k).Pinned {
			w.broken("%s is not pinned any more", k)
		}
	}
}

func (w *world) isPresent(key annex.Key) (is bool) {
	w.cache.do(func() {
		o := w.cache.shelf.Find(key)
		is = o != nil && o.Phase() == shelf.Present
	})
	return is
}

func (w *world) defects() int { return w.cache.shelf.Defects() }

// heal makes everything healthy, and looks whether the cache is.
func (w *world) heal() {
	w.disk.mu.Lock()
	w.disk.mood = diskMood{}
	w.disk.mu.Unlock()
	w.mu.Lock()
	w.sources = map[string]*simMood{"good": {}, "evil": {}}
	w.slack = true
	w.mu.Unlock()
	for _, h := range w.handles {
		h.cancel()
		h.busy.Wait()
		h.Close()
	}
	w.readers.Wait()
	w.cache.SetBudget(32 << 20)
	time.Sleep(time.Minute)
	for _, c := range w.contents {
		for _, dataset := range []string{"good", "evil"} {
			w.becomesReadable(c, dataset)
		}
		if w.pinned[c.key] && w.cache.State(c.key).Presence != Cached {
			w.broken("%s is pinned, was read, and is not there", c.key)
		}
	}
	time.Sleep(time.Minute)
	w.atRest()
	if err := w.cache.Close(); err != nil && !strings.Contains(err.Error(), "not to be written") {
		w.broken("close: %v", err)
	}
}

// becomesReadable reads a whole file, again and again for some minutes at most:
// whatever happened before must not stand in its way for longer.
func (w *world) becomesReadable(c simContent, dataset string) {
	var err error
	for range 120 {
		use := Use{Origin: simOrigin{w, dataset}, Dataset: dataset, Owner: dataset, Strict: true}
		var h *Handle
		if h, err = w.cache.Open(c.key, use); err != nil {
			break
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		b := make([]byte, len(c.right))
		_, err = h.ReadAt(ctx, b, 0)
		cancel()
		h.Close()
		if err == nil || err == io.EOF {
			if len(b) == 0 { // nothing needs to be fetched for that
				if err := w.cache.Fetch(context.Background(), c.key, use); err != nil {
					w.broken("%s: %v", c.key, err)
				}
			}
			if !bytes.Equal(b, c.right) {
				w.broken("%s: wrong bytes for a strict reader", c.key)
			}
			return
		}
		time.Sleep(5 * time.Second)
	}
	w.broken("%s cannot be read for %s, though everything is healthy: %v", c.key, dataset, err)
}

// atRest compares the books with the disk and the kernel with the truth.
func (w *world) atRest() {
	for range 50 {
		if s := w.cache.Status(); len(s.Transfers) == 0 && s.Reserved == 0 {
			break
		}
		time.Sleep(time.Second)
	}
	s := w.cache.Status()
	on := w.disk.below("/c/objects", "/c/partial", "/c/aside")
	if s.Reserved != 0 || len(s.Transfers) != 0 || s.Used != on {
		w.broken("at rest: used %d, reserved %d, %d transfers; on the disk %d:\n%s\n%s", s.Used, s.Reserved, len(s.Transfers), on, w.onBooks(), w.onDisk())
	}
	if n := w.cache.queue.Used(); n != 0 {
		w.broken("at rest: %d turns are taken", n)
	}
	for _, wrong := range w.cache.shelf.Audit() {
		w.broken("at rest: %s", wrong)
	}
	for id, p := range w.kernel {
		for _, c := range w.contents {
			if !strings.HasSuffix(id, c.key.String()) {
				continue
			}
			for at, page := range p.pages {
				if !bytes.Equal(page, c.right[at:at+int64(len(page))]) {
					w.broken("the kernel keeps wrong bytes of %s at %s", id, strconv.FormatInt(at, 10))
				}
			}
		}
	}
}

func (w *world) onBooks() string {
	var b strings.Builder
	w.cache.do(func() {
		w.cache.shelf.Objects(func(o *shelf.Object) {
			file, aside := o.Blocks()
			fmt.Fprintf(&b, "%v %v file %d aside %d;", o.Key, o.Phase(), file, aside)
			o.Fills(func(f *shelf.Fill) { fmt.Fprintf(&b, " %s %d;", f.Dataset, f.AtRest()) })
		})
	})
	return b.String()
}

func (w *world) onDisk() string {
	w.disk.mu.Lock()
	defer w.disk.mu.Unlock()
	var b strings.Builder
	for path, n := range w.disk.nodes {
		if !n.dir {
			fmt.Fprintf(&b, "%s %d; ", path, len(n.blocks)*disk.Block)
		}
	}
	return b.String()
}
