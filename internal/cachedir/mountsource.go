package cachedir

import (
	"net/url"
	"path/filepath"
	"strings"
)

// MountSource is the source, in mountinfo, of the mounts that a cache serves: it
// says whose they are.
func (d Dir) MountSource() string { return "uniharmonyfs:" + (&url.URL{Path: string(d)}).EscapedPath() }

// OfMount returns the cache that a mount with this source belongs to.
func OfMount(source string) (Dir, bool) {
	path, ok := strings.CutPrefix(source, "uniharmonyfs:")
	if !ok {
		return "", false
	}
	path, err := url.PathUnescape(path)
	return Dir(path), err == nil && filepath.IsAbs(path)
}
