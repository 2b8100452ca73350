package fetch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/source/sourcetest"
)

// riaStore unpacks a RIA store as DataLad makes it, and returns the directory of it.
func riaStore(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	run(t, dir, "tar", "xzf", filepath.Join(must(filepath.Abs("testdata")), "ria", "stores.tar.gz"))
	return filepath.Join(dir, "store")
}

// keysOf returns the keys of a repository's git-annex branch, as the logs name them.
func keysOf(t testing.TB, repository string) (keys []annex.Key) {
	t.Helper()
	for path := range strings.FieldsSeq(run(t, repository, "git", "ls-tree", "-r", "--name-only", "git-annex")) {
		name, isLog := strings.CutSuffix(filepath.Base(path), ".log")
		if key, err := annex.ParseFileName(name); isLog && err == nil {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		t.Fatal("the dataset has no keys")
	}
	return keys
}

// Every key of a RIA store that DataLad made is read, as object and of archives, by
// its URL, its alias' URL and its path, and without git-annex.
func TestContentInRIAStores(t *testing.T) {
	dir := riaStore(t)
	served := serveDir(t, dir)
	for _, name := range []string{"stored", "packed"} {
		repository := must(filepath.EvalSymlinks(filepath.Join(dir, "alias", name)))
		below := must(filepath.Rel(dir, repository))
		for _, at := range []string{served.url + "/" + filepath.ToSlash(below), served.url + "/alias/" + name, repository} {
			t.Run(name+" at "+strings.Replace(at, served.url, "URL", 1), func(t *testing.T) {
				r, _ := origin(t, at, OriginOptions{Fetcher: "native"})
				archived := 0
				for _, key := range keysOf(t, repository) {
					list, err := r.Sources(t.Context(), key)
					if err != nil {
						t.Fatal(err)
					}
					if bring(t, list, key) == nil {
						t.Errorf("%s: nobody has it: %v", key, list)
					}
					if findObject(objectDirs(repository), key) == "" {
						archived++
					}
				}
				if archived != 3 {
					t.Errorf("%d keys are in the archive", archived)
				}
			})
		}
	}
}

const (
	oraID     = "11111111-2222-4333-8444-555555555555"
	datasetID = "bb4032f3-58c7-4acc-9728-f4f76e2d42cf"
	inStore   = "bb4/032f3-58c7-4acc-9728-f4f76e2d42cf"
)

// riaFor makes a dataset of which a store has the content, and a remote by this URL
// says so. The store is below dir.
func riaFor(t testing.TB, dir, url string) (*maker.Made, annex.Key, []byte) {
	t.Helper()
	m, err := maker.Make(filepath.Join(t.TempDir(), "ds"), maker.Dataset{Name: "ds", Files: []maker.File{{Path: "a.bin", Size: 1000, Seed: 1, Annexed: true}}})
	if err != nil {
		t.Fatal(err)
	}
	key := m.Files[0].Key
	content := must(maker.Bytes(m.Files[0].Content))
	object := filepath.Join(dir, inStore, "annex/objects", key.HashDirMixed(), key.FileName(), key.FileName())
	if err := os.MkdirAll(filepath.Dir(object), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(object, content, 0o444); err != nil {
		t.Fatal(err)
	}
	addRemote(t, m, oraID, "archive-id="+datasetID+" autoenable=true encryption=none externaltype=ora name=store-storage type=external url="+url, key)
	return m, key, content
}

// The git-annex branch leads to RIA stores, wherever the dataset itself comes from.
func TestRIAStoresOfTheBranch(t *testing.T) {
	dir := t.TempDir()
	served := serveDir(t, dir)
	m, key, content := riaFor(t, filepath.Join(dir, "my store"), "ria+"+served.url+"/my%20store")
	for _, at := range []string{m.Dir, "file://" + m.Dir, bundle(t, m)} {
		r, _ := origin(t, at, OriginOptions{Fetcher: "native"})
		list, err := r.Sources(t.Context(), key)
		if err != nil || len(list) != 1 || list[0].Exact() {
			t.Fatalf("%s: %v, %v", at, list, err)
		}
		if err := sourcetest.Fetch(t, list[0], content, 100, 500); err != nil {
			t.Error(err)
		}
		if want := "the store " + served.url + "/my%20store/" + inStore; list[0].String() != want {
			t.Errorf("it is called %s", list[0])
		}
	}
	// Who does not have it is not asked.
	addLogs(t, m, map[string]string{key.HashDirLower() + "/" + key.FileName() + ".log": "1800000000s 0 " + oraID + "\n"})
	r, _ := origin(t, m.Dir, OriginOptions{Fetcher: "native"})
	if list, err := r.Sources(t.Context(), key); err != nil || len(list) != 0 {
		t.Errorf("what was dropped is at %v, %v", list, err)
	}
}

// A store that is a directory is read for a dataset on this machine; what comes from
// elsewhere leads to no file here, and says so.
func TestDirectoriesOfRIAStores(t *testing.T) {
	dir := t.TempDir()
	m, key, content := riaFor(t, dir, "ria+file://"+dir)
	r, _ := origin(t, m.Dir, OriginOptions{Fetcher: "native"})
	list, err := r.Sources(t.Context(), key)
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	if err := sourcetest.Fetch(t, list[0], content, 0, 1000); err != nil {
		t.Error(err)
	}
	served := serveDir(t, filepath.Dir(m.Dir))
	run(t, m.Dir, "git", "update-server-info")
	for _, at := range []string{served.url + "/ds", bundle(t, m)} {
		r, _ := origin(t, at, OriginOptions{Fetcher: "native"})
		list, err := r.Sources(t.Context(), key)
		if err != nil || len(list) == 0 {
			t.Fatalf("%s: %v, %v", at, list, err)
		}
		for _, s := range list {
			if err := sourcetest.Fetch(t, s, content, 0, 1000); err == nil {
				t.Errorf("%s: %s was read", at, s)
			}
		}
		sourcetest.WantClass(t, sourcetest.Fetch(t, list[len(list)-1], content, 0, 1000), false, "not followed to this machine's files")
	}
	// Without the store there is a reason.
	if err := os.Rename(filepath.Join(dir, "bb4"), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	list, err = r.Sources(t.Context(), key)
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	sourcetest.WantClass(t, sourcetest.Fetch(t, list[0], content, 0, 1000), false, "not there")
}

// Whatever a branch says of RIA stores, it leads to no file here, to no address that
// must not be asked, and to no program.
func TestHostileRIAStores(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	for _, url := range []string{
		"ria+ssh://example.org/store", "ria+http://10.0.0.1/store", "ria+http://[::1]/store", "ria+http://2130706433/",
		"ria+https://me:secret@example.org/", "ria+file://" + filepath.Dir(secret), "ria+ftp://example.org/", "ria+ext::touch%20" + secret, "ria+file:///proc/self", "ria+", "https://10.0.0.1/",
	} {
		m, key, content := riaFor(t, t.TempDir(), url)
		r, _ := origin(t, bundle(t, m), OriginOptions{Fetcher: "native"})
		list, err := r.Sources(t.Context(), key)
		if err != nil {
			t.Errorf("%s: %v", url, err)
		}
		for _, s := range list {
			sourcetest.WantClass(t, sourcetest.Fetch(t, s, content, 0, 1000), false, "")
			if strings.Contains(s.String(), "secret@") {
				t.Errorf("a password is shown: %s", s)
			}
		}
		if _, err := os.Lstat(secret); err == nil {
			t.Fatalf("%s was obeyed", url)
		}
	}
	// There may be thousands.
	m, key, _ := riaFor(t, t.TempDir(), "ria+ssh://example.org/store")
	var log, has strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&log, "%08d archive-id=%s externaltype=ora name=n%[1]d type=external url=ria+ssh://example.org/%[1]d timestamp=1700000000s\n", i, datasetID)
		fmt.Fprintf(&has, "1700000000s 1 %08d\n", i)
	}
	addLogs(t, m, map[string]string{"remote.log": log.String(), key.HashDirLower() + "/" + key.FileName() + ".log": has.String()})
	r, _ := origin(t, m.Dir, OriginOptions{Fetcher: "native"})
	if list, err := r.Sources(t.Context(), key); err != nil || len(list) > maxURLs {
		t.Errorf("%d sources, %v", len(list), err)
	}
}
