package fetch

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/gitannex"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// annexSource is git-annex itself: whatever remote it knows.
type annexSource struct {
	wholeOnly
	child *gitannex.Child
	key   annex.Key
	clone *Clone // whose branch git-annex reads
}

// newAnnexChild returns the git-annex that fetches into a clone.
func newAnnexChild(c *Clone, o OriginOptions) *gitannex.Child {
	p := gitannex.Program{
		Dir: c.Dir, Env: o.Env, Allow: o.AllowAddresses, Local: filepath.IsAbs(c.Spec.URL),
		Tmp: filepath.Join(c.Dir, "annex", "misctmp"),
	}
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return gitannex.New(p, timeout, c.hidden.sweepAnnex, o.Log)
}

// sweepAnnex removes what git-annex has put aside in the hidden clone before
// this process: nobody else fetches there, and the cache does not count it.
func (h *Hidden) sweepAnnex() {
	h.swept.Do(func() {
		for _, name := range []string{"tmp", "othertmp", "misctmp"} {
			os.RemoveAll(filepath.Join(h.dir, "annex", name))
		}
	})
}

// Place lets git-annex bring the content and moves it to path.
func (s *annexSource) Place(ctx context.Context, path string, progress func(done int64)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.clone.WaitBranch(ctx); err != nil {
		return classify(err)
	}
	object := filepath.Join(s.child.Dir, "annex", "objects", s.key.ObjectPath())
	// What is there already, git-annex passes over without a word.
	if _, err := os.Lstat(object); err != nil {
		if err := s.child.Get(ctx, s.key, progress); err != nil {
			return err
		}
	}
	dir := filepath.Dir(object)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	st, err := os.Lstat(object)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return errors.New("git-annex brought something that is not a file")
	}
	if err := os.Rename(object, path); err != nil {
		return err
	}
	// Only empty directories go.
	for range 3 {
		if os.Remove(dir) != nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	return os.Chmod(path, 0o600)
}
