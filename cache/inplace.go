package cache

import (
	"github.com/uniharmony/uniharmonyfs/cache/internal/proof"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// InPlace is a file of the user's own that has a key's content.
type InPlace = proof.InPlace

// OpenInPlace opens the file at path, if it has the size of the key's content and
// was not found to be wrong. It reads nothing. An error that [ErrMismatch] is says
// that it is not the content.
func (c *Cache) OpenInPlace(key annex.Key, path string) (*InPlace, error) {
	return c.inPlace.Open(key, path)
}
