package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// annexSource is git-annex itself: whatever remote it knows.
type annexSource struct {
	child *annexChild
	key   annex.Key
	clone *Clone // whose branch git-annex reads
}

func (s *annexSource) String() string { return "git-annex" }
func (s *annexSource) Exact() bool    { return true }

// Fetch is not how git-annex works; Place is.
func (s *annexSource) Fetch(context.Context, int64, int64, io.Writer) error {
	return fmt.Errorf("git-annex: %w", source.ErrWholeOnly)
}

// Place lets git-annex bring the content and moves it to path.
func (s *annexSource) Place(ctx context.Context, path string, progress func(done int64)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.clone.WaitBranch(ctx); err != nil {
		return classify(err)
	}
	object := filepath.Join(s.child.dir, "annex", "objects", s.key.ObjectPath())
	// What is there already, git-annex passes over without a word.
	if _, err := os.Lstat(object); err != nil {
		if err := s.child.get(ctx, s.key, progress); err != nil {
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
