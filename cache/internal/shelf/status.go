package shelf

import "github.com/uniharmony/uniharmonyfs/internal/annex"

// Totals are the accounts, in bytes of disk, and counts of files.
type Totals struct {
	Budget, Used, Reserved, Pinned int64
	PinnedFiles, Objects, Partials int
}

// Totals returns the accounts. Callers hold the lock.
func (s *Shelf) Totals() Totals {
	t := Totals{
		Budget: s.books.budget, Used: s.books.used, Reserved: s.books.reserved,
		Pinned: s.books.pinned, PinnedFiles: len(s.pinned),
	}
	for _, o := range s.objects {
		if o.IsHere() {
			t.Objects++
		}
		for _, f := range o.fills {
			if f.item.blocks > 0 {
				t.Partials++
			}
		}
	}
	return t
}

// Blocks returns what an object's file takes, and what the damaged one that was set
// aside does, in bytes of disk. Callers hold the lock.
func (o *Object) Blocks() (file, aside int64) { return o.file.blocks, o.aside.blocks }

// Budget returns the budget, and how much of it is pinned, in bytes. Callers hold the
// lock.
func (s *Shelf) Budget() (bytes, pinned int64) { return s.books.budget, s.books.pinned }

// IsPinned reports whether a key is pinned. Callers hold the lock.
func (s *Shelf) IsPinned(key annex.Key) bool { return s.pinned[key] }
