package cache

import (
	"context"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/layout"
	"github.com/uniharmony/uniharmonyfs/cache/internal/proof"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Pin keeps keys from being evicted, whether or not they are here. When it
// returns without an error they stay pinned over every crash.
func (c *Cache) Pin(keys []annex.Key) error { return c.shelf.Pin(keys) }

// Unpin is the reverse of Pin.
func (c *Cache) Unpin(keys []annex.Key) error { return c.shelf.Unpin(keys) }

// Pins returns the pinned keys, in no order.
func (c *Cache) Pins() []annex.Key { return c.shelf.Pins() }

// Flush returns when the content of keys that is here would survive a power cut,
// or with what the disk said. What is not here is passed over. It is for what is
// promised, as pins are: all else is flushed in the background.
func (c *Cache) Flush(ctx context.Context, keys []annex.Key) error { return c.shelf.Flush(ctx, keys) }

// Verify hashes what the cache holds of a key, whatever is known of it. A
// damaged object is removed, or set aside if it is pinned; what was served of it
// is revoked; and the error is [ErrMismatch]. Any other error says that it could
// not be found out. Without an object there is nothing to do.
func (c *Cache) Verify(ctx context.Context, key annex.Key) error { return c.shelf.Verify(ctx, key) }

// Drop removes the objects and partial files that match, except those that
// are open, pinned, or being brought. A nil match matches all. It returns how
// many files and bytes are gone.
func (c *Cache) Drop(match func(owner string, key annex.Key) bool) (files int, bytes int64, err error) {
	return c.shelf.Drop(match)
}

// DropKey is Drop of one key, if the owner brought it.
func (c *Cache) DropKey(key annex.Key, owner string) (files int, bytes int64, err error) {
	return c.shelf.DropKey(key, owner)
}

// SetBudget changes the budget, in bytes. Objects above it are evicted: at once, or
// soon after they are neither open nor pinned any more.
func (c *Cache) SetBudget(bytes int64) { c.shelf.SetBudget(bytes) }

// FileID tells whether a file is still the one that was looked at.
type FileID = disk.ID

// Lend returns which file under the name of a key's object is known to match it, for
// another cache of this user's to read where it is. It may go at any time, but is never
// changed.
func (c *Cache) Lend(key annex.Key) (FileID, bool) { return c.shelf.Lend(key) }

// Borrow opens the object of a key in the cache below dir, if there is one of the
// content's size. vouched says which file is known there to match the key; what nobody
// vouches for is hashed before it is served, as with [Cache.OpenInPlace].
func (c *Cache) Borrow(dir string, key annex.Key, vouched func() (FileID, bool)) (*InPlace, error) {
	return c.inPlace.Borrow(key, layout.Store{Dir: dir}.Object(key), vouched)
}

// InPlace is a file that has a key's content, of the user's own or in another cache.
type InPlace = proof.InPlace

// OpenInPlace opens the file at path, if it has the size of the key's content and
// was not found to be wrong. It reads nothing. An error that [ErrMismatch] is says
// that it is not the content.
func (c *Cache) OpenInPlace(key annex.Key, path string) (*InPlace, error) {
	return c.inPlace.Open(key, path)
}
