package fetch

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/program"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/source/sourcetest"
)

// A server whose list of refs never ends costs bounded memory and time, by
// either of git's protocols.
func TestEndlessRefsAreCut(t *testing.T) {
	needGit(t)
	t.Setenv("HOME", t.TempDir())
	for name, serve := range map[string]http.HandlerFunc{
		"as files": func(w http.ResponseWriter, r *http.Request) {
			for i := 0; r.Context().Err() == nil; i++ {
				fmt.Fprintf(w, "%040x\trefs/heads/%0200d\n", i+1, i)
			}
		},
		"protocol 2": func(w http.ResponseWriter, r *http.Request) {
			pkt := func(s string) { fmt.Fprintf(w, "%04x%s", len(s)+4, s) }
			if r.Method == http.MethodGet {
				w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
				pkt("# service=git-upload-pack\n")
				fmt.Fprint(w, "0000")
				pkt("version 2\n")
				pkt("ls-refs\n")
				pkt("fetch\n")
				fmt.Fprint(w, "0000")
				return
			}
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			for i := 0; r.Context().Err() == nil; i++ {
				pkt(fmt.Sprintf("%040x refs/heads/%0200d\n", i+1, i))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Int64
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				serve(counting{w, &sent}, r)
			}))
			defer s.Close()
			spec, err := ParseSpec(s.URL+"/ds", "")
			if err != nil {
				t.Fatal(err)
			}
			hidden := NewHidden(filepath.Join(t.TempDir(), "ds"))
			defer hidden.Close()
			start := time.Now()
			_, err = hidden.Clone(t.Context(), spec, "", CloneOptions{Git: FindGit()})
			known := new(advice.Error)
			if !errors.As(err, &known) || len(known.Do) == 0 {
				t.Errorf("no advice: %v", err)
			}
			if d := time.Since(start); d > 3*time.Minute || sent.Load() > 1<<30 {
				t.Errorf("after %v and %d bytes", d, sent.Load())
			}
		})
	}
}

type counting struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c counting) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

// A git that is silent, or prints without end, is killed with all that it
// started.
func TestGitThatNeverEndsIsKilled(t *testing.T) {
	bin := t.TempDir()
	script := func(text string) program.Git {
		path := filepath.Join(bin, "git")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return program.Git{Path: path}
	}
	w := &withGit{spec: Spec{URL: "https://example.org/ds"}, git: script("sleep 1000 & wait"), progress: func(Progress) {}, silence: 300 * time.Millisecond}
	start := time.Now()
	_, err := w.offered(t.Context())
	if !IsUnreached(cloneError(t.Context(), w.spec, "", err)) {
		t.Errorf("silence is no outage: %v", err)
	}
	err = w.fetchRefs(t.Context(), bin, []string{"a"})
	if !IsUnreached(cloneError(t.Context(), w.spec, "", err)) {
		t.Errorf("silence is no outage: %v", err)
	}
	w.silence = 20 * time.Second
	w.git = script("exec cat /dev/zero")
	if _, err = w.offered(t.Context()); !errors.Is(err, program.ErrTooMuch) {
		t.Error(err)
	}
	w.git = script("yes '\033]0;x\007 \302\233 fatal' | head -c 1000000 >&2; exit 1")
	_, err = w.offered(t.Context())
	sourcetest.WantClass(t, cloneError(t.Context(), w.spec, "", err), false, "")
	w.git = script("exec yes remote: x >&2")
	if err = w.fetchRefs(t.Context(), bin, []string{"a"}); !errors.Is(err, program.ErrTooMuch) {
		t.Error(err)
	}
	if d := time.Since(start); d > time.Minute {
		t.Errorf("it took %v", d)
	}
}

func TestParseRefsBoundsTheirNumber(t *testing.T) {
	var b strings.Builder
	for i := range maxRefs + 1 {
		fmt.Fprintf(&b, "%040x\trefs/heads/%d\n", i, i)
	}
	if _, err := parseRefs(b.String()); !errors.Is(err, program.ErrTooMuch) {
		t.Error(err)
	}
}
