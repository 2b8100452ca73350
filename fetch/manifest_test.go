package fetch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

func TestManifestIsReadAsItWasWritten(t *testing.T) {
	dir := t.TempDir()
	if _, err := readManifest(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no manifest: %v", err)
	}
	// A link into the cache is not the clone's to flush.
	if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "objects")); err != nil {
		t.Fatal(err)
	}
	want := manifest{URL: "https://example.org/a", Versions: map[string]gitstore.OID{"": one, "1.0": two}, Annex: "refs/heads/git-annex", Behind: []gitstore.OID{two}}
	for range 2 { // the second time there is one to replace
		if err := want.write(dir); err != nil {
			t.Fatal(err)
		}
		if got, err := readManifest(dir); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.new")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := want.write(filepath.Join(dir, "gone")); err == nil {
		t.Error("a manifest of nothing is written")
	}
}

func TestManifestsThatCouldNotBeOurs(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{
		``, `[]`, `{`, `{"versions":{"":"main"}}`, `{"versions":{"":"` + strings.ToUpper("a"+one[1:]) + `"}}`, `{"behind":["--help"]}`, `{"annex":"--upload-pack=x"}`, `{"annex":"git-annex"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, manifestName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := readManifest(dir); err == nil {
			t.Errorf("%s is %+v", text, m)
		}
		if from := ClonedFrom(dir); from != "" {
			t.Errorf("%s: cloned from %q", text, from)
		}
	}
}

func TestKnownVersions(t *testing.T) {
	m := manifest{Versions: map[string]gitstore.OID{"": one, "1.0": two}}
	for version, want := range map[string]gitstore.OID{"": one, "1.0": two, one: one, two[:7]: two, strings.ToUpper(two[:10]): two, two[:6]: "", "main": "", three: ""} {
		if id, ok := m.known(version); id != want || ok != (want != "") {
			t.Errorf("version %q is %q, %v; want %q", version, id, ok, want)
		}
	}
}

// A version waits for the git-annex branch when it is news, and once.
func TestVersionsWaitForTheirBranchOnce(t *testing.T) {
	m := manifest{Versions: make(map[string]gitstore.OID)}
	m.add("", fetched{commit: one, annex: "refs/heads/git-annex"})
	m.add("main", fetched{commit: one, annex: "refs/heads/git-annex"})
	m.add("1.0", fetched{commit: two}) // it came along
	m.add("2.0", fetched{commit: three, annex: "refs/heads/git-annex"})
	if want := []gitstore.OID{one, three}; !reflect.DeepEqual(m.Behind, want) || m.Annex != "refs/heads/git-annex" || len(m.Versions) != 4 {
		t.Errorf("%+v; want %v behind", m, want)
	}
}

func TestClonedFromHasNoPassword(t *testing.T) {
	for url, want := range map[string]string{
		"https://example.org/a": "https://example.org/a", "https://me:hunter2@example.org/a": "https://me:xxxxx@example.org/a", "https://me@example.org/a": "https://me@example.org/a", "/data/a": "/data/a", "git@example.org:a/b": "git@example.org:a/b",
	} {
		dir := t.TempDir()
		if err := (manifest{URL: url}).write(dir); err != nil {
			t.Fatal(err)
		}
		if got := ClonedFrom(dir); got != want {
			t.Errorf("cloned from %q, want %q", got, want)
		}
	}
}
