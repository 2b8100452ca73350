package fetch

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// annexOf returns the source that is git-annex.
func annexOf(t testing.TB, r *Origin, key annex.Key) source.Placer {
	t.Helper()
	list, err := r.Sources(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if p, ok := s.(*annexSource); ok {
			return p
		}
	}
	t.Fatalf("git-annex is not among %v", list)
	return nil
}

// place lets a source place the file's content and checks it.
func place(t testing.TB, parent context.Context, s source.Placer, f *maker.MadeFile) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(parent, 2*time.Minute)
	defer cancel()
	path := filepath.Join(t.TempDir(), "placed")
	err := s.Place(ctx, path, func(int64) {})
	if ctx.Err() != nil && parent.Err() == nil {
		t.Fatal("it hangs")
	}
	if err != nil {
		return err
	}
	got, err := os.ReadFile(path)
	want, _ := maker.Bytes(f.Content)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("what was placed is wrong: %d bytes, %v", len(got), err)
	}
	return nil
}

// What an earlier process was in the middle of is removed at the start.
func TestGitAnnexBeginsWithNothingAside(t *testing.T) {
	gittest.EachAnnex(t, func(t *testing.T) {
		_, m := dataset(t, maker.Web, 2, 100_000)
		r, dir := origin(t, m.Dir, OriginOptions{Fetcher: "annex"})
		for _, name := range []string{"tmp", "othertmp", "misctmp"} {
			left := filepath.Join(dir, "annex", name, "work."+m.Files[1].Key.FileName())
			if err := errors.Join(os.MkdirAll(left, 0o700), os.WriteFile(filepath.Join(left, "x"), make([]byte, 5000), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		if err := place(t, t.Context(), annexOf(t, r, m.Files[0].Key), &m.Files[0]); err != nil {
			t.Error(err)
		}
		r.Close()
		left, err := filepath.Glob(filepath.Join(dir, "annex", "*", "work.*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
}
