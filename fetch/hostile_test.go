package fetch

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/gittest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// trap is a program that leaves a trace in a directory when it is run.
func trap(t testing.TB, path, traces string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\necho \"$0 $*\" >> %s/$(basename \"$0\").$$\nexit 0\n", traces)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// picture describes every file below a directory: name, mode and content.
func picture(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := e.Info()
		if err != nil {
			return err
		}
		text := st.Mode().String()
		if st.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %d %s %x", st.Size(), st.ModTime(), sha256.Sum256(content))
		}
		all[strings.TrimPrefix(path, dir)] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func samePicture(t testing.TB, what string, before, after map[string]string) {
	t.Helper()
	for path, is := range after {
		if was, ok := before[path]; !ok {
			t.Errorf("%s: %s is new", what, path)
		} else if was != is {
			t.Errorf("%s: %s changed", what, path)
		}
	}
	for path := range before {
		if _, ok := after[path]; !ok {
			t.Errorf("%s: %s is gone", what, path)
		}
	}
}

// hostile makes a local dataset whose hooks, configuration and git-annex branch
// all name programs, each of which leaves a trace. These are in PATH too.
func hostile(t *testing.T, m *maker.Made, traces string) {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"git-annex-remote-trap", "trap", "git-remote-trap"} {
		trap(t, filepath.Join(bin, name), traces)
	}
	t.Setenv("PATH", os.Getenv("PATH")+string(os.PathListSeparator)+bin)
	git := filepath.Join(m.Dir, ".git")
	for _, hook := range []string{
		"pre-commit", "post-checkout", "post-merge", "post-index-change", "pre-auto-gc", "reference-transaction", "fsmonitor-watchman", "post-update", "pre-receive", "update", "post-rewrite", "pre-push",
		"pre-commit-annex", "post-update-annex", "freezecontent-annex", "thawcontent-annex",
	} {
		trap(t, filepath.Join(git, "hooks", hook), traces)
	}
	evil := filepath.Join(bin, "trap")
	for name, value := range map[string]string{
		"core.fsmonitor": evil, "core.sshCommand": evil, "core.pager": evil, "core.editor": evil, "core.gitProxy": evil, "core.alternateRefsCommand": evil,
		"filter.annex.process": evil, "filter.annex.smudge": evil, "filter.annex.clean": evil, "filter.x.process": evil, "diff.external": evil, "credential.helper": "!" + evil,
		"uploadpack.packObjectsHook": evil, "gpg.program": evil, "annex.post-update-command": evil, "annex.freezecontent-command": evil, "annex.thawcontent-command": evil,
		"annex.secure-erase-command": evil, "remote.evil.url": "ext::" + evil, "remote.evil.annex-externaltype": "trap", "remote.evil.annex-uuid": "11111111-1111-4111-8111-111111111111",
		"alias.annex": "!" + evil, "gc.auto": "1", "core.hooksPath": filepath.Join(git, "hooks"), "trap.x": "y",
	} {
		run(t, m.Dir, "git", "config", name, value)
	}
	// The git-annex branch wants a special remote that runs a program.
	log := "11111111-1111-4111-8111-111111111111 autoenable=true encryption=none externaltype=trap name=evil type=external timestamp=1700000000s\n" +
		"22222222-2222-4222-8222-222222222222 autoenable=true directory=/ encryption=none name=dir type=directory timestamp=1700000000s\n" +
		"33333333-3333-4333-8333-333333333333 autoenable=true encryption=none hooktype=trap name=hook type=hook timestamp=1700000000s\n" +
		"44444444-4444-4444-8444-444444444444 autoenable=true encryption=none rsyncurl=" + evil + " name=rsync type=rsync timestamp=1700000000s\n"
	index := filepath.Join(t.TempDir(), "remote.log")
	if err := os.WriteFile(index, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`set -e
export GIT_INDEX_FILE=%s
git -c core.hooksPath=/dev/null read-tree git-annex
blob=$(git hash-object -w --no-filters %s)
git -c core.hooksPath=/dev/null update-index --add --cacheinfo 100644,$blob,remote.log
tree=$(git -c core.hooksPath=/dev/null write-tree)
commit=$(git -c core.hooksPath=/dev/null commit-tree -m evil -p git-annex $tree)
git -c core.hooksPath=/dev/null update-ref refs/heads/git-annex $commit
`, index+".index", index)
	run(t, m.Dir, "sh", "-c", script)
	os.RemoveAll(traces) // of the above
	if err := os.MkdirAll(traces, 0o755); err != nil {
		t.Fatal(err)
	}
}

// A repository on this machine is read, not run and not written to, whatever
// its hooks, its configuration and its git-annex branch say; nor is the home
// directory.
func TestHostileLocalRepositoryIsOnlyRead(t *testing.T) {
	gittest.EachAnnex(t, func(t *testing.T) {
		for _, present := range []bool{true, false} {
			s, m := dataset(t, maker.Web, 2, 1000)
			d := m.Dataset
			d.WorkTree, d.Present = true, present
			m, err := maker.Make(filepath.Join(t.TempDir(), "evil"), d)
			if err != nil {
				t.Fatal(err)
			}
			s.Add(m)
			traces := filepath.Join(t.TempDir(), "traces")
			hostile(t, m, traces)
			home := os.Getenv("HOME")
			before, homeBefore := picture(t, m.Dir), picture(t, home)
			for _, fetcher := range []string{"auto", "annex"} {
				r, _ := origin(t, m.Dir, OriginOptions{Fetcher: fetcher})
				for i := range m.Files {
					f := &m.Files[i]
					list, err := r.Sources(t.Context(), f.Key)
					if err != nil {
						t.Fatal(err)
					}
					if _, ok := list[0].(*fileSource); ok != present {
						t.Errorf("its own objects come first: %v", list)
					}
					// git-annex is asked also where others come first.
					if err := place(t, t.Context(), annexOf(t, r, f.Key), f); err != nil {
						t.Error(err)
					}
				}
				r.Close()
			}
			samePicture(t, "repository", before, picture(t, m.Dir))
			samePicture(t, "home", homeBefore, picture(t, home))
			for name := range picture(t, traces) {
				if name != "" {
					t.Errorf("it was run: %s", name)
				}
			}
		}
	})
}

// The same for a dataset behind a URL: what its git-annex branch wants to be
// run is not, though it is in PATH.
func TestHostileBranchRunsNothing(t *testing.T) {
	gittest.EachAnnex(t, func(t *testing.T) {
		s, m := dataset(t, maker.Web, 1, 1000)
		d := m.Dataset
		d.WorkTree = true
		m, err := maker.Make(filepath.Join(t.TempDir(), "evil"), d)
		if err != nil {
			t.Fatal(err)
		}
		s.Add(m)
		traces := filepath.Join(t.TempDir(), "traces")
		hostile(t, m, traces)
		run(t, m.GitDir, "git", "-c", "core.hooksPath=/dev/null", "update-server-info")
		r, _ := origin(t, s.GitURL(m), OriginOptions{Fetcher: "annex"})
		if err := place(t, t.Context(), annexOf(t, r, m.Files[0].Key), &m.Files[0]); err != nil {
			t.Error(err)
		}
		r.Close()
		for name := range picture(t, traces) {
			if name != "" {
				t.Errorf("it was run: %s", name)
			}
		}
	})
}
