package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"go.uber.org/goleak"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/web"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/source"
	"github.com/uniharmony/uniharmonyfs/internal/source/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func keyOf(t testing.TB, content []byte) annex.Key {
	t.Helper()
	sum := sha256.Sum256(content)
	key, err := annex.ParseKey(fmt.Sprintf("SHA256E-s%d--%s.a%%b&c", len(content), hex.EncodeToString(sum[:])))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mixed(k annex.Key) string { return k.HashDirMixed() + "/" + k.FileName() + "/" + k.FileName() }
func lower(k annex.Key) string { return k.HashDirLower() + "/" + k.FileName() + "/" + k.FileName() }

// archiveOf makes a 7z archive with one file, stored as it is.
func archiveOf(name string, content []byte) []byte {
	number := func(n int) []byte { return binary.LittleEndian.AppendUint64([]byte{0xff}, uint64(n)) }
	text := []byte{0}
	for _, u := range utf16.Encode([]rune(name + "\x00")) {
		text = binary.LittleEndian.AppendUint16(text, u)
	}
	header := bytes.Join([][]byte{
		{1, 4, 6, 0, 1, 9}, number(len(content)), {0, 7, 0x0b, 1, 0, 1, 1, 0, 0x0c}, number(len(content)), {0, 0},
		{5, 1, 0x11}, number(len(text)), text, {0, 0},
	}, nil)
	b := append([]byte("7z\xbc\xaf\x27\x1c"), make([]byte, 26)...)
	binary.LittleEndian.PutUint64(b[12:], uint64(len(content)))
	binary.LittleEndian.PutUint64(b[20:], uint64(len(header)))
	binary.LittleEndian.PutUint32(b[28:], crc32.ChecksumIEEE(header))
	binary.LittleEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[12:32]))
	return append(append(b, content...), header...)
}

// shelf is a server of files by path, which keeps what it was asked for.
type shelf struct {
	url string

	mu    sync.Mutex // guards the following
	files map[string][]byte
	asked []string
	fault http.HandlerFunc // instead, where it is not nil
}

func newShelf(t testing.TB) *shelf {
	t.Helper()
	s := &shelf{files: make(map[string][]byte)}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL + "/store/abc/def-1"
	return s
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/store/abc/def-1/")
	s.mu.Lock()
	s.asked = append(s.asked, path+" "+r.Header.Get("Range"))
	content, ok := s.files[path]
	fault := s.fault
	s.mu.Unlock()
	switch {
	case fault != nil:
		fault(w, r)
	case !ok:
		http.NotFound(w, r)
	default:
		w.Header().Set("Etag", fmt.Sprintf(`"%x"`, crc32.ChecksumIEEE(content)))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
}

func (s *shelf) put(path string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = content
}

// told returns what was asked for since it was called last.
func (s *shelf) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
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

// In each of its ways a store is a source as others are.
func TestStoresKeepTheContract(t *testing.T) {
	for name, put := range map[string]func(s *shelf, k annex.Key, content []byte){
		"mixed":   func(s *shelf, k annex.Key, content []byte) { s.put("annex/objects/"+mixed(k), content) },
		"lower":   func(s *shelf, k annex.Key, content []byte) { s.put("annex/objects/"+lower(k), content) },
		"archive": func(s *shelf, k annex.Key, content []byte) { s.put(archivePath, archiveOf(mixed(k), content)) },
		"archive of the first layout": func(s *shelf, k annex.Key, content []byte) {
			s.put(archivePath, archiveOf(lower(k), content))
		},
	} {
		t.Run(name, func(t *testing.T) {
			create := func(t *testing.T, content []byte, fault http.HandlerFunc) source.Source {
				s, key := newShelf(t), keyOf(t, content)
				put(s, key, content)
				s.fault = fault
				return Objects(client(t), s.url).Source(key)
			}
			sourcetest.Test(t, func(t *testing.T, content []byte) source.Source { return create(t, content, nil) }, sourcetest.Options{
				Missing: func(t *testing.T, content []byte) source.Source {
					return create(t, content, http.NotFound)
				},
				Down: func(t *testing.T, content []byte) source.Source {
					return create(t, content, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
				},
				Hanging: func(t *testing.T, content []byte) source.Source {
					return create(t, content, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
				},
			})
		})
	}
	t.Run("archive on this machine", func(t *testing.T) {
		create := func(t *testing.T, content []byte, there bool) source.Source {
			dir, key := t.TempDir(), keyOf(t, content)
			if there {
				write(t, filepath.Join(dir, archivePath), archiveOf(mixed(key), content))
			}
			if HasArchive(dir) != there {
				t.Errorf("there is an archive: %v", !there)
			}
			return Archive(dir).Source(key)
		}
		sourcetest.Test(t, func(t *testing.T, content []byte) source.Source { return create(t, content, true) }, sourcetest.Options{
			Missing: func(t *testing.T, content []byte) source.Source { return create(t, content, false) },
		})
	})
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The way in which a key was found is the first for the next; a part of a member is
// all that is asked for.
func TestWaysAreLearned(t *testing.T) {
	one, two := []byte("the one content"), []byte("another content")
	a, b := keyOf(t, one), keyOf(t, two)
	s := newShelf(t)
	s.put("annex/objects/"+lower(a), one)
	s.put("annex/objects/"+lower(b), two)
	st := Objects(client(t), s.url)
	if st.Source(a).Exact() {
		t.Error("nothing holds a store to its keys")
	}
	for i, want := range []int{2, 1, 1} {
		key, content := a, one
		if i == 1 {
			key, content = b, two
		}
		if err := sourcetest.Fetch(t, st.Source(key), content, 2, 5); err != nil {
			t.Fatal(err)
		}
		if told := s.told(); len(told) != want {
			t.Errorf("key %d took %q", i, told)
		}
	}
	// What is not there any more is looked for in the other ways.
	s.put("annex/objects/"+mixed(b), two)
	delete(s.files, "annex/objects/"+lower(b))
	if err := sourcetest.Fetch(t, st.Source(b), two, 2, 5); err != nil {
		t.Fatal(err)
	}
	s.put(archivePath, archiveOf(mixed(a), one))
	delete(s.files, "annex/objects/"+lower(a))
	for i := range 2 {
		s.told()
		if err := sourcetest.Fetch(t, st.Source(a), one, 4, 6); err != nil {
			t.Fatal(err)
		}
		if told := s.told(); i == 1 && (len(told) != 1 || !strings.HasSuffix(told[0], " bytes=36-41")) {
			t.Errorf("a part of an archive whose list is known took %q", told)
		}
	}
}

// What failed names every place that was looked at, and why.
func TestFailuresNameEveryWay(t *testing.T) {
	s := newShelf(t)
	key := keyOf(t, []byte("x"))
	st := Objects(client(t), s.url)
	err := sourcetest.Fetch(t, st.Source(key), []byte("x"), 0, 1)
	for _, says := range []string{"404 Not Found (annex/objects/" + key.HashDirMixed() + "/KEY/KEY, annex/objects/" + key.HashDirLower() + "/KEY/KEY, " + archivePath + ")"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %s", err, says)
		}
	}
	// An archive that is not there is not looked for with every key.
	s.told()
	sourcetest.WantClass(t, sourcetest.Fetch(t, st.Source(key), []byte("x"), 0, 1), false, "404")
	if told := s.told(); len(told) != 2 {
		t.Errorf("the second time it took %q", told)
	}
	// One that lies of the size is final.
	s.put(archivePath, archiveOf(mixed(key), []byte("xyz")))
	fresh := Objects(client(t), s.url)
	sourcetest.WantClass(t, sourcetest.Fetch(t, fresh.Source(key), []byte("x"), 0, 1), false, "3 bytes there, not the key's 1")
	s.put(archivePath, []byte("no archive at all, but some text that is as long"))
	fresh = Objects(client(t), s.url)
	sourcetest.WantClass(t, sourcetest.Fetch(t, fresh.Source(key), []byte("x"), 0, 1), false, "no 7z archive")
	if name := Name("https://a:secret@example.org/x"); strings.Contains(name, "secret") {
		t.Errorf("a name has a password: %s", name)
	}
}

// An archive that is replaced is read by its new list, and bytes of the two are not
// mixed.
func TestReplacedArchives(t *testing.T) {
	one, two := bytes.Repeat([]byte("1"), 1000), bytes.Repeat([]byte("2"), 1000)
	a, b := keyOf(t, one), keyOf(t, two)
	s := newShelf(t)
	s.put(archivePath, archiveOf(mixed(a), one))
	st := Objects(client(t), s.url)
	if err := sourcetest.Fetch(t, st.Source(a), one, 0, 1000); err != nil {
		t.Fatal(err)
	}
	// The same size, and another content: by its tag it is another.
	s.put(archivePath, archiveOf(mixed(b), two))
	sourcetest.WantClass(t, sourcetest.Fetch(t, st.Source(a), one, 0, 1000), false, "does not have it")
	if err := sourcetest.Fetch(t, st.Source(b), two, 0, 1000); err != nil {
		t.Fatal(err)
	}
	// It changes amid a member.
	w := &changing{change: func() { s.put(archivePath, archiveOf(mixed(a), one)) }}
	s.mu.Lock()
	s.fault = func(rw http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, archivePath) { // there it is whole
			http.ServeContent(rw, r, "", time.Time{}, bytes.NewReader(two))
			return
		}
		s.mu.Lock()
		content := s.files[archivePath]
		s.mu.Unlock()
		rw.Header().Set("Etag", fmt.Sprintf(`"%x"`, crc32.ChecksumIEEE(content)))
		if r.Header.Get("Range") == "bytes=32-1031" { // half of it, and then the connection ends
			rw.Header().Set("Content-Range", fmt.Sprintf("bytes 32-1031/%d", len(content)))
			rw.Header().Set("Content-Length", "1000")
			rw.WriteHeader(http.StatusPartialContent)
			rw.Write(content[32:532])
			rw.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(rw, r, "", time.Time{}, bytes.NewReader(content))
	}
	s.mu.Unlock()
	err := st.Source(b).Fetch(t.Context(), 0, 1000, w)
	if !errors.Is(err, web.ErrChanged) || !bytes.Equal(w.got, two[:500]) {
		t.Errorf("%d bytes, %v", len(w.got), err)
	}
	// On this machine, too.
	dir := t.TempDir()
	path := filepath.Join(dir, archivePath)
	write(t, path, archiveOf(mixed(a), one))
	here := Archive(dir)
	if err := sourcetest.Fetch(t, here.Source(a), one, 10, 100); err != nil {
		t.Fatal(err)
	}
	write(t, path+".new", archiveOf(mixed(b), two))
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	sourcetest.WantClass(t, sourcetest.Fetch(t, here.Source(a), one, 10, 100), false, "does not have it")
	if err := sourcetest.Fetch(t, here.Source(b), two, 10, 100); err != nil {
		t.Error(err)
	}
}

// changing has something change after its first bytes.
type changing struct {
	got    []byte
	change func()
}

func (c *changing) Write(p []byte) (int, error) {
	if c.change != nil {
		c.change()
		c.change = nil
	}
	c.got = append(c.got, p...)
	return len(p), nil
}

// A link, a pipe or a directory in an archive's place is not read.
func TestLocalArchivesAreFiles(t *testing.T) {
	content := []byte("x")
	key := keyOf(t, content)
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	write(t, elsewhere, archiveOf(mixed(key), content))
	dir := t.TempDir()
	path := filepath.Join(dir, archivePath)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, path); err != nil {
		t.Fatal(err)
	}
	if HasArchive(dir) {
		t.Error("a link is an archive")
	}
	sourcetest.WantClass(t, sourcetest.Fetch(t, Archive(dir).Source(key), content, 0, 1), false, "")
	os.Remove(path)
	os.Mkdir(path, 0o755)
	sourcetest.WantClass(t, sourcetest.Fetch(t, Archive(dir).Source(key), content, 0, 1), false, "")
}

// Many askers read the list once; one who leaves disturbs nobody.
func TestTheListIsReadOnce(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 10_000)
	key := keyOf(t, content)
	s := newShelf(t)
	s.put(archivePath, archiveOf(mixed(key), content))
	a := newArchive(remoteFile(client(t), s.url+"/"+archivePath))
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if err := sourcetest.Fetch(t, a.member(key), content, 0, 10_000); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	heads := 0
	for _, told := range s.told() {
		if strings.HasSuffix(told, " bytes=0-0") {
			heads++
		}
	}
	if heads != 1 {
		t.Errorf("the archive was looked at %d times", heads)
	}
	var none io.Writer = io.Discard
	if err := a.member(key).Fetch(t.Context(), 0, 10_001, none); err == nil {
		t.Error("there is more than all")
	}
}

// Of many archives the lists of those are kept that were used last; the others are read
// anew.
func TestFewListsAreKept(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 1000)
	key := keyOf(t, content)
	c, s := client(t), newShelf(t)
	var stores Stores
	get := func(i int) (told int) {
		t.Helper()
		url := fmt.Sprint(s.url, "/", i)
		s.put(fmt.Sprint(i, "/", archivePath), archiveOf(mixed(key), content))
		st := stores.Get(url, func() *Store { return Objects(c, url) })
		if i%2 == 1 {
			s.put(fmt.Sprint(i, "/config"), []byte("[core]\nx"))
			sibling := stores.Sibling(c, url, names)
			r, err := sibling.repository(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			st = r.store
		}
		s.told()
		if err := sourcetest.Fetch(t, st.Source(key), content, 0, 1000); err != nil {
			t.Error(err)
		}
		for _, what := range s.told() {
			if strings.HasSuffix(what, " bytes=0-0") {
				told++
			}
		}
		return told
	}
	for i := range maxLists {
		if get(i) != 1 || get(i) != 0 {
			t.Errorf("the list of archive %d is not kept", i)
		}
	}
	if get(0) != 0 || get(maxLists) != 1 {
		t.Error("the lists of as many archives as are kept are not")
	}
	if get(0) != 0 || get(1) != 1 {
		t.Error("it is not the list that was used last which is kept")
	}
	if len(stores.lists.kept) != maxLists {
		t.Errorf("%d lists are kept", len(stores.lists.kept))
	}
}
