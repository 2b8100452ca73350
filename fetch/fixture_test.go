package fetch

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// needGit skips a test where there is no git.
func needGit(t testing.TB) {
	t.Helper()
	if FindGit() == "" {
		t.Skip("git is not installed")
	}
}

// run runs a command and returns what it prints.
func run(t testing.TB, dir string, args ...string) string {
	t.Helper()
	c := exec.Command(args[0], args[1:]...)
	c.Dir = dir
	c.Env = append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org")
	var said bytes.Buffer // git-annex says there what it thinks of a remote
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", args, err, out, said.String())
	}
	return string(out)
}

// dataset makes a dataset with n annexed files of size bytes, which a server
// has in this way.
func dataset(t testing.TB, kind maker.Kind, n int, size int64) (*publisher.Server, *maker.Made) {
	t.Helper()
	s, err := publisher.New(publisher.Options{DumbGit: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	d := maker.Dataset{Name: "ds", Remotes: []maker.Remote{{Name: "s3", Kind: kind, URL: s.URL + "/bucket"}}}
	for i := range n {
		d.Files = append(d.Files, maker.File{Path: fmt.Sprintf("sub-%02d/a.bin", i+1), Size: size, Seed: uint64(i + 1), Annexed: true})
	}
	m, err := maker.Make(filepath.Join(t.TempDir(), "ds"), d)
	if err != nil {
		t.Fatal(err)
	}
	s.Add(m)
	return s, m
}

// origin clones a dataset and returns its origin, and the hidden clone's
// directory. Content may come from this machine.
func origin(t testing.TB, url string, o OriginOptions) (*Origin, string) {
	t.Helper()
	needGit(t)
	spec, err := ParseSpec(url, "")
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	hidden := NewHidden(filepath.Join(cache, "datasets", spec.Name))
	t.Cleanup(hidden.Close)
	if err := os.MkdirAll(filepath.Join(cache, "objects"), 0o700); err != nil {
		t.Fatal(err)
	}
	clone, err := hidden.Clone(t.Context(), spec, "", CloneOptions{Git: FindGit(), Objects: filepath.Join(cache, "objects")})
	if err != nil {
		t.Fatal(err)
	}
	git, err := gitstore.Open(clone.Dir, gitstore.Options{Git: FindGit()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { git.Close() })
	if o.AllowAddresses == nil {
		o.AllowAddresses = []string{"127.0.0.1"}
	}
	r, err := NewOrigin(clone, git, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, clone.Dir
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

// addRemote adds a special remote to the git-annex branch, and says that it has keys.
func addRemote(t testing.TB, m *maker.Made, id, config string, keys ...annex.Key) {
	t.Helper()
	files := map[string]string{"remote.log": id + " " + config + " timestamp=1700000000s\n"}
	for _, key := range keys {
		files[key.HashDirLower()+"/"+key.FileName()+".log"] = "1700000000s 1 " + id + "\n"
	}
	addLogs(t, m, files)
}

// bundle makes a git bundle of a dataset.
func bundle(t testing.TB, m *maker.Made) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ds.bundle")
	run(t, m.Dir, "git", "bundle", "create", "--quiet", path, "--all")
	return path
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
