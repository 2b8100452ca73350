package fetch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// A DataLad dataset is git's and git-annex's own: at its version, with a work
// tree, and with the content that is put into it.
func TestDirectIsADataset(t *testing.T) {
	gittest.EachAnnex(t, func(t *testing.T) {
		s, m := history(t)
		spec, dir := specOf(t, s.GitURL(m)), t.TempDir()
		o := CloneOptions{Git: FindGit()}
		d, err := CloneDirect(t.Context(), spec, "", m.Commits[1], dir, o)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(filepath.Join(dir, "README")); string(got) != "new" {
			t.Errorf("README is %q", got)
		}
		if got := strings.TrimSpace(run(t, dir, "git", "rev-parse", "HEAD")); got != m.Commits[1] {
			t.Errorf("it is at %s", got)
		}
		if got := run(t, dir, "git", "status", "--porcelain"); got != "" {
			t.Errorf("it is changed: %s", got)
		}
		if got := run(t, dir, "git", "rev-list", "--count", "HEAD"); got != "2\n" {
			t.Errorf("%s commits of history, want 2", strings.TrimSpace(got))
		}
		file := &m.Files[0]
		if file.Key.IsZero() {
			file = &m.Files[1]
		}
		content, err := maker.Bytes(file.Content)
		if err != nil {
			t.Fatal(err)
		}
		object := filepath.Join(dir, ".git", "annex", filepath.FromSlash(ObjectPath(file.Key)))
		if err := os.MkdirAll(filepath.Dir(object), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(object, content, 0o444); err != nil {
			t.Fatal(err)
		}
		if err := d.Present(t.Context(), []annex.Key{file.Key}, nil); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(run(t, dir, "git", "annex", "find", "--in", "here")); got != file.Path {
			t.Errorf("git-annex finds %q here, want %q", got, file.Path)
		}
		run(t, dir, "git", "annex", "fsck", "--quiet", "--", file.Path)
		if err := d.Present(t.Context(), nil, nil); err != nil {
			t.Errorf("nothing is present: %v", err)
		}
		// It is taken up again at its commit, and at one before.
		for _, commit := range m.Commits {
			if again, err := CloneDirect(t.Context(), spec, "", commit, dir, o); err != nil || again.uuid != d.uuid {
				t.Errorf("again at %s: %v", commit, err)
			}
		}
		_, err = CloneDirect(t.Context(), spec, "", strings.Repeat("1", 40), dir, o)
		wantAdvice(t, err, advice.UnknownVersion)
		_, err = CloneDirect(t.Context(), specOf(t, m.GitDir), "", m.Commits[1], dir, o)
		wantAdvice(t, err, advice.NotRepository)
	})
}

// What is somebody's is left as it is, and what was cut off is done again.
func TestDirectTakesNothingOfOthers(t *testing.T) {
	gittest.EachAnnex(t, func(t *testing.T) {
		s, m := history(t)
		spec, o := specOf(t, s.GitURL(m)), CloneOptions{Git: FindGit()}
		for name, make := range map[string]func(dir string) error{
			"a file":          func(dir string) error { return os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600) },
			"a file for .git": func(dir string) error { return os.WriteFile(filepath.Join(dir, ".git"), nil, 0o600) },
		} {
			dir := t.TempDir()
			if err := make(dir); err != nil {
				t.Fatal(err)
			}
			before := picture(t, dir)
			_, err := CloneDirect(t.Context(), spec, "1.0", m.Commits[0], dir, o)
			wantAdvice(t, err, advice.NotRepository)
			samePicture(t, name, before, picture(t, dir))
		}
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, cloneParts+"1", ".git"), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := CloneDirect(t.Context(), spec, "1.0", m.Commits[0], dir, o); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(filepath.Join(dir, "README")); string(got) != "old" {
			t.Errorf("README is %q", got)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, cloneParts+"*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if got := strings.TrimSpace(run(t, dir, "git", "rev-parse", "HEAD")); got != m.Commits[0] {
			t.Errorf("it is at %s", got)
		}
		_, err := CloneDirect(t.Context(), spec, "", m.Commits[0], t.TempDir(), CloneOptions{})
		wantAdvice(t, err, advice.NoGit)
	})
}
