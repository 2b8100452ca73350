package fetch

import (
	"path/filepath"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// inPlace knows where a repository on this machine keeps content. A million
// files are asked about one by one; that the repository has no content at all
// is looked up once in a while.
type inPlace struct {
	mu     sync.Mutex // guards the following
	dirs   []string
	looked time.Time
}

const lookAgain = time.Second

// InPlace returns the file with a key's content in the repository on this
// machine that the dataset is, or "": such content need not be copied. The
// file is the user's; nothing is known of its content but its name.
func (c *Clone) InPlace(key annex.Key) string {
	if !c.Local() {
		return ""
	}
	return findObject(c.inPlace.in(c.Spec.URL), key)
}

// Local reports whether the dataset is a repository on this machine, so that
// there may be content in place.
func (c *Clone) Local() bool { return !c.Spec.Bundle && filepath.IsAbs(c.Spec.URL) }

func (p *inPlace) in(repository string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.looked.IsZero() || now.Sub(p.looked) > lookAgain {
		p.dirs, p.looked = objectDirs(repository), now
	}
	return p.dirs
}
