package fetch

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// Content in a repository of the user's is found, bare or with a work tree,
// however its objects are hashed.
func TestContentInPlace(t *testing.T) {
	needGit(t)
	for _, tree := range []bool{false, true} {
		m, err := maker.Make(filepath.Join(t.TempDir(), "ds"), maker.Dataset{
			Name: "ds", WorkTree: tree, Present: true,
			Files: []maker.File{{Path: "a.nii", Size: 100, Seed: 1, Annexed: true}, {Path: "b.nii", Size: 100, Seed: 2, Annexed: true}},
		})
		if err != nil {
			t.Fatal(err)
		}
		key, other := m.Files[0].Key, m.Files[1].Key
		c := &Clone{Spec: specOf(t, m.Dir)}
		path := c.InPlace(key)
		if st, err := os.Stat(path); err != nil || st.Size() != 100 || filepath.Base(path) != key.FileName() {
			t.Fatalf("with a work tree: %v; it is at %q, %v", tree, path, err)
		}
		// The other way of hashing.
		dirs := objectDirs(m.Dir)
		if len(dirs) == 0 {
			t.Fatal("no objects")
		}
		moved := filepath.Join(dirs[0], key.HashDirLower(), key.FileName(), key.FileName())
		if moved == path {
			moved = filepath.Join(dirs[0], key.HashDirMixed(), key.FileName(), key.FileName())
		}
		if err := os.MkdirAll(filepath.Dir(moved), 0o755); err != nil {
			t.Fatal(err)
		}
		os.Chmod(filepath.Dir(path), 0o755)
		if err := os.Rename(path, moved); err != nil {
			t.Fatal(err)
		}
		if got := c.InPlace(key); got != moved {
			t.Errorf("hashed the other way it is at %q, want %q", got, moved)
		}
		// A link is no content, wherever it leads.
		at := c.InPlace(other)
		os.Chmod(filepath.Dir(at), 0o755)
		if err := os.Remove(at); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/etc/passwd", at); err != nil {
			t.Fatal(err)
		}
		if got := c.InPlace(other); got != "" {
			t.Errorf("a link is taken for content: %s", got)
		}
	}
}

func TestWhatIsLocal(t *testing.T) {
	key := annex.GitKey(one, 3)
	for _, c := range []struct {
		spec Spec
		want bool
	}{
		{Spec{URL: "/data/ds"}, true}, {Spec{URL: "/data/ds.bundle", Bundle: true}, false}, {Spec{URL: "https://example.org/ds"}, false}, {Spec{URL: "git@example.org:ds"}, false},
	} {
		clone := &Clone{Spec: c.spec}
		if clone.Local() != c.want {
			t.Errorf("%s is local: %v", c.spec.URL, !c.want)
		}
		if got := clone.InPlace(key); got != "" {
			t.Errorf("%s has content at %s", c.spec.URL, got)
		}
	}
	dir := t.TempDir()
	if dirs := objectDirs(dir); len(dirs) != 0 {
		t.Errorf("a directory without objects has %v", dirs)
	}
	if LocalPath(dir) != dir || LocalPath("https://example.org/a") != "" || LocalPath(filepath.Join(dir, "none")) != "" || LocalPath("ds000001") != "" {
		t.Error("local paths are those of directories that are there")
	}
}

// Of a repository on this machine nothing is copied, whatever version is asked
// for; of a shallow one, whose border git must know, what is needed is.
func TestLocalRepositoryIsNotCopied(t *testing.T) {
	_, m := history(t)
	shallow := filepath.Join(t.TempDir(), "shallow.git")
	run(t, m.GitDir, "git", "clone", "-q", "--bare", "--depth=1", "file://"+m.GitDir, shallow)
	linked := filepath.Join(t.TempDir(), "linked")
	run(t, m.GitDir, "git", "worktree", "add", "-q", "--detach", linked, "main")
	for dir, copied := range map[string]bool{m.GitDir: false, linked: false, shallow: true} {
		h := hiddenOf(t)
		versions := map[string]string{"": "new", "1.0": "old", m.Commits[1]: "new"}
		if copied {
			versions = map[string]string{"": "new"}
		}
		for version, want := range versions {
			c, err := h.Clone(t.Context(), specOf(t, dir), version, CloneOptions{Git: FindGit()})
			if err != nil {
				t.Fatal(err)
			}
			if got := readme(t, c); got != want {
				t.Errorf("version %q of %s says %q", version, dir, got)
			}
			if err := c.WaitBranch(t.Context()); err != nil || !copied && run(t, c.Dir, "git", "rev-parse", annexRef) != m.Branch+"\n" {
				t.Errorf("the git-annex branch: %v", err)
			}
		}
		packs, _ := filepath.Glob(filepath.Join(h.dir, "objects", "*", "*"))
		if got := len(packs) > 1; got != copied { // one says where they are
			t.Errorf("of %s were copied: %v", dir, packs)
		}
	}
}
