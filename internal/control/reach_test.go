package control

import (
	"context"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
)

// The next daemon is asked when one is stopping or has gone before it answered.
func TestRequestGoesToTheNextDaemon(t *testing.T) {
	for name, refuse := range map[string]http.HandlerFunc{
		"stopping": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "stopping", http.StatusServiceUnavailable)
		},
		"gone": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			var old *fake
			asked := 0
			old = newFake(t, map[string]http.HandlerFunc{"POST /v1/files": func(w http.ResponseWriter, r *http.Request) {
				asked++
				go old.stop()
				refuse(w, r)
			}})
			c := old.client()
			var once sync.Once
			c.run = func() *exec.Cmd {
				if lock, err := old.dir.Lock(); err != nil {
					return exec.Command("echo", "locked")
				} else {
					lock.Close()
				}
				once.Do(func() {
					newFakeIn(t, old.dir, map[string]http.HandlerFunc{"POST /v1/files": says(`{"result":{"files":7}}`)})
				})
				return exec.Command("echo", "ready")
			}
			res, err := c.Files(t.Context(), FilesRequest{Do: "pin"}, nil)
			if err != nil || res.Files != 7 {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
}

// One that goes on refusing is given up.
func TestRefusalsEnd(t *testing.T) {
	f := newFake(t, map[string]http.HandlerFunc{"POST /v1/files": func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "stopping", http.StatusServiceUnavailable)
	}})
	_, err := f.client().Files(t.Context(), FilesRequest{}, nil)
	if err := hasAdvice(err, advice.Failed, "refuses", "503"); err != nil {
		t.Error(err)
	}
	if n := len(f.requests()); n < 2 || n > 20 {
		t.Errorf("it was asked %d times", n)
	}
	// What it does not know is not asked again.
	if _, err := f.client().Status(t.Context(), StatusRequest{}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("unknown: %v", err)
	}
	if n := slices.IndexFunc(f.requests(), func(s string) bool { return strings.HasPrefix(s, "/v1/status") }); n != len(f.requests())-1 {
		t.Error("it was asked again")
	}
}

// One that has begun to answer may have done something: it is not asked again.
func TestRequestThatHasBegunIsNotAskedAgain(t *testing.T) {
	f := newFake(t, map[string]http.HandlerFunc{"POST /v1/files": func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}})
	_, err := f.client().Files(t.Context(), FilesRequest{}, nil)
	if err := hasAdvice(err, advice.Failed, "the daemon is gone", "run the command again", "daemon.log"); err != nil {
		t.Error(err)
	}
	if n := len(f.requests()); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}

// A daemon of another version stays while somebody has need of it, and is
// replaced else; whatever version is taken when that does not matter.
func TestDaemonOfAnotherVersion(t *testing.T) {
	for name, c := range map[string]struct {
		hello   string
		refused []string // words; nil: it is replaced
	}{
		"mounts":  {`{"version":"old","pid":1,"mounts":2,"work":[]}`, []string{"version old, this program new", "unmount TARGET", "status"}},
		"at work": {`{"version":"old","pid":1,"mounts":0,"work":["get","list"]}`, []string{"version old, this program new", "at work for: get and list", "--cache"}},
		"idle":    {`{"version":"old","pid":1,"mounts":0,"work":[]}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var f *fake
			f = newFake(t, map[string]http.HandlerFunc{
				"GET /v1/hello": says(c.hello),
				"POST /v1/stop": func(w http.ResponseWriter, r *http.Request) {
					w.WriteHeader(http.StatusNoContent)
					go f.stop()
				},
			})
			if _, err := Connect(t.Context(), f.dir, "", nil, noStart(t)); err != nil {
				t.Errorf("any version: %v", err)
			}
			var once sync.Once
			_, err := Connect(t.Context(), f.dir, "new", nil, func() *exec.Cmd {
				if c.refused != nil {
					t.Error("another is started")
				}
				f.stop()
				once.Do(func() {
					newFakeIn(t, f.dir, map[string]http.HandlerFunc{"GET /v1/hello": says(`{"version":"new","pid":1,"mounts":0,"work":[]}`)})
				})
				return exec.Command("echo", "ready")
			})
			if c.refused == nil {
				if err != nil {
					t.Error(err)
				}
				if got := f.requests(); !slices.Equal(got, []string{"/v1/stop?if=idle "}) {
					t.Errorf("it was asked %q", got)
				}
				return
			}
			if err := hasAdvice(err, advice.Failed, c.refused...); err != nil {
				t.Error(err)
			}
			if got := f.requests(); len(got) > 0 {
				t.Errorf("it was asked %q", got)
			}
		})
	}
}

// One that was asked to end and does not, or does not even answer, holds up
// nobody for long, and its process is named.
func TestDaemonOfAnotherVersionThatDoesNotEnd(t *testing.T) {
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, stop := range map[string]http.HandlerFunc{
		"silent":  silent,
		"yes":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"refuses": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusConflict) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, map[string]http.HandlerFunc{
				"GET /v1/hello": says(`{"version":"old","pid":4711,"mounts":0,"work":[]}`),
				"POST /v1/stop": stop,
			})
			c := newClient(f.dir, "new", noStart(t))
			c.waits.word, c.waits.idle = 3*time.Second, 100*time.Millisecond
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := hasAdvice(c.reach(ctx), advice.Failed, "version old, this program new", "asked to end", "kill 4711", "--cache"); err != nil {
				t.Error(err)
			}
		})
	}
	f := newFake(t, map[string]http.HandlerFunc{"GET /v1/hello": says(`{"version":"old","pid":0,"mounts":0,"work":[]}`), "POST /v1/stop": says("")})
	c := newClient(f.dir, "new", noStart(t))
	c.waits.idle = 10 * time.Millisecond
	if err := c.reach(t.Context()); err == nil || strings.Contains(strings.Join(ToAdvice(err).Do, "\n"), "kill") {
		t.Errorf("a process that is not known is named: %+v", err)
	}
}

// One that takes connections and never says who it is, is waited for within a
// bound.
func TestDaemonThatSaysNothing(t *testing.T) {
	for name, hello := range map[string]http.HandlerFunc{
		"silence": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"nothing": says(""),
		"no JSON": says("<html>"),
		"half":    says(`{"version":`),
		"stopping": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"version":"same"}`, http.StatusServiceUnavailable)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, map[string]http.HandlerFunc{"GET /v1/hello": hello})
			c := newClient(f.dir, "same", func() *exec.Cmd { return exec.Command("echo", "locked") })
			c.waits.reach, c.waits.word = 100*time.Millisecond, 500*time.Millisecond
			if err := hasAdvice(c.reach(t.Context()), advice.Failed, "does not answer", "daemon.log"); err != nil {
				t.Error(err)
			}
		})
	}
}
