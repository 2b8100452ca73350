package dataset

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/index"
	"github.com/uniharmony/uniharmonyfs/internal/commit"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

// sidecars makes a chooser of a repository with n sidecars, each with its own
// content, between other files.
func sidecars(t *testing.T, n int) (c *Chooser, dir string) {
	t.Helper()
	dir = t.TempDir()
	git := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "core.looseCompression=0", "-C", dir}, args...)...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("git %v: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q")
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprintf("sub-%03d", i), "func")
		stem := filepath.Join(sub, fmt.Sprintf("sub-%03d_task-x", i))
		err := errors.Join(os.MkdirAll(sub, 0o755), os.WriteFile(stem+"_bold.json", fmt.Appendf(nil, `{"n": %d}`, i), 0o644),
			os.WriteFile(stem+"_bold.nii", nil, 0o644), os.WriteFile(stem+"_sbref.json", fmt.Appendf(nil, `{"s": %d}`, i), 0o644))
		if err != nil {
			t.Fatal(err)
		}
	}
	git("add", ".")
	git("commit", "-qm", "x")
	store, err := gitstore.Open(dir, gitstore.Options{Git: fetch.FindGit()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	x, err := index.Open(t.TempDir(), index.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	s, err := commit.Lister{Kept: x.Table(index.Listings), Log: slog.New(slog.DiscardHandler)}.List(t.Context(), store, gitstore.OID(git("rev-parse", "HEAD")), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := New(Options{Index: x, Log: slog.New(slog.DiscardHandler)})
	c = (&Version{registry: r, Git: store, Listing: s}).Chooser("", nil)
	c.nodes = c.v.sortedFiles()
	return c, dir
}

// Whatever was read ahead, a file has its own content.
func TestReadAhead(t *testing.T) {
	const n = 300
	c, _ := sidecars(t, n)
	want := func(i int) string {
		sub, kind := i/3, i%3
		return [...]string{fmt.Sprintf(`{"n": %d}`, sub), "", fmt.Sprintf(`{"s": %d}`, sub)}[kind]
	}
	read := func(i int) {
		t.Helper()
		got, err := c.read(context.Background(), i)
		if err != nil || string(got) != want(i) {
			t.Fatalf("%s: %q, %v; want %q", c.v.Path(c.nodes[i]), got, err, want(i))
		}
	}
	most := 0
	for i := 0; i < 3*n; i += 3 { // one sort, in order
		read(i)
		most = max(most, c.ahead.read)
		if len(c.ahead.data) > maxAhead {
			t.Fatalf("%d files are held", len(c.ahead.data))
		}
	}
	if most < 100 {
		t.Errorf("in order, at most %d files come at once", most)
	}
	for i := 3*n - 1; i >= 0; i -= 7 { // no order
		read(i)
	}
	if c.ahead.read > 4 {
		t.Errorf("without an order, %d files still come at once", c.ahead.read)
	}
	read(0)
	read(0) // again
}

// A damaged file is an error of its own only.
func TestReadAheadPastDamage(t *testing.T) {
	c, dir := sidecars(t, 8)
	bad := c.v.Key(c.nodes[3*5]).Name()
	path := filepath.Join(dir, ".git", "objects", bad[:2], bad[2:])
	if err := errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, []byte("damaged"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		got, err := c.read(context.Background(), 3*i)
		if i == 5 {
			if err == nil {
				t.Errorf("the damaged file is %q", got)
			}
		} else if want := fmt.Sprintf(`{"n": %d}`, i); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", want, got, err)
		}
	}
}
