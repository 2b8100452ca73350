package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// needGit skips a test where there is no git.
func needGit(t testing.TB) {
	t.Helper()
	if FindGit() == "" {
		t.Skip("git is not installed")
	}
}

// run runs a command and returns what it prints.
func run(t testing.TB, dir string, args ...string) string {
	t.Helper()
	c := exec.Command(args[0], args[1:]...)
	c.Dir = dir
	c.Env = append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org")
	var said bytes.Buffer // git-annex says there what it thinks of a remote
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", args, err, out, said.String())
	}
	return string(out)
}

// dataset makes a dataset with n annexed files of size bytes, which a server
// has in this way.
func dataset(t testing.TB, kind maker.Kind, n int, size int64) (*publisher.Server, *maker.Made) {
	t.Helper()
	s, err := publisher.New(publisher.Options{DumbGit: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	d := maker.Dataset{Name: "ds", Remotes: []maker.Remote{{Name: "s3", Kind: kind, URL: s.URL + "/bucket"}}}
	for i := range n {
		d.Files = append(d.Files, maker.File{Path: fmt.Sprintf("sub-%02d/a.bin", i+1), Size: size, Seed: uint64(i + 1), Annexed: true})
	}
	m, err := maker.Make(filepath.Join(t.TempDir(), "ds"), d)
	if err != nil {
		t.Fatal(err)
	}
	s.Add(m)
	return s, m
}

// origin clones a dataset and returns its origin, and the hidden clone's
// directory. Content may come from this machine.
func origin(t testing.TB, url string, o OriginOptions) (*Origin, string) {
	t.Helper()
	needGit(t)
	spec, err := ParseSpec(url, "")
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	hidden := NewHidden(filepath.Join(cache, "datasets", spec.Name))
	t.Cleanup(hidden.Close)
	if err := os.MkdirAll(filepath.Join(cache, "objects"), 0o700); err != nil {
		t.Fatal(err)
	}
	clone, err := hidden.Clone(t.Context(), spec, "", CloneOptions{Git: FindGit(), Objects: filepath.Join(cache, "objects")})
	if err != nil {
		t.Fatal(err)
	}
	git, err := gitstore.Open(clone.Dir, gitstore.Options{Git: FindGit()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { git.Close() })
	if o.AllowAddresses == nil {
		o.AllowAddresses = []string{"127.0.0.1"}
	}
	r, err := NewOrigin(clone, git, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, clone.Dir
}

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
