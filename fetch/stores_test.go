package fetch

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/store"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/web"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/source"
	"github.com/uniharmony/uniharmonyfs/internal/source/sourcetest"
)

// riaStore unpacks a RIA store as DataLad makes it, and returns the directory of it.
func riaStore(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	run(t, dir, "tar", "xzf", filepath.Join(must(filepath.Abs("testdata")), "ria", "stores.tar.gz"))
	return filepath.Join(dir, "store")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// site serves a directory, and keeps the paths that it was asked for.
type site struct {
	url string
	dir string

	mu    sync.Mutex // guards the following
	asked []string
}

func serveDir(t testing.TB, dir string) *site {
	t.Helper()
	s := &site{dir: dir}
	files := http.FileServer(http.Dir(dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.URL.Path)
		s.mu.Unlock()
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// told returns the paths that were asked for and have this in them.
func (s *site) told(part string) (paths []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.asked {
		if strings.Contains(p, part) {
			paths = append(paths, p)
		}
	}
	return paths
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

// bring brings a key's content by the first source that gives it, and returns that.
// The content must be the key's.
func bring(t testing.TB, list []Source, key annex.Key) Source {
	t.Helper()
	size, _ := key.Size()
	for _, s := range list {
		var got bytes.Buffer
		if p, isPlacer := s.(source.Placer); isPlacer {
			path := filepath.Join(t.TempDir(), "placed")
			if p.Place(t.Context(), path, func(int64) {}) != nil {
				continue
			}
			got.Write(must(os.ReadFile(path)))
		} else if s.Fetch(t.Context(), 0, size, &got) != nil {
			continue
		}
		h, want, ok := key.NewHash()
		if !ok {
			t.Fatalf("%s has no hash", key)
		}
		h.Write(got.Bytes())
		if is := fmt.Sprintf("%x", h.Sum(nil)); is != want {
			t.Errorf("%s gives %d wrong bytes of %s", s, got.Len(), key)
		}
		return s
	}
	return nil
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

// addRemote adds a special remote to the git-annex branch, and says that it has keys.
func addRemote(t testing.TB, m *maker.Made, id, config string, keys ...annex.Key) {
	t.Helper()
	files := map[string]string{"remote.log": id + " " + config + " timestamp=1700000000s\n"}
	for _, key := range keys {
		files[key.HashDirLower()+"/"+key.FileName()+".log"] = "1700000000s 1 " + id + "\n"
	}
	addLogs(t, m, files)
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

// bundle makes a git bundle of a dataset.
func bundle(t testing.TB, m *maker.Made) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ds.bundle")
	run(t, m.Dir, "git", "bundle", "create", "--quiet", path, "--all")
	return path
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

// The repository that a dataset was cloned from is read by URL, bare and with a work
// tree, if its configuration says that it is the one that the logs name.
func TestSiblings(t *testing.T) {
	for _, tree := range []bool{false, true} {
		parent := t.TempDir()
		m, err := maker.Make(filepath.Join(parent, "ds"), maker.Dataset{
			Name: "ds", WorkTree: tree, Present: true, Files: []maker.File{{Path: "a.bin", Size: 1000, Seed: 1, Annexed: true}, {Path: "b.bin", Size: 1000, Seed: 2, Annexed: true}},
		})
		if err != nil {
			t.Fatal(err)
		}
		key, other := m.Files[0].Key, m.Files[1].Key
		content := must(maker.Bytes(m.Files[0].Content))
		id := strings.TrimSpace(run(t, m.Dir, "git", "config", "annex.uuid"))
		addLogs(t, m, map[string]string{
			key.HashDirLower() + "/" + key.FileName() + ".log":     "1800000000s 1 " + id + "\n",
			other.HashDirLower() + "/" + other.FileName() + ".log": "1800000000s 1 somebody-else\n",
		})
		git := strings.TrimSpace(run(t, m.Dir, "git", "rev-parse", "--absolute-git-dir"))
		run(t, git, "git", "update-server-info")
		served := serveDir(t, parent)
		at := served.url + "/ds"
		if tree {
			at += "/.git"
		}
		r, _ := origin(t, at, OriginOptions{Fetcher: "native"})
		list, err := r.Sources(t.Context(), key)
		if err != nil || len(list) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		before := len(served.told("/config")) // git's own
		for range 3 {
			if err := sourcetest.Fetch(t, list[0], content, 10, 500); err != nil {
				t.Error(err)
			}
		}
		if asked := len(served.told("/config")) - before; asked > 2 {
			t.Errorf("the configuration was asked for %d times", asked)
		}
		list, err = r.Sources(t.Context(), other)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 0 { // what the repository is, is known by now
			t.Errorf("who is known not to have it is asked: %v", list)
		}
		if asked := served.told(other.FileName()); len(asked) > 0 {
			t.Errorf("it was asked for what others have: %v", asked)
		}
	}
}

// A place that is no repository is asked once, whatever it answers.
func TestPlacesThatAreNoSiblings(t *testing.T) {
	config := "[core]\n\tbare = true\n"
	for says, body := range map[string]string{
		"404": "", "no repository's configuration": "<html>[annex] uuid = 1</html>", "more than": config + strings.Repeat("# x\n", 64<<10),
		"does not say": config + "[annex]\n\tuuid = another\n",
	} {
		asked := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked++; body == "" || !strings.HasSuffix(r.URL.Path, "/config") {
				http.NotFound(w, r)
				return
			}
			io.WriteString(w, body)
		}))
		s := store.NewSibling(client(t), server.URL, parseIDs)
		key := keyOf(t, []byte("x"))
		mine := func(ids []annex.UUID) bool { return slices.Contains(ids, "mine") }
		for range 2 {
			sourcetest.WantClass(t, sourcetest.Fetch(t, s.Source(key, mine), []byte("x"), 0, 1), false, says)
		}
		if asked > 2 {
			t.Errorf("%s: it was asked %d times", says, asked)
		}
		server.Close()
	}
	for _, url := range []string{"ssh://example.org/a", "/data/a", "git@example.org:a", "file:///data"} {
		if store.NewSibling(nil, url, parseIDs) != nil {
			t.Errorf("%s is read by URLs", url)
		}
	}
}

func client(t testing.TB) *web.Client {
	t.Helper()
	c, err := web.New(web.Options{Allow: []string{"127.0.0.1"}, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// The sibling is asked only where the logs name somebody that nothing else is known
// of, and as the last before git-annex.
func TestWhenASiblingIsWorthAsking(t *testing.T) {
	s3, ria := annex.UUID("s3"), annex.UUID("ria")
	m := remotes{configs: map[annex.UUID]annex.RemoteConfig{
		s3: {"type": "S3"}, "dir": {"type": "directory"}, "x": {"type": "httpalso", "sameas-uuid": "second"}, "git": {"type": "git", "location": "ssh://example.org/a"},
		ria: {"type": "external", "externaltype": "ora", "archive-id": datasetID, "url": "ria+ssh://example.org/store"},
	}}
	m.special = specials(m.configs)
	for _, c := range []struct {
		have []annex.UUID
		want bool
	}{
		{nil, false}, {[]annex.UUID{s3, "dir", annex.WebUUID}, false}, {[]annex.UUID{s3, "second"}, false},
		{[]annex.UUID{s3, "someone"}, true}, {[]annex.UUID{ria}, true}, {[]annex.UUID{"git"}, true},
	} {
		here := map[annex.UUID]bool{"gone": false}
		for _, id := range c.have {
			here[id] = true
		}
		if m.unknown(here) != c.want {
			t.Errorf("%v: %v", c.have, !c.want)
		}
	}
}

// What git-annex writes to a directory is read behind the URL that a second remote
// says, by key and as a tree of files.
func TestHttpalsoAsGitAnnexSetsItUp(t *testing.T) {
	gittest.EachAnnex(t, func(t *testing.T) {
		dir := t.TempDir()
		t.Cleanup(func() { run(t, dir, "chmod", "-R", "u+w", ".") })
		served := serveDir(t, dir)
		ds := filepath.Join(dir, "ds")
		run(t, dir, "sh", "-ec", fmt.Sprintf(`
mkdir keys tree locked
git init -q ds
cd ds
git annex init -q
mkdir sub
printf one >sub/one.bin
printf two >'t w&o.bin'
git annex add -q .
git commit -qm all
git annex initremote keys type=directory directory=%[1]s/keys encryption=none
git annex initremote --sameas=keys keys-web type=httpalso url=%[2]s/keys
git annex initremote tree type=directory directory=%[1]s/tree encryption=none exporttree=yes
git annex initremote --sameas=tree tree-web type=httpalso url=%[2]s/tree exporttree=yes
git annex initremote locked type=directory directory=%[1]s/locked encryption=shared
git annex initremote --sameas=locked locked-web type=httpalso url=%[2]s/locked
git annex copy -q --to keys sub
git annex copy -q --to locked .
git annex export -q "$(git branch --show-current)" --to tree
`, dir, served.url))
		path := filepath.Join(dir, "ds.bundle")
		run(t, ds, "git", "bundle", "create", "--quiet", path, "--all")
		byName := map[string][]string{"sub/one.bin": {"/keys/", "/tree/"}, "t w&o.bin": {"/tree/"}}
		for name, places := range byName {
			key := must(annex.ParseKey(strings.TrimSpace(run(t, ds, "git", "annex", "lookupkey", name))))
			r, _ := origin(t, path, OriginOptions{Fetcher: "native", Paths: func(annex.Key) []string { return []string{name} }})
			list, err := r.Sources(t.Context(), key)
			if err != nil || len(list) != len(places) {
				t.Fatalf("%s: %v, %v", name, list, err)
			}
			for i, place := range places {
				if s := bring(t, list[i:i+1], key); s == nil || !strings.Contains(s.String()+"/", place) {
					t.Errorf("%s is not in %s, but in %v", name, place, s)
				}
			}
		}
		if asked := served.told("/locked/"); len(asked) > 0 {
			t.Errorf("encrypted content was asked for: %v", asked)
		}
	})
}

// A remote that keeps keys behind URLs does not say how: it is one source, which
// learns.
func TestHttpalsoIsLearned(t *testing.T) {
	dir := t.TempDir()
	served := serveDir(t, dir)
	m, err := maker.Make(filepath.Join(t.TempDir(), "ds"), maker.Dataset{Name: "ds", Files: []maker.File{{Path: "a.bin", Size: 1000, Seed: 1, Annexed: true}, {Path: "b.bin", Size: 1000, Seed: 2, Annexed: true}}})
	if err != nil {
		t.Fatal(err)
	}
	keys := []annex.Key{m.Files[0].Key, m.Files[1].Key}
	addRemote(t, m, oraID, "encryption=none name=also type=httpalso url="+served.url+"/keys", keys...)
	r, _ := origin(t, m.Dir, OriginOptions{Fetcher: "native"})
	for i, key := range keys {
		path := filepath.Join(dir, "keys", key.HashDirMixed(), key.FileName())
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, must(maker.Bytes(m.Files[i].Content)), 0o644); err != nil {
			t.Fatal(err)
		}
		list, err := r.Sources(t.Context(), key)
		if err != nil || len(list) != 1 || bring(t, list, key) == nil {
			t.Fatalf("%v, %v", list, err)
		}
		if asked := served.told(key.FileName()); i > 0 && len(asked) != 1 {
			t.Errorf("the second key was looked for at %v", asked)
		}
	}
	if !slices.Equal(served.told(keys[1].FileName()), []string{"/keys/" + keys[1].HashDirMixed() + "/" + keys[1].FileName()}) {
		t.Errorf("it was looked for at %v", served.told(keys[1].FileName()))
	}
}

// A special remote of type=git stands for a repository: it is asked where the dataset
// comes from elsewhere.
func TestCommonSiblings(t *testing.T) {
	parent := t.TempDir()
	m, err := maker.Make(filepath.Join(parent, "ds"), maker.Dataset{Name: "ds", Present: true, Files: []maker.File{{Path: "a.bin", Size: 1000, Seed: 1, Annexed: true}}})
	if err != nil {
		t.Fatal(err)
	}
	key := m.Files[0].Key
	content := must(maker.Bytes(m.Files[0].Content))
	id := strings.TrimSpace(run(t, m.Dir, "git", "config", "annex.uuid"))
	served := serveDir(t, parent)
	addRemote(t, m, id, "autoenable=true location="+served.url+"/ds name=common type=git", key)
	list := sourcesOf(t, bundle(t, m), key)
	if len(list) != 1 || list[0].Exact() {
		t.Fatalf("%v", list)
	}
	if err := sourcetest.Fetch(t, list[0], content, 10, 500); err != nil {
		t.Error(err)
	}
	// The same as what was cloned is there once.
	run(t, m.Dir, "git", "update-server-info")
	if list := sourcesOf(t, served.url+"/ds", key); len(list) != 1 || sourcetest.Fetch(t, list[0], content, 10, 500) != nil {
		t.Errorf("%v", list)
	}
	// What calls itself another repository is another one.
	run(t, m.Dir, "git", "config", "annex.uuid", "another")
	sourcetest.WantClass(t, sourcetest.Fetch(t, sourcesOf(t, bundle(t, m), key)[0], content, 0, 1000), false, "does not say")
}

func sourcesOf(t testing.TB, at string, key annex.Key) []Source {
	t.Helper()
	r, _ := origin(t, at, OriginOptions{Fetcher: "native"})
	list, err := r.Sources(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestSiblingsKeepTheContract(t *testing.T) {
	const id = "11111111-2222-4333-8444-555555555555"
	create := func(t *testing.T, content []byte, fault http.HandlerFunc) source.Source {
		key := keyOf(t, content)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case fault != nil:
				fault(w, r)
			case r.URL.Path == "/ds/.git/config":
				fmt.Fprintf(w, "[core]\n\tbare = false\n[annex]\n\tuuid = %s\n", id)
			case strings.HasSuffix(r.URL.Path, "/ds/.git/annex/objects/"+key.HashDirMixed()+"/"+key.FileName()+"/"+key.FileName()):
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
			default:
				http.NotFound(w, r)
			}
		}))
		t.Cleanup(server.Close)
		return store.NewSibling(client(t), server.URL+"/ds", parseIDs).Source(key, func(ids []annex.UUID) bool { return slices.Contains(ids, id) })
	}
	sourcetest.Test(t, func(t *testing.T, content []byte) source.Source { return create(t, content, nil) }, sourcetest.Options{
		Missing: func(t *testing.T, content []byte) source.Source { return create(t, content, http.NotFound) },
		Down: func(t *testing.T, content []byte) source.Source {
			return create(t, content, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
		},
		Hanging: func(t *testing.T, content []byte) source.Source {
			return create(t, content, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		},
	})
}
