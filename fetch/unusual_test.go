package fetch

import (
	"strings"
	"testing"
)

// A repository behind a URL is cloned whatever its branches are.
func TestUnusualRepositories(t *testing.T) {
	for name, c := range map[string]struct {
		change []string // git commands
		head   string   // of the hidden clone
		logs   bool
	}{
		"as usual":                  {nil, "refs/heads/main", true},
		"another main branch":       {[]string{"branch -m main trunk"}, "refs/heads/trunk", true},
		"no HEAD":                   {[]string{"symbolic-ref HEAD refs/heads/none"}, "refs/heads/main", true},
		"a detached HEAD":           {[]string{"update-ref --no-deref HEAD main"}, "refs/heads/main", true},
		"no git-annex branch":       {[]string{"branch -D git-annex"}, "refs/heads/main", false},
		"a clone of somebody":       {[]string{"update-ref refs/remotes/origin/git-annex git-annex", "branch -D git-annex"}, "refs/heads/main", true},
		"a git-annex branch as tag": {[]string{"tag git-annex git-annex", "branch -D git-annex"}, "refs/heads/main", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveGit(t, 2, allowFilter)
			main := strings.TrimSpace(run(t, s.m.GitDir, "git", "rev-parse", "main"))
			for _, change := range c.change {
				run(t, s.m.GitDir, strings.Fields("git "+change)...)
			}
			r, dir := origin(t, s.url, OriginOptions{Fetcher: "native"})
			if string(r.clone.Commit) != main {
				t.Errorf("it is at %s, want %s", r.clone.Commit, main)
			}
			if head := strings.TrimSpace(run(t, dir, "git", "symbolic-ref", "HEAD")); head != c.head {
				t.Errorf("HEAD is %s, want %s", head, c.head)
			}
			if urls := run(t, dir, "git", "config", "--get-all", "remote.origin.url"); urls != s.url+"\n" {
				t.Errorf("its origin is %q", urls)
			}
			for range 2 {
				if c.logs {
					wantURLs(t, r, s.m, 1)
				} else if list, err := r.Sources(t.Context(), s.m.Files[1].Key); err != nil || len(list) > 0 {
					t.Errorf("%v, %v", list, err)
				}
				visits := s.visits.Load()
				if err := r.clone.waitBeginning(t.Context()); err != nil || s.visits.Load() != visits {
					t.Errorf("asked again: %v", err)
				}
			}
		})
	}
}
