package fetch

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

// withoutSecret checks an error, and that nothing of it tells a password.
func withoutSecret(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
		return
	}
	text := err.Error()
	if known, ok := err.(*advice.Error); ok {
		text += strings.Join(append(known.Do, known.Why), "\n")
	}
	if strings.Contains(text, "hunter2") {
		t.Errorf("%s: a password is told: %s", what, text)
	}
}

// Whatever fails, what stands before the "@" of a dataset's URL is not told.
func TestSecretsAreNotTold(t *testing.T) {
	needGit(t)
	t.Setenv("HOME", t.TempDir()) // no helper knows passwords
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	for _, user := range []string{"hunter2@", "me:hunter2@", ":hunter2@"} {
		url := strings.Replace(server.URL, "://", "://"+user, 1) + "/ds"
		spec := specOf(t, url)
		for _, git := range []string{FindGit(), ""} {
			_, err := hiddenOf(t).Clone(t.Context(), spec, "", CloneOptions{Git: git})
			withoutSecret(t, "cloning "+url, err)
		}
		h := hiddenOf(t)
		h.behind = map[gitstore.OID]bool{"1": true}
		if err := os.MkdirAll(h.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		run(t, h.dir, "git", "init", "-q", "--bare", ".")
		if err := (manifest{URL: url, Annex: annexRef}).write(h.dir); err != nil {
			t.Fatal(err)
		}
		c := &Clone{Dir: h.dir, Spec: spec, Commit: "1", hidden: h, options: CloneOptions{Git: FindGit()}}
		withoutSecret(t, "fetching the branch of "+url, c.WaitBranch(t.Context()))
	}
	for _, wrong := range []string{"ftp://me:hunter2@example.org/a", "https://me:hunter2@[example.org/a", "https://me:hunter2@example.org/a\n", "file://me:hunter2@example.org/a", "ria+https://me:hunter2@example.org/a"} {
		_, err := ParseSpec(wrong, "")
		withoutSecret(t, wrong, err)
	}
}

// Nor is that of another repository, which is where a dataset is to be put.
func TestSecretsOfOthersAreNotTold(t *testing.T) {
	needGit(t)
	if AnnexProgram() == "" {
		t.Skip("git-annex is not installed")
	}
	dir := t.TempDir()
	run(t, dir, "git", "init", "-q", ".")
	run(t, dir, "git", "config", "remote.origin.url", "https://me:hunter2@example.org/other")
	_, err := CloneDirect(t.Context(), specOf(t, "https://example.org/a"), "", strings.Repeat("1", 40), dir, CloneOptions{Git: FindGit()})
	withoutSecret(t, "another repository", err)
}
