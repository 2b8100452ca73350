package subdatasets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/candidates"
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

// Places that have it not are passed over, in their order, and the commit is had also
// where it is on no branch.
func TestPlacesAreTriedInOrder(t *testing.T) {
	for name, isRewritten := range map[string]bool{"on a branch": false, "on no branch": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			s := serve(t, t.TempDir())
			commit := repository(t, filepath.Join(s.root, "lab", "super", "sub"), "right", isRewritten)
			repository(t, filepath.Join(s.root, "lab", "sub.git"), "another", false)
			set := b.set(b.parent(s.URL+"/lab/super"), b.options(module("sub", "url = ../sub.git", "datalad-url = "+s.URL+"/gone")))
			had, err := set.Clone(t.Context(), "sub", commit)
			if err != nil {
				t.Fatal(err)
			}
			if had.Clone.Commit != commit || readme(t, had) != "right" || had.From.Cost != 650 || had.From.Name != "origin" || had.From.URL != s.URL+"/lab/super/sub" {
				t.Errorf("%+v from %+v", had.Clone, had.From)
			}
			want := []string{s.URL + "/gone", s.URL + "/gone/.git", s.URL + "/lab/sub.git", s.URL + "/lab/sub.git/.git", s.URL + "/lab/super/sub"}
			if !slices.Equal(b.opened, want) {
				t.Errorf("asked for %q, want %q", b.opened, want)
			}
			if got := b.clones(); len(got) != 1 {
				t.Errorf("there are the clones %q", got)
			}
		})
	}
}

// A server that does not give single commits is asked for its branches.
func TestCommitWithinABranch(t *testing.T) {
	b := newBench(t)
	s := serve(t, t.TempDir())
	path := filepath.Join(s.root, "sub")
	commit := repository(t, path, "old", false)
	work := filepath.Join(t.TempDir(), "w")
	gittest.Run(t, s.root, "git", "clone", "-q", path, work)
	gittest.Run(t, work, "git", "commit", "-q", "--allow-empty", "-m", "newer")
	gittest.Run(t, work, "git", "push", "-q")
	gittest.Run(t, path, "git", "config", "uploadpack.allowAnySHA1InWant", "false")
	s.answer(func(w http.ResponseWriter, r *http.Request) bool { // version 2 gives all
		r.Header.Del("Git-Protocol")
		return false
	})
	had, err := b.set(b.parent(s.URL+"/super"), b.options(module("sub", "url = ../sub"))).Clone(t.Context(), "sub", commit)
	if err != nil || readme(t, had) != "old" {
		t.Errorf("%v, %v", had, err)
	}
}

// Where it is nowhere, the error says of every place why; and what cannot be is not
// asked.
func TestNoPlaceHasIt(t *testing.T) {
	b := newBench(t)
	s := serve(t, t.TempDir())
	repository(t, filepath.Join(s.root, "sub"), "another", false)
	o := b.options(module("sub", "url = ../sub", "datalad-url = https://alice:s3cret@github.com/store/6c9/a6b26"))
	o.Config = []byte("[datalad \"get\"]\n\tsubdataset-source-candidate-a = {none}\n\tsubdataset-source-candidate-b = ext::sh -c id\n\tsubdataset-source-candidate-100c = ssh://cluster/{path}\n")
	set := b.set(b.parent(s.URL+"/super"), o)
	had, err := set.Clone(t.Context(), "sub", nowhere)
	places := notHad(t, had, err, advice.NotFound)
	var got []string
	for _, p := range places {
		got = append(got, fmt.Sprint(p.Cost, " ", p.Name, " ", strings.TrimPrefix(p.URL, s.URL)))
	}
	want := []string{"0 a ", "100 c ssh://cluster/sub", "590 dl-url https://...@github.com/store/6c9/a6b26", "600 origin /sub", "600 origin /sub/.git", "650 origin /super/sub", "650 origin /super/sub/.git", "700 b ext::sh -c id"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if strings.Contains(err.Error(), "s3cret") || len(b.clones()) != 0 {
		t.Errorf("%v; there are the clones %q", err, b.clones())
	}
	// All that a server has is not brought for a commit that it has not.
	posts := 0
	for _, path := range s.requests() {
		if path == "/sub/git-upload-pack" {
			posts++
		}
	}
	if posts != 2 { // for its branches and tags, and for the commit
		t.Errorf("it was asked %d times", posts)
	}
	if all := set.Places("sub"); len(all) != len(want) || all[0].URL != s.URL+"/sub" || all[len(all)-1].Why == "" {
		t.Errorf("the places are %+v", all)
	}
}

// Secrets of a URL are not told, whoever says them.
func TestSecretsAreNotTold(t *testing.T) {
	b := newBench(t)
	o := b.options(module("sub", "url = https://alice:s3cret@example.org/sub", "datalad-url = https://t0ken@example.org/sub") + module("bad", "url = https://carol:s3cret@example.org:x/bad", "datalad-url = https://t0ken:s3cret@example.org:x/bad"))
	o.Open = func(_ context.Context, spec fetch.Spec, _ string, _ fetch.CloneOptions) (*fetch.Clone, error) {
		u, err := url.Parse(spec.URL)
		return nil, errors.Join(fmt.Errorf("cannot read %s of %s", spec.URL, u.User), err)
	}
	set := b.set(b.parent("https://bob:pa55@example.org/super"), o)
	had, err := set.Clone(t.Context(), "sub", nowhere)
	places := notHad(t, had, err, advice.NotFound)
	for _, secret := range []string{"s3cret", "t0ken", "pa55"} {
		if told := fmt.Sprint(err, places, set.Places("sub"), set.Places("bad")); strings.Contains(told, secret) {
			t.Errorf("%s is told: %s", secret, told)
		}
	}
}

// What is refused asks nobody and starts no git, whatever a dataset says.
func TestHostilePlacesAreNotAsked(t *testing.T) {
	b := newBench(t)
	s := serve(t, t.TempDir())
	commit := repository(t, filepath.Join(s.root, "sub"), "private", false)
	private := filepath.Join(s.root, "sub")
	for _, url := range []string{
		"ext::git-upload-pack " + private, "ext::sh -c touch${IFS}x", "fd::0", "file://" + private, private, "ria+file://" + s.root + "#~sub", "/etc", "C:/x", "--upload-pack=touch x", "-x:y", "ssh://-oProxyCommand=id/x", "git@10.0.0.1:x", "git://10.0.0.1/x", "ftp://10.0.0.1/x", "a\x1b[2J", "http://", "https://[::1", "osf://abc12", "../../../../../../" + private,
	} {
		set := b.set(b.parent("https://example.org/super"), b.options("[submodule \"sub\"]\n\tpath = sub\n\tdatalad-url = \""+url+"\"\n"))
		set.parent.Remotes = nil
		had, err := set.Clone(t.Context(), "sub", commit)
		if notHad(t, had, err, advice.NotFound); len(b.opened) != 0 {
			t.Errorf("%s is asked for", url)
			b.opened = nil
		}
		if strings.Contains(err.Error(), "\x1b") {
			t.Errorf("not harmless: %q", err)
		}
	}
	if got := s.requests(); len(got) != 0 {
		t.Errorf("the server is asked for %q", got)
	}
}

// Addresses that are not public are refused when git connects, by address and by name
// and after redirects, whatever the environment says of proxies; the server that the
// user named is asked wherever it is.
func TestAddressesOfSubdatasets(t *testing.T) {
	b := newBench(t)
	public, private := serve(t, t.TempDir()), serve(t, t.TempDir())
	commit := repository(t, filepath.Join(private.root, "sub"), "private", false)
	public.answer(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, private.byName()+r.URL.String(), http.StatusFound)
		return true
	})
	for name, c := range map[string]struct {
		url   string
		allow []string
		env   []string
	}{
		"by address":    {private.URL + "/sub", nil, nil},
		"by name":       {private.byName() + "/sub", nil, nil},
		"oddly written": {strings.Replace(private.URL, "127.0.0.1", "2130706433", 1) + "/sub", nil, nil},
		"another one":   {private.URL + "/sub", []string{"127.0.0.2"}, nil},
		"without proxy": {private.URL + "/sub", nil, []string{"no_proxy=*", "NO_PROXY=*"}},
		"own settings":  {private.URL + "/sub", nil, []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.extraHeader", "GIT_CONFIG_VALUE_0=X: y"}},
		"own proxy":     {private.URL + "/sub", nil, []string{"http_proxy=http://127.0.0.1:1", "no_proxy=127.0.0.1"}},
	} {
		o := b.options(module("sub", "url = "+c.url))
		o.AllowAddresses, o.Clone.Env = c.allow, c.env
		had, err := b.set(b.parent("https://127.0.0.1:1/super"), o).Clone(t.Context(), "sub", commit)
		known := new(advice.Error)
		if had != nil || !errors.As(err, &known) || !strings.Contains(known.Why, "address is not allowed") || !slices.ContainsFunc(known.Do, func(do string) bool { return strings.Contains(do, "--allow-address") }) {
			t.Errorf("%s: %v, %v", name, had, err)
		}
	}
	if got := private.requests(); len(got) != 0 {
		t.Errorf("the private server is asked for %q", got)
	}
	// The user's word leads there, and what they allow.
	for name, c := range map[string]struct {
		parent, url string
		allow       []string
	}{
		"named":   {private.URL + "/super", private.URL + "/sub", nil},
		"allowed": {"https://127.0.0.1:1/super", private.byName() + "/sub", []string{"127.0.0.0/8", "::1"}},
	} {
		o := b.options(module("sub", "url = "+c.url))
		o.AllowAddresses = c.allow
		if had, err := b.set(b.parent(c.parent), o).Clone(t.Context(), "sub", commit); err != nil || readme(t, had) != "private" {
			t.Errorf("%s: %v, %v", name, had, err)
		}
	}
	private.requests()
	// An address that is allowed redirects to one that is not.
	o := b.options(module("sub", "url = "+strings.Replace(public.URL, "127.0.0.1", "127.0.0.1", 1)+"/other"))
	o.AllowAddresses = []string{"127.0.0.1/32"}
	public.answer(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, strings.Replace(private.URL, "127.0.0.1", "127.0.0.2", 1)+r.URL.String(), http.StatusFound)
		return true
	})
	had, err := b.set(b.parent("https://127.0.0.1:1/super"), o).Clone(t.Context(), "sub", commit)
	known := new(advice.Error)
	if had != nil || !errors.As(err, &known) || !strings.Contains(known.Why, "127.0.0.2 belongs to 127.0.0.0/8") || len(public.requests()) == 0 || len(private.requests()) != 0 {
		t.Errorf("redirected: %v, %v", had, err)
	}
}

// What a dataset names does not become the user's word for its own subdatasets.
func TestReachIsNotHandedDown(t *testing.T) {
	b := newBench(t)
	s := serve(t, t.TempDir())
	upper := repository(t, filepath.Join(s.root, "upper"), "upper", false)
	lower := repository(t, filepath.Join(s.root, "lower"), "lower", false)
	o := b.options(module("sub", "url = "+s.byName()+"/upper"))
	o.AllowAddresses = []string{"127.0.0.1", "::1"}
	had, err := b.set(b.parent("https://127.0.0.1:1/super"), o).Clone(t.Context(), "sub", upper)
	if err != nil {
		t.Fatal(err)
	}
	s.requests()
	o = b.options(module("sub", "url = ../lower"))
	o.Within = had
	got, err := b.set(had.Clone, o).Clone(t.Context(), "sub", lower)
	if places := notHad(t, got, err, advice.NotFound); !strings.Contains(places[0].Why, "address is not allowed") || len(s.requests()) != 0 {
		t.Errorf("%+v", places)
	}
	o.AllowAddresses = []string{"127.0.0.1", "::1"}
	if got, err := b.set(had.Clone, o).Clone(t.Context(), "sub", lower); err != nil || readme(t, got) != "lower" {
		t.Errorf("%v, %v", got, err)
	}
	// The same where a dataset names a RIA store, in which its subdatasets are too.
	const up, low = "6c9a6b26-6a5c-4e0c-9d0b-5f3a3d0ef1f8", "0a1b2c3d-6a5c-4e0c-9d0b-5f3a3d0ef1f8"
	upper = repository(t, filepath.Join(s.root, "store", up[:3], up[3:]), "upper in a store", false)
	lower = repository(t, filepath.Join(s.root, "store", low[:3], low[3:]), "lower in a store", false)
	o = b.options(module("sub", `datalad-url = "ria+`+s.byName()+"/store#"+up+`"`))
	o.AllowAddresses = []string{"127.0.0.1", "::1"}
	if had, err = b.set(b.parent("https://127.0.0.1:1/super"), o).Clone(t.Context(), "sub", upper); err != nil || had.Clone.Spec.Store != "ria+"+s.byName()+"/store" {
		t.Fatalf("%v, %v", had, err)
	}
	s.requests()
	o = b.options(module("sub", "datalad-id = "+low))
	o.Within = had
	got, err = b.set(had.Clone, o).Clone(t.Context(), "sub", lower)
	if places := notHad(t, got, err, advice.NotFound); places[0].Cost != 200 || !strings.Contains(places[0].Why, "address is not allowed") || len(s.requests()) != 0 {
		t.Errorf("%+v", places)
	}
	o.AllowAddresses = []string{"127.0.0.1", "::1"}
	if got, err := b.set(had.Clone, o).Clone(t.Context(), "sub", lower); err != nil || readme(t, got) != "lower in a store" || got.From.Cost != 200 {
		t.Errorf("%v, %v", got, err)
	}
}

// The same URL and commit are one clone, whatever parents, paths and ids lead to it;
// and what is there needs no network. A hostile parent's clone is never another's.
func TestOneCloneOfOnePlace(t *testing.T) {
	b := newBench(t)
	s, evil := serve(t, t.TempDir()), serve(t, t.TempDir())
	commit := repository(t, filepath.Join(s.root, "lab", "sub"), "right", false)
	gittest.Run(t, evil.root, "git", "clone", "-q", "--bare", filepath.Join(s.root, "lab", "sub"), filepath.Join(evil.root, "sub"))
	gittest.Run(t, filepath.Join(evil.root, "sub"), "git", "branch", "git-annex", string(commit))
	const id = "datalad-id = 6c9a6b26-6a5c-4e0c-9d0b-5f3a3d0ef1f8"
	// The hostile one comes first, with the id and the commit of the other.
	theirs, err := b.set(b.parent(evil.URL+"/super"), b.options(module("a", "url = ../sub", id))).Clone(t.Context(), "a", commit)
	if err != nil {
		t.Fatal(err)
	}
	first, err := b.set(b.parent(s.URL+"/lab/super"), b.options(module("x", "url = ../sub", id))).Clone(t.Context(), "x", commit)
	if err != nil || first.Clone.Dir == theirs.Clone.Dir {
		t.Fatalf("%v, %v", first, err)
	}
	s.requests()
	for name, o := range map[string]Options{
		"another path":            b.options(module("y", "url = "+s.URL+"/lab/sub", id)),
		"another place before it": b.options(module("y", "url = "+s.URL+"/lab/sub", "datalad-url = "+s.URL+"/lab/gone")),
	} {
		had, err := b.set(b.parent(s.URL+"/elsewhere/super"), o).Clone(t.Context(), "y", commit)
		if err != nil || had.Clone.Dir != first.Clone.Dir {
			t.Errorf("%s: %v, %v", name, had, err)
		}
		o.Clone.Offline, o.Clone.Git = true, ""
		if had, err := b.set(b.parent(s.URL+"/elsewhere/super"), o).Clone(t.Context(), "y", commit); err != nil || had.Clone.Dir != first.Clone.Dir {
			t.Errorf("%s, offline: %v, %v", name, had, err)
		}
	}
	if got := s.requests(); len(got) != 0 {
		t.Errorf("the server is asked for %q", got)
	}
	if got := b.clones(); len(got) != 2 {
		t.Errorf("there are the clones %q", got)
	}
	o := b.options(module("z", "url = "+s.URL+"/lab/sub"))
	o.Clone.Offline = true
	_, err = b.set(b.parent(s.URL+"/super"), o).Clone(t.Context(), "z", nowhere)
	if known := new(advice.Error); !errors.As(err, &known) || known.Reason != advice.Offline {
		t.Errorf("a commit that is not known, offline: %v", err)
	}
	for _, c := range []struct{ a, b string }{{"https://github.com/a/b", "https://github.com/a/b.git/"}, {"https://GitHub.com/a/b.git", "https://github.com/a/b"}} {
		var names []string
		for _, url := range []string{c.a, c.b} {
			list, _ := b.set(b.parent("https://example.org/super"), b.options(module("x", "datalad-url = "+url))).attempts("x")
			spec, err := list[0].spec()
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, spec.Name)
		}
		if names[0] != names[1] {
			t.Errorf("%q: %q", c, names)
		}
	}
}

// A branch that is called as the commit, but is at another, is not taken for it.
func TestBranchNamedAsACommit(t *testing.T) {
	b := newBench(t)
	s := serve(t, t.TempDir())
	path := filepath.Join(s.root, "sub")
	repository(t, path, "another", false)
	gittest.Run(t, path, "git", "update-ref", "refs/heads/"+string(nowhere), "main")
	gittest.Run(t, path, "git", "update-ref", "refs/tags/"+string(nowhere), "main")
	o := b.options(module("sub", "url = ../sub"))
	had, err := b.set(b.parent(s.URL+"/super"), o).Clone(t.Context(), "sub", nowhere)
	if notHad(t, had, err, advice.NotFound); len(b.clones()) != 0 {
		t.Errorf("there are the clones %q", b.clones())
	}
	o.Open = func(context.Context, fetch.Spec, string, fetch.CloneOptions) (*fetch.Clone, error) {
		return &fetch.Clone{Commit: "2222222222222222222222222222222222222222"}, nil
	}
	had, err = b.set(b.parent(s.URL+"/super"), o).Clone(t.Context(), "sub", nowhere)
	notHad(t, had, err, advice.NotFound)
}

// Whoever stops waiting for a server that is silent is let go.
func TestStalledServerIsInterrupted(t *testing.T) {
	b := newBench(t)
	s := serve(t, t.TempDir())
	asked := make(chan struct{}, 10)
	s.answer(func(w http.ResponseWriter, r *http.Request) bool {
		asked <- struct{}{}
		<-r.Context().Done()
		return true
	})
	ctx, cancel := context.WithCancel(t.Context())
	set := b.set(b.parent(s.URL+"/super"), b.options(module("sub", "url = ../sub")))
	ended := make(chan error)
	go func() {
		_, err := set.Clone(ctx, "sub", nowhere)
		ended <- err
	}()
	<-asked
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := b.clones(); len(got) != 0 {
		t.Errorf("there are the clones %q", got)
	}
}

// A server that cannot be reached is waited for once, and that it may come back is
// told.
func TestServerThatIsDown(t *testing.T) {
	b := newBench(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := "http://" + l.Addr().String()
	l.Close()
	for name, parent := range map[string]string{"named": down + "/super", "not named": "https://127.0.0.1:1/super"} {
		o := b.options(module("sub", "url = "+down+"/a", "datalad-url = "+down+"/b"))
		o.AllowAddresses = []string{"127.0.0.1"}
		b.opened = nil
		set := b.set(b.parent(parent), o)
		set.parent.Remotes = []candidates.Remote{{Name: "origin", URL: down + "/super"}}
		had, err := set.Clone(t.Context(), "sub", nowhere)
		places := notHad(t, had, err, advice.Network)
		if !fetch.IsUnreached(err) || len(b.opened) != 1 || len(places) != 6 {
			t.Errorf("%s: %q were asked for: %v", name, b.opened, err)
		}
		for i, p := range places {
			if isSkipped := strings.HasPrefix(p.Why, "not asked"); isSkipped != (i > 0) {
				t.Errorf("%s: %+v", name, p)
			}
		}
	}
}
