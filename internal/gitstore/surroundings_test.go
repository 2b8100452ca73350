package gitstore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestIgnoresSurroundings has replacements, an environment and a
// configuration that lead git elsewhere.
func TestIgnoresSurroundings(t *testing.T) {
	dir := newRepository(t)
	ids := allObjects(t, dir)
	gitRun(t, dir, "replace", gitRun(t, dir, "rev-parse", "main:empty"), gitRun(t, dir, "rev-parse", "main:README"))
	gitRun(t, dir, "replace", gitRun(t, dir, "rev-parse", "main"), gitRun(t, dir, "rev-parse", "light"))
	gitRun(t, dir, "config", "core.fsmonitor", "touch "+filepath.Join(dir, "hacked"))
	gitRun(t, dir, "config", "core.hooksPath", dir)
	main := gitRun(t, dir, "rev-parse", "main")
	checked := func(t *testing.T, o Options) {
		s := open(t, dir, o)
		for _, id := range ids {
			if kind, data, err := s.Read(context.Background(), id); err != nil || hashObject(kind, data) != id {
				t.Errorf("%s: %v", id, err)
			}
		}
		if id, err := s.Resolve(context.Background(), "main"); string(id) != main || err != nil {
			t.Errorf("%s, %v", id, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "hacked")); err == nil {
			t.Error("the repository's configuration ran a program")
		}
	}
	t.Setenv("GIT_DIR", t.TempDir())
	t.Setenv("GIT_OBJECT_DIRECTORY", t.TempDir())
	t.Setenv("GIT_TRACE", "1")
	backends(t, checked)
}

// TestPartialClone has objects that git would fetch when asked for them.
func TestPartialClone(t *testing.T) {
	dir := newRepository(t)
	gitRun(t, dir, "config", "uploadpack.allowFilter", "true")
	gitRun(t, dir, "clone", "-q", "--bare", "--no-local", "--filter=blob:none", "file://"+dir, dir+".git")
	missing := func() string { return gitRun(t, dir+".git", "rev-list", "--objects", "--all", "--missing=print") }
	id := OID(gitRun(t, dir, "rev-parse", "main:README"))
	if !strings.Contains(missing(), "?"+string(id)) {
		t.Skip("this git made no partial clone")
	}
	backends(t, func(t *testing.T, o Options) {
		s := open(t, dir+".git", o)
		if _, _, err := s.Read(context.Background(), id); !errors.Is(err, ErrMissing) {
			t.Errorf("read: %v", err)
		}
		if err := s.Sizes(context.Background(), []OID{id}, func(int, int64) error { return nil }); !errors.Is(err, ErrMissing) {
			t.Errorf("size: %v", err)
		}
		if !strings.Contains(missing(), "?"+string(id)) {
			t.Error("the object was fetched")
		}
	})
}
