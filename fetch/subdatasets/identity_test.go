package subdatasets

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// The same URL and commit are one clone, whatever parents, paths and ids lead to it;
// and what is there needs no network. A hostile parent's clone is never another's.
func TestOneCloneOfOnePlace(t *testing.T) {
	b := newBench(t)
	s, evil := serve(t, t.TempDir()), serve(t, t.TempDir())
	commit := repository(t, filepath.Join(s.root, "lab", "sub"), "right", false)
	gittest.Run(t, evil.root, "git", "clone", "-q", "--bare", filepath.Join(s.root, "lab", "sub"), filepath.Join(evil.root, "sub"))
	gittest.Run(t, filepath.Join(evil.root, "sub"), "git", "branch", "git-annex", string(commit))
	const id = "datalad-id = 6c9a6b26-6a5c-4e0c-9d0b-5f3a3d0ef1f8"
	// The hostile one comes first, with the id and the commit of the other.
	theirs, err := b.set(b.parent(evil.URL+"/super"), b.options(module("a", "url = ../sub", id))).Clone(t.Context(), "a", commit)
	if err != nil {
		t.Fatal(err)
	}
	first, err := b.set(b.parent(s.URL+"/lab/super"), b.options(module("x", "url = ../sub", id))).Clone(t.Context(), "x", commit)
	if err != nil || first.Clone.Dir == theirs.Clone.Dir {
		t.Fatalf("%v, %v", first, err)
	}
	s.requests()
	for name, o := range map[string]Options{
		"another path":            b.options(module("y", "url = "+s.URL+"/lab/sub", id)),
		"another place before it": b.options(module("y", "url = "+s.URL+"/lab/sub", "datalad-url = "+s.URL+"/lab/gone")),
	} {
		had, err := b.set(b.parent(s.URL+"/elsewhere/super"), o).Clone(t.Context(), "y", commit)
		if err != nil || had.Clone.Dir != first.Clone.Dir {
			t.Errorf("%s: %v, %v", name, had, err)
		}
		o.Clone.Offline, o.Clone.Git = true, ""
		if had, err := b.set(b.parent(s.URL+"/elsewhere/super"), o).Clone(t.Context(), "y", commit); err != nil || had.Clone.Dir != first.Clone.Dir {
			t.Errorf("%s, offline: %v, %v", name, had, err)
		}
	}
	if got := s.requests(); len(got) != 0 {
		t.Errorf("the server is asked for %q", got)
	}
	if got := b.clones(); len(got) != 2 {
		t.Errorf("there are the clones %q", got)
	}
	o := b.options(module("z", "url = "+s.URL+"/lab/sub"))
	o.Clone.Offline = true
	_, err = b.set(b.parent(s.URL+"/super"), o).Clone(t.Context(), "z", nowhere)
	if known := new(advice.Error); !errors.As(err, &known) || known.Reason != advice.Offline {
		t.Errorf("a commit that is not known, offline: %v", err)
	}
	for _, c := range []struct{ a, b string }{{"https://github.com/a/b", "https://github.com/a/b.git/"}, {"https://GitHub.com/a/b.git", "https://github.com/a/b"}} {
		var names []string
		for _, url := range []string{c.a, c.b} {
			list, _ := b.set(b.parent("https://example.org/super"), b.options(module("x", "datalad-url = "+url))).attempts("x")
			spec, err := list[0].spec()
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, spec.Name)
		}
		if names[0] != names[1] {
			t.Errorf("%q: %q", c, names)
		}
	}
}

// A branch that is called as the commit, but is at another, is not taken for it.
func TestBranchNamedAsACommit(t *testing.T) {
	b := newBench(t)
	s := serve(t, t.TempDir())
	path := filepath.Join(s.root, "sub")
	repository(t, path, "another", false)
	gittest.Run(t, path, "git", "update-ref", "refs/heads/"+string(nowhere), "main")
	gittest.Run(t, path, "git", "update-ref", "refs/tags/"+string(nowhere), "main")
	o := b.options(module("sub", "url = ../sub"))
	had, err := b.set(b.parent(s.URL+"/super"), o).Clone(t.Context(), "sub", nowhere)
	if notHad(t, had, err, advice.NotFound); len(b.clones()) != 0 {
		t.Errorf("there are the clones %q", b.clones())
	}
	o.Open = func(context.Context, fetch.Spec, string, fetch.CloneOptions) (*fetch.Clone, error) {
		return &fetch.Clone{Commit: "2222222222222222222222222222222222222222"}, nil
	}
	had, err = b.set(b.parent(s.URL+"/super"), o).Clone(t.Context(), "sub", nowhere)
	notHad(t, had, err, advice.NotFound)
}
