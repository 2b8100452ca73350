package publisher

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/gittest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// clone clones a dataset by its URL and enables its remotes, as a person with
// this git-annex would.
func clone(t *testing.T, program string, s *Server, m *maker.Made) (dir string) {
	t.Helper()
	dir = gittest.AnnexDir(t)
	gittest.Run(t, dir, "git", "clone", "-q", s.GitURL(m), ".")
	gittest.Run(t, dir, "git", "config", "annex.security.allowed-ip-addresses", "all")
	gittest.Run(t, dir, "git", "config", "filter.annex.process", program+" filter-process")
	gittest.Run(t, dir, program, "init", "-q", "--no-autoenable")
	for i := range m.Dataset.Remotes {
		if r := &m.Dataset.Remotes[i]; r.Kind != maker.Web {
			gittest.Run(t, dir, program, "enableremote", "-q", r.Name)
			// The newest git-annex wants to be told that a remote is meant.
			gittest.Run(t, dir, "git", "config", "remote."+r.Name+".annex-verified", "verified")
		}
	}
	return dir
}

// TestGitAnnexAccepts has every git-annex at hand get everything.
func TestGitAnnexAccepts(t *testing.T) {
	for _, program := range gittest.Annexes(t) {
		t.Run(program, func(t *testing.T) {
			// git runs "git-annex" by that name.
			t.Setenv("PATH", filepath.Dir(program)+string(os.PathListSeparator)+os.Getenv("PATH"))
			s := newServer(t, Options{})
			m := mustMake(t, t.TempDir(), maker.Sample(s.URL))
			s.Add(m)
			dir := clone(t, program, s, m)
			for i := range m.Files {
				checkWhereis(t, program, dir, m, &m.Files[i])
			}
			gittest.Run(t, dir, program, "get", "-q", ".")
			if out := gittest.Run(t, dir, program, "fsck"); strings.Contains(out, "failed") {
				t.Error(out)
			}
			for i := range m.Files {
				f := &m.Files[i]
				if f.Link != "" {
					continue
				}
				got, err := os.ReadFile(filepath.Join(dir, f.Path))
				want, _ := maker.Bytes(f.Content)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes, %v", f.Path, len(got), err)
				}
			}
			if out := gittest.Run(t, dir, program, "find", "--not", "--in", "here"); out != "" {
				t.Errorf("not here:\n%s", out)
			}
			// What the first version had is still published.
			gittest.Run(t, dir, "git", "checkout", "-q", "0.9.0")
			gittest.Run(t, dir, program, "get", "-q", "sub-01")
		})
	}
}

// checkWhereis checks that git-annex knows the file's URLs.
func checkWhereis(t *testing.T, program, dir string, m *maker.Made, f *maker.MadeFile) {
	t.Helper()
	if !f.Annexed {
		return
	}
	if key := strings.TrimSpace(gittest.Run(t, dir, program, "lookupkey", f.Path)); key != f.Key.String() {
		t.Errorf("%s has key %s, want %s", f.Path, key, f.Key)
	}
	// It fails for what is only on a remote without versions, which counts as
	// untrusted, but it answers all the same.
	c := exec.Command(program, "whereis", f.Path)
	c.Dir = dir
	answer, _ := c.CombinedOutput()
	out := string(answer)
	for i := range m.Dataset.Remotes {
		if r := &m.Dataset.Remotes[i]; r.Holds(&f.File) && !strings.Contains(out, m.UUID(r)) {
			t.Errorf("%s: not on %s in\n%s", f.Path, r.Name, out)
		}
	}
	for _, u := range m.URLs(f) {
		// It lists the URLs of S3 unescaped, and none for exports without versions.
		if strings.Contains(u, "/plain/") || strings.Contains(u, "%") {
			continue
		}
		if !strings.Contains(out, u) {
			t.Errorf("%s: no %s in\n%s", f.Path, u, out)
		}
	}
}

// TestKeysAgreeWithGitAnnex has git-annex compute the keys from the content.
func TestKeysAgreeWithGitAnnex(t *testing.T) {
	programs := gittest.Annexes(t)
	m := mustMake(t, t.TempDir(), maker.Sample("http://127.0.0.1:1"))
	dir := gittest.AnnexDir(t)
	if err := m.Materialize(dir); err != nil {
		t.Fatal(err)
	}
	gittest.Run(t, dir, "git", "init", "-q")
	gittest.Run(t, dir, programs[0], "init", "-q", "here")
	for _, program := range programs {
		for i := range m.Files {
			f := &m.Files[i]
			if !f.Annexed {
				continue
			}
			out := gittest.Run(t, dir, program, "calckey", "--backend", f.Key.Backend(), f.Path)
			if got := strings.TrimSpace(out); got != f.Key.String() {
				t.Errorf("%s gives %s the key %s, want %s", program, f.Path, got, f.Key)
			}
		}
	}
}

// TestPresentContentIsHere has git-annex find the content in a repository
// that was made with it.
func TestPresentContentIsHere(t *testing.T) {
	for _, program := range gittest.Annexes(t) {
		for _, workTree := range []bool{false, true} {
			d := maker.Sample("http://127.0.0.1:1")
			d.Present, d.WorkTree = true, workTree
			m := mustMake(t, gittest.AnnexDir(t), d)
			for _, f := range m.Files {
				if f.Annexed {
					gittest.Run(t, m.Dir, program, "contentlocation", f.Key.String())
				}
			}
			out := gittest.Run(t, m.Dir, program, "fsck", "--all")
			if strings.Contains(out, "failed") || strings.Count(out, "(checksum...)") < 6 {
				t.Error(out)
			}
		}
	}
}
