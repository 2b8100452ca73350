package fetch

import (
	"path/filepath"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// InPlace returns the file with a key's content in the repository on this
// machine that the dataset is, or "": such content need not be copied. The
// file is the user's; nothing is known of its content but its name.
func (c *Clone) InPlace(key annex.Key) string {
	if c.Spec.Bundle || !filepath.IsAbs(c.Spec.URL) {
		return ""
	}
	return findObject(c.Spec.URL, key)
}
