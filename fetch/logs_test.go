package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/partial"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// gitServer serves a dataset of n annexed files by git, behind a gate: what it
// answers goes through around, which may be changed.
type gitServer struct {
	*publisher.Server
	m      *maker.Made
	url    string // of the repository
	visits atomic.Int64
	around atomic.Pointer[func(w http.ResponseWriter, r *http.Request, next http.Handler)]
}

const allowFilter = "uploadpack.allowFilter=true"

func serveGit(t testing.TB, n int, config ...string) *gitServer {
	t.Helper()
	needGit(t)
	// The repositories of the maker allow any object by older protocols too.
	p, err := publisher.New(publisher.Options{GitConfig: append([]string{"uploadpack.allowAnySHA1InWant=false"}, config...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	d := maker.Dataset{Name: "ds", Remotes: []maker.Remote{{Name: "s3", Kind: maker.Versioned, URL: p.URL + "/bucket"}}}
	for i := range n {
		d.Files = append(d.Files, maker.File{Path: fmt.Sprintf("sub-%03d/a.bin", i+1), Size: 100, Seed: uint64(i + 1), Annexed: true})
	}
	m, err := maker.Make(filepath.Join(t.TempDir(), "ds"), d)
	if err != nil {
		t.Fatal(err)
	}
	p.Add(m)
	s := &gitServer{Server: p, m: m}
	s.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) })
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			s.visits.Add(1)
		}
		(*s.around.Load())(w, r, p)
	}))
	t.Cleanup(front.Close)
	s.url = front.URL + strings.TrimPrefix(p.GitURL(m), p.URL)
	return s
}

func (s *gitServer) set(around func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	s.around.Store(&around)
}

// lacks counts the objects of the git-annex branch that a clone does not have.
func lacks(t testing.TB, dir string) int {
	t.Helper()
	cmd := exec.Command("git", "-C", dir, "rev-list", "--objects", "--quiet", "--missing=print", annexRef)
	cmd.Env = append(cmd.Environ(), "GIT_NO_LAZY_FETCH=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(out, []byte("?"))
}

// has reports whether an object is in a clone.
func has(dir, object string) bool {
	cmd := exec.Command("git", "-C", dir, "cat-file", "-e", object)
	cmd.Env = append(cmd.Environ(), "GIT_NO_LAZY_FETCH=1")
	return cmd.Run() == nil
}

// wantURLs checks that the sources of a key are those of its file.
func wantURLs(t testing.TB, r *Origin, m *maker.Made, i int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	list, err := r.Sources(ctx, m.Files[i].Key)
	if urls := httpSources(list); err != nil || len(urls) == 0 || !strings.Contains(urls[0], m.Files[i].Path) {
		t.Errorf("%s is at %q, %v", m.Files[i].Path, urls, err)
	}
}

// A cache may lie in a directory of any name: of what is looked for there, nothing is
// overlooked.
func TestBranchInADirectoryOfAnOddName(t *testing.T) {
	s := serveGit(t, 3, allowFilter)
	h := NewHidden(filepath.Join(t.TempDir(), "a[b]*", "ds"))
	t.Cleanup(h.Close)
	c, err := h.Clone(t.Context(), specOf(t, s.url), "", CloneOptions{Git: FindGit()})
	if err == nil {
		err = c.waitBeginning(t.Context())
	}
	if err != nil || lacks(t, c.Dir) == 0 {
		t.Fatalf("the branch is not in part: %v", err)
	}
	left := filepath.Join(c.Dir, "objects", "pack", "tmp_pack_x")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitBranch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := lacks(t, c.Dir); n > 0 {
		t.Errorf("of the whole branch %d objects are not there", n)
	}
	if _, err := os.Lstat(left); err == nil {
		t.Error("what a git that was killed left behind stays")
	}
}

// Where content is comes by key where the server can do that, and is the same
// whatever the server can do.
func TestLogsFromEveryServer(t *testing.T) {
	older := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("Git-Protocol")
		next.ServeHTTP(w, r)
	}
	for name, c := range map[string]struct {
		config  []string
		around  func(w http.ResponseWriter, r *http.Request, next http.Handler)
		partial bool
	}{
		"leaves out":                  {[]string{allowFilter}, nil, true},
		"leaves out all trees only":   {[]string{allowFilter, "uploadpackfilter.tree.maxDepth=0"}, nil, true},
		"leaves out files only":       {[]string{allowFilter, "uploadpackfilter.allow=false", "uploadpackfilter.blob:none.allow=true"}, nil, false},
		"leaves nothing out":          {nil, nil, false},
		"older protocol":              {[]string{allowFilter}, older, false},
		"older protocol, any object":  {[]string{allowFilter, "uploadpack.allowAnySHA1InWant=true"}, older, true},
		"older protocol, leaves none": {nil, older, false},
	} {
		t.Run(name, func(t *testing.T) {
			const n = 30
			s := serveGit(t, n, c.config...)
			if c.around != nil {
				s.set(c.around)
			}
			r, dir := origin(t, s.url, OriginOptions{Fetcher: "native"})
			for i := range n {
				wantURLs(t, r, s.m, i)
				if missing := lacks(t, dir); i == 0 && (missing > 0) != c.partial {
					t.Errorf("%d objects of the branch are not there", missing)
				}
			}
			mf, err := readManifest(dir)
			if err != nil || mf.Partial != c.partial || len(mf.Behind) > 0 {
				t.Errorf("the manifest says %+v, %v", mf, err)
			}
			// A key that the branch does not know.
			if list, err := r.Sources(t.Context(), mustKey(t, "MD5E-s3--d41d8cd98f00b204e9800998ecf8427e.txt")); err != nil || len(list) > 0 {
				t.Errorf("an unknown key has %v, %v", list, err)
			}
			// Whoever needs all gets all.
			if err := r.clone.WaitBranch(t.Context()); err != nil || lacks(t, dir) > 0 {
				t.Errorf("the whole branch: %v, %d missing", err, lacks(t, dir))
			}
			wantURLs(t, r, s.m, 0)
			if mf, _ := readManifest(dir); mf.Partial {
				t.Error("it is whole, and the manifest says it is not")
			}
			visits := s.visits.Load()
			wantURLs(t, r, s.m, n-1)
			if err := r.clone.WaitBranch(t.Context()); err != nil || s.visits.Load() != visits {
				t.Errorf("it is whole, and the server is asked: %v", err)
			}
		})
	}
}

func mustKey(t testing.TB, s string) annex.Key {
	t.Helper()
	k, err := annex.ParseKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Whoever asks at the same time is served by few visits, and what comes next
// has come along.
func TestLogsComeTogether(t *testing.T) {
	const n = 200
	s := serveGit(t, n, allowFilter)
	next := func(key annex.Key, most int) (keys []annex.Key) {
		i := slices.IndexFunc(s.m.Files, func(f maker.MadeFile) bool { return f.Key == key })
		for _, f := range s.m.Files[i+1 : min(i+1+most, n)] {
			keys = append(keys, f.Key)
		}
		return keys
	}
	r, _ := origin(t, s.url, OriginOptions{Fetcher: "native", Ahead: next})
	if err := r.clone.waitBeginning(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := s.visits.Load()
	wantURLs(t, r, s.m, 0)
	if v := s.visits.Load() - before; v != 2 {
		t.Errorf("the first took %d visits, want 2", v)
	}
	for i := range partial.FirstAhead {
		wantURLs(t, r, s.m, i)
	}
	if v := s.visits.Load() - before; v != 2 {
		t.Errorf("those after it took %d visits more", v-2)
	}
	// What is foreseen has come before anybody asks, wherever it is.
	seer, dir := origin(t, s.url, OriginOptions{Fetcher: "native"})
	var few []annex.Key
	for i := 0; i < n; i += 20 {
		few = append(few, s.m.Files[i].Key)
	}
	started := time.Now()
	seer.Foresee(few)
	wantURLs(t, seer, s.m, 0)
	for _, key := range few {
		for !has(dir, annexRef+":"+key.HashDirLower()+"/"+key.FileName()+".log") {
			if time.Since(started) > time.Minute {
				t.Fatal("what is foreseen does not come")
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	before = s.visits.Load()
	for i := 0; i < n; i += 20 {
		wantURLs(t, seer, s.m, i)
	}
	if v := s.visits.Load() - before; v > 0 {
		t.Errorf("what was foreseen took %d visits", v)
	}
	// Many at once, each of whom knows nothing of the others.
	alone, _ := origin(t, s.url, OriginOptions{Fetcher: "native"})
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() { wantURLs(t, alone, s.m, i) })
	}
	all.Wait()
}

// What is known needs no server, also after a restart; what is not is an outage
// that ends with it.
func TestLogsOutliveTheServer(t *testing.T) {
	s := serveGit(t, 3, allowFilter)
	r, dir := origin(t, s.url, OriginOptions{Fetcher: "native"})
	wantURLs(t, r, s.m, 0)
	s.set(func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) })
	wantURLs(t, r, s.m, 0)
	r.clone.hidden.Close()
	again := NewHidden(dir)
	defer again.Close()
	c, err := again.Clone(t.Context(), r.clone.Spec, "", CloneOptions{Git: FindGit()})
	if err != nil {
		t.Fatal(err)
	}
	if r, err = NewOrigin(c, r.git, OriginOptions{Fetcher: "native"}); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	wantURLs(t, r, s.m, 0)
	for range 2 {
		_, err = r.Sources(t.Context(), s.m.Files[1].Key)
		wantAdvice(t, err, advice.Network)
		if !IsUnreached(err) {
			t.Errorf("it is no outage: %v", err)
		}
	}
	s.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) })
	wantURLs(t, r, s.m, 1)
	if mf, _ := readManifest(dir); !mf.Partial {
		t.Error("an outage made it fetch all")
	}
}

// Who waits can leave, and the end of the clone ends the waiting.
func TestWaitingForLogsEnds(t *testing.T) {
	s := serveGit(t, 3, allowFilter)
	r, _ := origin(t, s.url, OriginOptions{Fetcher: "native"})
	wantURLs(t, r, s.m, 0)
	stop := make(chan struct{})
	defer close(stop)
	s.set(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := r.Sources(ctx, s.m.Files[1].Key); !errors.Is(err, context.Canceled) {
		t.Errorf("who left gets %v", err)
	}
	time.AfterFunc(100*time.Millisecond, r.clone.hidden.Close)
	if _, err := r.Sources(t.Context(), s.m.Files[1].Key); !errors.Is(err, context.Canceled) {
		t.Errorf("at the end: %v", err)
	}
}

// git-annex finds in the clone what it has need of: when it is a source the whole
// branch, and in the hands of people what they look at.
func TestGitAnnexInAPartialClone(t *testing.T) {
	gittest.EachAnnex(t, func(t *testing.T) {
		s := serveGit(t, 5, allowFilter)
		r, dir := origin(t, s.url, OriginOptions{})
		wantURLs(t, r, s.m, 0)
		out := run(t, dir, "git-annex", "whereis", "--key", s.m.Files[1].Key.String())
		if !strings.Contains(out, "s3") {
			t.Errorf("whereis says %q", out)
		}
		if lacks(t, dir) == 0 {
			t.Error("that brought all")
		}
		wantURLs(t, r, s.m, 1) // of which a part was there
		if out := run(t, dir, "git-annex", "find", "--in", "here", "--branch", "main"); strings.TrimSpace(out) != "" {
			t.Errorf("here is %q", out)
		}
		if err := place(t, t.Context(), annexOf(t, r, s.m.Files[2].Key), &s.m.Files[2]); err != nil {
			t.Error(err)
		}
		if n := lacks(t, dir); n > 0 {
			t.Errorf("git-annex was run with %d objects of the branch missing", n)
		}
	})
}
