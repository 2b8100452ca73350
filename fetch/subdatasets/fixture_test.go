package subdatasets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// server has the repositories below a directory, as git serves them, and counts what
// it is asked.
type gitServer struct {
	*httptest.Server
	root string

	mu    sync.Mutex // guards the following
	asked []string
	first func(w http.ResponseWriter, r *http.Request) bool // may answer instead
}

func serve(t *testing.T, root string) *gitServer {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	s := &gitServer{root: root}
	backend := &cgi.Handler{Path: git, Args: []string{"-c", "safe.directory=*", "http-backend"}, Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1"}, Stderr: io.Discard, Logger: log.New(io.Discard, "", 0)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.URL.Path)
		first := s.first
		s.mu.Unlock()
		if first == nil || !first(w, r) {
			backend.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// answer has requests answered by a function first.
func (s *gitServer) answer(first func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = first
}

// requests returns the paths that were asked for since the last time.
func (s *gitServer) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.asked
	s.asked = nil
	return was
}

// byName is the server by a name of its host instead of the address.
func (s *gitServer) byName() string { return strings.Replace(s.URL, "127.0.0.1", "localhost", 1) }

// repository makes a bare one at a path, with a file, and returns its commit. One that
// is rewritten has the commit on no branch any more.
func repository(t *testing.T, path, text string, isRewritten bool) gitstore.OID {
	t.Helper()
	work := filepath.Join(t.TempDir(), "work")
	gittest.Run(t, t.TempDir(), "git", "init", "-q", "-b", "main", work)
	commit := func(text string, args ...string) gitstore.OID {
		if err := os.WriteFile(filepath.Join(work, "README"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		gittest.Run(t, work, "git", "add", ".")
		gittest.Run(t, work, append([]string{"git", "commit", "-q", "-m", text}, args...)...)
		return gitstore.OID(strings.TrimSpace(gittest.Run(t, work, "git", "rev-parse", "HEAD")))
	}
	id := commit(text)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	gittest.Run(t, work, "git", "clone", "-q", "--bare", work, path)
	gittest.Run(t, path, "git", "config", "uploadpack.allowAnySHA1InWant", "true")
	if isRewritten {
		commit("other", "--amend")
		gittest.Run(t, work, "git", "push", "-q", "-f", path, "main")
	}
	return id
}

// bench has the hidden clones of a test.
type bench struct {
	t     *testing.T
	dir   string
	guard Guard

	mu     sync.Mutex // guards the following
	hidden map[string]*fetch.Hidden
	opened []string // URLs
}

func newBench(t *testing.T) *bench {
	t.Helper()
	gittest.NeedGit(t)
	for _, name := range []string{"http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"} {
		t.Setenv(name, "")
	}
	b := &bench{t: t, dir: filepath.Join(t.TempDir(), "datasets"), hidden: make(map[string]*fetch.Hidden)}
	t.Cleanup(func() {
		for _, h := range b.hidden {
			h.Close()
		}
		b.guard.Close()
	})
	return b
}

func (b *bench) open(ctx context.Context, spec fetch.Spec, version string, o fetch.CloneOptions) (*fetch.Clone, error) {
	b.mu.Lock()
	h := b.hidden[spec.Name]
	if h == nil {
		h = fetch.NewHidden(filepath.Join(b.dir, spec.Name))
		b.hidden[spec.Name] = h
	}
	b.opened = append(b.opened, spec.URL)
	b.mu.Unlock()
	return h.Clone(ctx, spec, version, o)
}

// clones are the names of those that are there.
func (b *bench) clones() (names []string) {
	entries, _ := os.ReadDir(b.dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// parent is a dataset that the user named.
func (b *bench) parent(dataset string) *fetch.Clone {
	b.t.Helper()
	spec, err := fetch.ParseSpec(dataset, "")
	if err != nil {
		b.t.Fatal(err)
	}
	return &fetch.Clone{Spec: spec}
}

func (b *bench) options(gitmodules string) Options {
	return Options{Gitmodules: []byte(gitmodules), Dir: b.dir, Open: b.open, Guard: &b.guard, Clone: fetch.CloneOptions{Git: fetch.FindGit()}}
}

func (b *bench) set(parent *fetch.Clone, o Options) *Set {
	b.t.Helper()
	s, err := New(b.t.Context(), parent, o)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// readme returns the file of a subdataset.
func readme(t *testing.T, s *Subdataset) string {
	t.Helper()
	store, err := gitstore.Open(s.Clone.Dir, gitstore.Options{Git: fetch.FindGit()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	data, err := store.ReadPathMax(t.Context(), string(s.Clone.Commit), "README", 100)
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

func module(path string, kv ...string) string {
	return fmt.Sprintf("[submodule %q]\n\tpath = %s\n\t%s\n", path, path, strings.Join(kv, "\n\t"))
}

// notHad checks that nothing was had, and returns where it was looked for.
func notHad(t *testing.T, had *Subdataset, err error, reason advice.Reason) []Place {
	t.Helper()
	known, places := new(advice.Error), new(NotHad)
	if !errors.As(err, &known) || !errors.As(err, &places) || known.Reason != reason || len(known.Do) == 0 || had != nil {
		t.Fatalf("%v, %v; want advice on %s", had, err, reason)
	}
	for _, p := range places.Places {
		if p.Why == "" || !strings.Contains(known.Why, p.Why) || !strings.Contains(known.Why, p.URL) {
			t.Errorf("%+v is not in what is told: %s", p, known.Why)
		}
	}
	return places.Places
}

const nowhere = gitstore.OID("1111111111111111111111111111111111111111")
