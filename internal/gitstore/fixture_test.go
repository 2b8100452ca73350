package gitstore

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backends runs a test over both implementations.
func backends(t *testing.T, test func(t *testing.T, o Options)) {
	t.Run("git", func(t *testing.T) { test(t, Options{Git: gitProgram(t)}) })
	t.Run("go-git", func(t *testing.T) { test(t, Options{}) })
}

func gitProgram(t testing.TB) string {
	t.Helper()
	p, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	return p
}

func open(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// gitRun runs git in dir and returns what it says, without the last newline.
func gitRun(t testing.TB, dir string, args ...string) string {
	t.Helper()
	return gitIn(t, dir, "", args...)
}

func gitIn(t testing.TB, dir, stdin string, args ...string) string {
	t.Helper()
	c := exec.Command(gitProgram(t), append([]string{"-c", "protocol.file.allow=always", "-c", "gc.auto=0"}, args...)...)
	c.Dir = dir
	c.Stdin = strings.NewReader(stdin)
	c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_AUTHOR_DATE=1600000000 +0000",
		"GIT_COMMITTER_NAME=a b", "GIT_COMMITTER_EMAIL=c@example.org", "GIT_COMMITTER_DATE=1700000000 +0100")
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, &errs)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// newRepository makes a repository with a work tree, two commits and some tags.
// Its objects are loose.
func newRepository(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	write := func(name, content string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	gitRun(t, dir, "init", "-q", "-b", "main")
	write("README", strings.Repeat("A line of the file that others differ little from.\n", 200))
	write("sub-01/anat/sub-01_T1w.json", `{"a": 1}`)
	write("empty", "")
	if err := os.Symlink("../.git/annex/objects/aa/bb/MD5-s1--x/MD5-s1--x", filepath.Join(dir, "sub-01", "link")); err != nil {
		t.Fatal(err)
	}
	gitRun(t, dir, "add", ".")
	gitRun(t, dir, "commit", "-qm", "first")
	gitRun(t, dir, "tag", "light")
	write("README", strings.Repeat("A line of the file that others differ little from.\n", 200)+"More.\n")
	for i := range 30 {
		write(fmt.Sprintf("sub-02/func/f%02d", i), fmt.Sprintf("content %d", i))
	}
	write("a name/with ü and\nnewline", "odd")
	gitRun(t, dir, "add", ".")
	gitRun(t, dir, "commit", "-qm", "second")
	gitRun(t, dir, "tag", "-am", "an annotated tag", "heavy")
	gitRun(t, dir, "tag", "-am", "a tag of a tag", "nested", "heavy")
	gitRun(t, dir, "tag", "of-a-tree", "HEAD^{tree}")
	return dir
}

// allObjects returns the ids of all objects that refs lead to.
func allObjects(t testing.TB, dir string) []OID {
	t.Helper()
	var ids []OID
	for line := range strings.Lines(gitRun(t, dir, "rev-list", "--objects", "--all", "--no-object-names")) {
		ids = append(ids, OID(strings.TrimSpace(line)))
	}
	if len(ids) < 40 {
		t.Fatalf("the test repository has only %d objects", len(ids))
	}
	return ids
}

// checkObjects reads ids in every way and compares with git itself.
func checkObjects(t *testing.T, s *Store, dir string, ids []OID) {
	t.Helper()
	ctx := context.Background()
	want := make([]string, 0, len(ids)) // "KIND SIZE"
	asked := ""
	for _, id := range ids {
		asked += string(id) + "\n"
	}
	for line := range strings.Lines(gitIn(t, dir, asked, "cat-file", "--batch-check=%(objecttype) %(objectsize)")) {
		want = append(want, strings.TrimSpace(line))
	}
	seen := 0
	err := s.ReadAll(ctx, ids, func(i int, kind string, data []byte) error {
		if i != seen {
			t.Fatalf("object %d comes in place of %d", i, seen)
		}
		seen++
		if got := fmt.Sprint(kind, " ", len(data)); got != want[i] {
			t.Errorf("%s is a %s, want %s", ids[i], got, want[i])
		}
		if got := hashObject(kind, data); got != ids[i] {
			t.Errorf("%s has the content of %s", ids[i], got)
		}
		return nil
	})
	if err != nil || seen != len(ids) {
		t.Fatalf("read %d of %d objects: %v", seen, len(ids), err)
	}
	seen = 0
	err = s.Sizes(ctx, ids, func(i int, size int64) error {
		seen++
		if !strings.HasSuffix(want[i], fmt.Sprint(" ", size)) {
			t.Errorf("%s has %d bytes, want %s", ids[i], size, want[i])
		}
		return nil
	})
	if err != nil || seen != len(ids) {
		t.Fatalf("sizes of %d of %d objects: %v", seen, len(ids), err)
	}
}
