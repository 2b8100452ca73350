package gitstore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLayouts reads every object of a repository in each of the forms that
// git gives repositories.
func TestLayouts(t *testing.T) {
	layouts := map[string]func(t *testing.T, repo string) (dir string){
		"loose":         func(_ *testing.T, repo string) string { return repo },
		"git directory": func(_ *testing.T, repo string) string { return filepath.Join(repo, ".git") },
		"packed": func(t *testing.T, repo string) string {
			gitRun(t, repo, "repack", "-qad")
			gitRun(t, repo, "pack-refs", "--all")
			return repo
		},
		"packed and loose": func(t *testing.T, repo string) string {
			gitRun(t, repo, "repack", "-qad")
			gitRun(t, repo, "commit", "-q", "--allow-empty", "-m", "third")
			return repo
		},
		"bare": func(t *testing.T, repo string) string {
			gitRun(t, repo, "clone", "-q", "--bare", "--no-local", repo, repo+".git")
			return repo + ".git"
		},
		"alternates": func(t *testing.T, repo string) string {
			gitRun(t, repo, "clone", "-q", "--bare", "--shared", repo, repo+"2")
			gitRun(t, repo, "clone", "-q", "--shared", repo+"2", repo+"3")
			gitRun(t, repo+"3", "commit", "-q", "--allow-empty", "-m", "third")
			return repo + "3"
		},
		"shallow": func(t *testing.T, repo string) string {
			gitRun(t, repo, "clone", "-q", "--bare", "--no-local", "--depth", "1", repo, repo+".git")
			return repo + ".git"
		},
		"linked work tree": func(t *testing.T, repo string) string {
			gitRun(t, repo, "worktree", "add", "-q", "-b", "other", repo+"-linked")
			return repo + "-linked"
		},
	}
	for name, layout := range layouts {
		t.Run(name, func(t *testing.T) {
			dir := layout(t, newRepository(t))
			ids := allObjects(t, dir)
			head := OID(gitRun(t, dir, "rev-parse", "HEAD"))
			backends(t, func(t *testing.T, o Options) {
				s := open(t, dir, o)
				checkObjects(t, s, dir, ids)
				if got, err := s.Resolve(context.Background(), "HEAD"); got != head || err != nil {
					t.Errorf("HEAD is %s, %v; want %s", got, err, head)
				}
			})
		})
	}
}

func TestResolve(t *testing.T) {
	dir := newRepository(t)
	first, second := gitRun(t, dir, "rev-parse", "light"), gitRun(t, dir, "rev-parse", "main")
	backends(t, func(t *testing.T, o Options) {
		s := open(t, dir, o)
		ctx := context.Background()
		for rev, want := range map[string]string{
			"HEAD": second, "main": second, "refs/heads/main": second, "heads/main": second,
			"light": first, "tags/light": first, "heavy": second, "nested": second,
			second: second, first: first, second[:12]: second, "main~1": first,
			gitRun(t, dir, "rev-parse", "nested"): second,
		} {
			if got, err := s.Resolve(ctx, rev); string(got) != want || err != nil {
				t.Errorf("%s is %s, %v; want %s", rev, got, err, want)
			}
		}
		for _, rev := range []string{"", "nothing", "-h", "--all", "ma\nin", "main\x00", "refs/heads/none", "../HEAD", "main/x", strings.Repeat("x", 300)} {
			if got, err := s.Resolve(ctx, rev); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%q is %s, %v", rev, got, err)
			}
		}
		if got, err := s.Resolve(ctx, "of-a-tree"); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a tag of a tree is %s, %v", got, err)
		}
		if got, err := s.Resolve(ctx, strings.Repeat("1", 40)); !errors.Is(err, ErrMissing) {
			t.Errorf("an id that is not there is %s, %v", got, err)
		}
		c, err := s.Commit(ctx, OID(second))
		if err != nil || string(c.ID) != second || string(c.Tree) != gitRun(t, dir, "rev-parse", "main^{tree}") || !c.Time.Equal(time.Unix(1700000000, 0)) {
			t.Errorf("commit: %+v, %v", c, err)
		}
		if _, err := s.Commit(ctx, c.Tree); err == nil {
			t.Error("a tree passes for a commit")
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	dir := newRepository(t)
	sha256 := filepath.Join(t.TempDir(), "sha256")
	gitRun(t, dir, "init", "-q", "--object-format=sha256", sha256)
	for _, bad := range []string{filepath.Join(dir, "sub-01"), filepath.Join(dir, "none"), filepath.Join(dir, "README"), filepath.Join(dir, ".git", "objects"), sha256} {
		if s, err := Open(bad, Options{}); err == nil {
			s.Close()
			t.Errorf("%s passes for a repository", bad)
		}
	}
	if _, err := Open(filepath.Join(dir, "none"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
}

func TestReadPath(t *testing.T) {
	dir := newRepository(t)
	gitRun(t, dir, "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",module")
	gitRun(t, dir, "commit", "-qm", "with a submodule")
	head := gitRun(t, dir, "rev-parse", "HEAD")
	backends(t, func(t *testing.T, o Options) {
		s := open(t, dir, o)
		ctx := context.Background()
		for range 2 { // the second time from memory
			for path, want := range map[string]string{
				"sub-01/anat/sub-01_T1w.json": `{"a": 1}`, "empty": "", "a name/with ü and\nnewline": "odd",
				"sub-01/link": "../.git/annex/objects/aa/bb/MD5-s1--x/MD5-s1--x",
			} {
				for _, rev := range []string{"main", head} {
					if got, err := s.ReadPath(ctx, rev, path); string(got) != want || err != nil {
						t.Errorf("%q: %q, %v", path, got, err)
					}
				}
			}
			for _, path := range []string{"none", "sub-01/none", "README/x", "none/x", "", ".", "..", "/README", "sub-01//link", "sub-01/../README", "sub-01/", "module", "module/x", "readme"} {
				if got, err := s.ReadPath(ctx, head, path); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%q: %q, %v", path, got, err)
				}
			}
			if got, err := s.ReadPath(ctx, head, "sub-01"); !errors.Is(err, syscall.EISDIR) {
				t.Errorf("a directory: %q, %v", got, err)
			}
		}
		if _, err := s.ReadPath(ctx, "none", "README"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("no revision: %v", err)
		}
		if got, err := s.ReadPath(ctx, "light", "sub-02/func/f01"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a path of another commit: %q, %v", got, err)
		}
	})
}

// TestReadPathFollowsBranch has a branch move after it was read.
func TestReadPathFollowsBranch(t *testing.T) {
	backends(t, func(t *testing.T, o Options) {
		dir := newRepository(t)
		s := open(t, dir, o)
		if _, err := s.ReadPath(context.Background(), "main", "new"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "new"), []byte("new"), 0o600); err != nil {
			t.Fatal(err)
		}
		gitRun(t, dir, "add", "new")
		gitRun(t, dir, "commit", "-qm", "new")
		gitRun(t, dir, "repack", "-qad") // a pack that was not there at first
		if got, err := s.ReadPath(context.Background(), "main", "new"); string(got) != "new" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestEmptyTree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repo")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	gitRun(t, dir, "init", "-q")
	backends(t, func(t *testing.T, o Options) {
		kind, data, err := open(t, dir, o).Read(context.Background(), emptyTree)
		if kind != "tree" || len(data) != 0 || err != nil {
			t.Errorf("%s, %q, %v", kind, data, err)
		}
	})
}

// TestPipelining asks for far more than a pipe holds, both ways: a writer that
// waits for a reader that waits for the writer would hang.
func TestPipelining(t *testing.T) {
	dir := newRepository(t)
	id := OID(gitRun(t, dir, "rev-parse", "main:README"))
	ids := make([]OID, 4000)
	for i := range ids {
		ids[i] = id
	}
	backends(t, func(t *testing.T, o Options) {
		s := open(t, dir, o)
		n := 0
		err := s.ReadAll(context.Background(), ids, func(i int, _ string, data []byte) error {
			if i == n && len(data) > 10000 {
				n++
			}
			return nil
		})
		if n != len(ids) || err != nil {
			t.Errorf("%d of %d, %v", n, len(ids), err)
		}
	})
}

func TestNotAnID(t *testing.T) {
	dir := newRepository(t)
	backends(t, func(t *testing.T, o Options) {
		s := open(t, dir, o)
		for _, id := range []OID{"", "HEAD", "main", OID(strings.Repeat("A", 40)), OID(strings.Repeat("1", 39)), OID(strings.Repeat("1", 64)), OID(strings.Repeat("1", 39) + "\n")} {
			if _, _, err := s.Read(context.Background(), id); err == nil {
				t.Errorf("%q is read", id)
			}
			if err := s.Sizes(context.Background(), []OID{id}, func(int, int64) error { return nil }); err == nil {
				t.Errorf("%q has a size", id)
			}
			if _, err := s.Copy(context.Background(), id, io.Discard); err == nil {
				t.Errorf("%q is copied", id)
			}
		}
	})
}
