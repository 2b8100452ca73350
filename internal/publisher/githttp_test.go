package publisher

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

func TestCloneByURL(t *testing.T) {
	gittest.NeedGit(t)
	for _, dumb := range []bool{false, true} {
		s, m, _, _ := published(t, Options{DumbGit: dumb})
		dir := t.TempDir()
		gittest.Run(t, dir, "git", "init", "-q", "--bare")
		depth := []string{"--depth", "1"}
		if dumb {
			depth = nil // only git's own server can cut history
		}
		args := append(append([]string{"git", "fetch", "-q"}, depth...), s.GitURL(m), "+main:main", "+git-annex:git-annex", "1.0.0")
		gittest.Run(t, dir, args...)
		if out := gittest.Run(t, dir, "git", "rev-parse", "main", "git-annex"); out != m.Commit()+"\n"+m.Branch+"\n" {
			t.Errorf("fetched\n%s", out)
		}
		if _, err := exec.Command("git", "-C", dir, "cat-file", "-e", m.Commits[0]).CombinedOutput(); (err == nil) != dumb {
			t.Errorf("dumb %t: the first commit: %v", dumb, err)
		}
		if out, err := exec.Command("git", "ls-remote", s.URL+"/git/absent.git").CombinedOutput(); err == nil {
			t.Errorf("a dataset that is not there was listed:\n%s", out)
		}
	}
}

func TestGitFault(t *testing.T) {
	gittest.NeedGit(t)
	s, m, _, _ := published(t, Options{})
	s.SetGitFault(Always(Status(503, 0)))
	out, err := exec.Command("git", "ls-remote", s.GitURL(m)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "503") {
		t.Errorf("%v\n%s", err, out)
	}
	s.SetGitFault(nil)
	gittest.Run(t, t.TempDir(), "git", "ls-remote", s.GitURL(m))
}

func TestHTTPS(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		end             time.Time
		trusted, served bool
	}{
		{now.Add(time.Hour), true, true},
		{now.Add(time.Hour), false, false},
		{now.Add(-time.Hour), true, false},
	} {
		cert, pool, err := SelfSigned(tt.end)
		if err != nil {
			t.Fatal(err)
		}
		s, _, url, content := published(t, Options{Certificate: &cert})
		c := client(t)
		if tt.trusted {
			c.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool}
		}
		g := ask(t, c, "GET", url)
		if (g.err == nil) != tt.served || tt.served && !bytes.Equal(g.body, content) {
			t.Errorf("%+v: %d, %v", tt, g.status, g.err)
		}
		if !tt.served && s.Counts().Requests > 0 {
			t.Errorf("%+v: a request came", tt)
		}
	}
}
