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
		"https://example.org/a": "https://example.org/a", "https://me:hunter2@example.org/a": "https://me:xxxxx@example.org/a", "https://token@example.org/a": "https://xxxxx@example.org/a", "ssh://me@example.org/a": "ssh://me@example.org/a", "/data/a": "/data/a", "git@example.org:a/b": "git@example.org:a/b",
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

// What some dataset names by its whole id, as a subdataset's commit, is no answer to
// a short version that a user gives: it may be made so that it fits.
func TestShortVersionsAreNotADatasetsWord(t *testing.T) {
	const theirs, ours = "c4443a1fc81d21f39141e3744b654e2356956610", "d4443a1fc81d21f39141e3744b654e2356956610"
	m := manifest{URL: "https://example.org/a", Versions: map[string]gitstore.OID{theirs: theirs, "": ours}}
	for version, want := range map[string]gitstore.OID{theirs: theirs, strings.ToUpper(theirs): theirs, theirs[:39]: "", theirs[:7]: "", ours[:7]: ours, ours: ours, "": ours, "1.0": ""} {
		if got, known := m.known(version); got != want || known != (want != "") {
			t.Errorf("version %q is %q", version, got)
		}
	}
	dir := t.TempDir()
	if err := m.write(dir); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir, url, version string
		want              bool
	}{{dir, m.URL, theirs, true}, {dir, m.URL, theirs[:7], false}, {dir, m.URL + "b", theirs, false}, {t.TempDir(), m.URL, theirs, false}} {
		if got := IsKnown(c.dir, Spec{URL: c.url}, c.version); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
