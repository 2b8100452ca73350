package fetch

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

// A server that breaks off at any time, or sends other objects than it was asked
// for, gives an error or the truth.
func TestLogsFromServersThatFail(t *testing.T) {
	for name, around := range map[string]func(w http.ResponseWriter, r *http.Request, next http.Handler){
		"breaks off": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			w.Header().Del("Content-Length")
			w.WriteHeader(rec.Code)
			body := rec.Body.Bytes()
			if r.Method == http.MethodPost {
				w.Write(body[:len(body)/2])
				panic(http.ErrAbortHandler)
			}
			w.Write(body)
		},
		"sends other objects": nil,
		"says nonsense": func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			io.WriteString(w, "0009hello0000")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveGit(t, 3, allowFilter)
			r, dir := origin(t, s.url, OriginOptions{Fetcher: "native"})
			if err := r.clone.waitBeginning(t.Context()); err != nil {
				t.Fatal(err)
			}
			if around == nil {
				other := strings.TrimSpace(run(t, s.m.GitDir, "git", "rev-parse", "main^{tree}"))
				around = func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					body, _ := io.ReadAll(r.Body)
					if at := bytes.Index(body, []byte("want ")); at >= 0 {
						copy(body[at+len("want "):], other)
					}
					r.Body = io.NopCloser(bytes.NewReader(body))
					next.ServeHTTP(w, r)
				}
			}
			s.set(around)
			list, err := r.Sources(t.Context(), s.m.Files[0].Key)
			if known := new(advice.Error); len(list) > 0 || !errors.As(err, &known) {
				t.Errorf("%v, %v", list, err)
			}
			s.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) })
			for i := range s.m.Files {
				wantURLs(t, r, s.m, i)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "objects", "pack", "tmp_*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A server that does not send objects by id any more is asked for the whole.
func TestLogsThatCannotBeHadByKeyAnyMore(t *testing.T) {
	s := serveGit(t, 3, allowFilter)
	r, dir := origin(t, s.url, OriginOptions{Fetcher: "native"})
	wantURLs(t, r, s.m, 0)
	s.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("Git-Protocol")
		next.ServeHTTP(w, r)
	})
	for i := range s.m.Files {
		wantURLs(t, r, s.m, i)
	}
	if n := lacks(t, dir); n > 0 {
		t.Errorf("%d objects are missing", n)
	}
}

// A branch that has moved on is followed, by whoever has a version of before too.
func TestLogsOfABranchThatMoved(t *testing.T) {
	s := serveGit(t, 3, allowFilter)
	run(t, s.m.GitDir, "git", "tag", "old", "main")
	r, _ := origin(t, s.url, OriginOptions{Fetcher: "native"})
	wantURLs(t, r, s.m, 0)
	addLogs(t, s.m, map[string]string{s.m.Files[1].Key.HashDirLower() + "/" + s.m.Files[1].Key.FileName() + ".log.web": "1700000000s 1 https://example.org/new\n"})
	run(t, s.m.GitDir, "git", "update-ref", "refs/heads/more", run(t, s.m.GitDir, "git", "commit-tree", "-p", "main", "-m", "x", "main^{tree}")[:40])
	c, err := r.clone.hidden.Clone(t.Context(), r.clone.Spec, "more", CloneOptions{Git: FindGit()})
	if err != nil {
		t.Fatal(err)
	}
	late, err := NewOrigin(c, r.git, OriginOptions{Fetcher: "native"})
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	list, err := late.Sources(t.Context(), s.m.Files[1].Key)
	if urls := httpSources(list); err != nil || !slices.Contains(urls, "https://example.org/new") {
		t.Errorf("what is new is not known: %q, %v", urls, err)
	}
	for i := range s.m.Files {
		wantURLs(t, r, s.m, i)
		wantURLs(t, late, s.m, i)
	}
}

// A clone of before, whose branch is whole or does not come, goes on.
func TestClonesOfBefore(t *testing.T) {
	s := serveGit(t, 3, allowFilter)
	for _, whole := range []bool{true, false} {
		h := hiddenOf(t)
		c, err := h.Clone(t.Context(), specOf(t, s.url), "", CloneOptions{Git: FindGit()})
		if err != nil {
			t.Fatal(err)
		}
		if whole {
			run(t, c.Dir, "git", "fetch", "-q", "--depth=1", s.url, annexRef+":"+annexRef)
			m, _ := readManifest(c.Dir)
			m.Behind = nil
			if err := m.write(c.Dir); err != nil {
				t.Fatal(err)
			}
		}
		h.Close()
		h = NewHidden(h.dir)
		defer h.Close()
		if c, err = h.Clone(t.Context(), specOf(t, s.url), "", CloneOptions{Git: FindGit()}); err != nil {
			t.Fatal(err)
		}
		git, err := gitstore.Open(c.Dir, gitstore.Options{Git: FindGit()})
		if err != nil {
			t.Fatal(err)
		}
		defer git.Close()
		r, err := NewOrigin(c, git, OriginOptions{Fetcher: "native"})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		wantURLs(t, r, s.m, 0)
		if (lacks(t, c.Dir) == 0) != whole {
			t.Errorf("whole before: %v, and now %d objects are missing", whole, lacks(t, c.Dir))
		}
	}
}

// What was there and is not any more is fetched again.
func TestLogsThatWereTakenAway(t *testing.T) {
	s := serveGit(t, 3, allowFilter)
	r, dir := origin(t, s.url, OriginOptions{Fetcher: "native"})
	if err := r.clone.waitBeginning(t.Context()); err != nil {
		t.Fatal(err)
	}
	packs := func() []string {
		list, _ := filepath.Glob(filepath.Join(dir, "objects", "pack", "*"))
		return list
	}
	before := packs()
	wantURLs(t, r, s.m, 1)
	for _, path := range packs() {
		if !slices.Contains(before, path) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	git, err := gitstore.Open(dir, gitstore.Options{Git: FindGit()}) // which has none of them open
	if err != nil {
		t.Fatal(err)
	}
	defer git.Close()
	again, err := NewOrigin(r.clone, git, OriginOptions{Fetcher: "native"})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	wantURLs(t, again, s.m, 1)
}
