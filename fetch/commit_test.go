package fetch

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// A commit that no tag and no branch names is had by its id, in full or cut short,
// from whatever serves it: also where only what is named can be asked for.
func TestCloneOfACommitWithoutAName(t *testing.T) {
	needGit(t)
	dataset := maker.Dataset{Name: "ds", Files: []maker.File{{Path: "README", Data: []byte("new")}}, Earlier: []maker.Version{
		{Files: []maker.File{{Path: "README", Data: []byte("first")}}}, {Files: []maker.File{{Path: "README", Data: []byte("second")}}},
	}}
	m, err := maker.Make(filepath.Join(t.TempDir(), "ds"), dataset)
	if err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(t.TempDir(), "ds.bundle")
	run(t, m.GitDir, "git", "bundle", "create", "-q", bundle, "--all")
	where := map[string]string{"path": m.GitDir, "bundle": bundle}
	for name, o := range map[string]publisher.Options{"smart": {}, "dumb": {DumbGit: true}} {
		s, err := publisher.New(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		s.Add(m)
		where[name] = s.GitURL(m)
	}
	strict, err := maker.Make(filepath.Join(t.TempDir(), "ds"), dataset)
	if err != nil {
		t.Fatal(err)
	}
	run(t, strict.GitDir, "git", "config", "uploadpack.allowAnySHA1InWant", "false")
	run(t, strict.GitDir, "git", "config", "protocol.version", "0")
	where["strict"] = strict.GitDir
	first := m.Commits[0]
	for name, dataset := range where {
		t.Run(name, func(t *testing.T) {
			for _, version := range []string{first, strings.ToUpper(first), first[:12]} {
				clone, err := hiddenOf(t).Clone(t.Context(), specOf(t, dataset), version, CloneOptions{Git: FindGit()})
				if err != nil {
					t.Errorf("%s: %v", version, err)
					continue
				}
				if string(clone.Commit) != first || readme(t, clone) != "first" {
					t.Errorf("%s is %s with %q", version, clone.Commit, readme(t, clone))
				}
				if err := clone.WaitBranch(t.Context()); err != nil {
					t.Errorf("%s: the git-annex branch: %v", version, err)
				}
			}
			// What is no commit of it leaves no clone.
			h := hiddenOf(t)
			for _, version := range []string{strings.Repeat("1", 40), "1111111", strings.Repeat("1", 41), "111111"} {
				_, err := h.Clone(t.Context(), specOf(t, dataset), version, CloneOptions{Git: FindGit()})
				wantAdvice(t, err, advice.UnknownVersion)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(h.dir), "*")); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(h.dir), ".*")); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}
