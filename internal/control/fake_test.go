package control

import (
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
)

// fake is a daemon that answers with what it is told, on a real socket.
type fake struct {
	t      *testing.T
	dir    cachedir.Dir
	server *http.Server
	stop   func() // lets go of the cache's lock, too; may be called twice

	mu    sync.Mutex
	asked []string // path and body of each request but hello
}

// newFake serves the routes; hello is that of version "same" unless it is among
// them.
func newFake(t *testing.T, routes map[string]http.HandlerFunc) *fake {
	t.Helper()
	dir := cachedir.Dir(filepath.Join(t.TempDir(), "cache"))
	if err := dir.Make(); err != nil {
		t.Fatal(err)
	}
	return newFakeIn(t, dir, routes)
}

func newFakeIn(t *testing.T, dir cachedir.Dir, routes map[string]http.HandlerFunc) *fake {
	t.Helper()
	lock, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(dir.Socket())
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, dir: dir}
	mux := http.NewServeMux()
	if routes["GET /v1/hello"] == nil {
		mux.HandleFunc("GET /v1/hello", says(`{"version":"same","pid":1,"mounts":0,"work":[]}`))
	}
	for pattern, h := range routes {
		mux.HandleFunc(pattern, h)
	}
	f.server = NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/hello" {
			body, _ := io.ReadAll(r.Body)
			f.mu.Lock()
			f.asked = append(f.asked, r.URL.RequestURI()+" "+string(body))
			f.mu.Unlock()
			r.Body = io.NopCloser(strings.NewReader(string(body)))
		}
		mux.ServeHTTP(w, r)
	}))
	served := make(chan struct{})
	go func() {
		defer close(served)
		f.server.Serve(NewPeers(l, MaxConnections))
	}()
	f.stop = sync.OnceFunc(func() {
		f.server.Close()
		<-served
		lock.Close()
	})
	t.Cleanup(f.stop)
	return f
}

func (f *fake) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.asked...)
}

// client returns one of version "same" that may start nothing.
func (f *fake) client() *Client {
	f.t.Helper()
	c, err := Connect(f.t.Context(), f.dir, "same", nil, noStart(f.t))
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func noStart(t *testing.T) func() *exec.Cmd {
	return func() *exec.Cmd {
		t.Error("another daemon is started")
		return exec.Command("false")
	}
}

// starts makes the command of a daemon that says something and ends.
func starts(line string) func() *exec.Cmd {
	return func() *exec.Cmd { return exec.Command("printf", "%s", line) }
}

// says answers with text.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
}

// tells answers with events.
func tells(t *testing.T, events ...Event) http.HandlerFunc {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	for _, e := range events {
		if err := enc.Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	return says(b.String())
}

func raw(t *testing.T, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// scan reads a request that was noted by a fake.
func scan(t *testing.T, said, path string, req any) {
	t.Helper()
	body, ok := strings.CutPrefix(said, path+" ")
	if !ok {
		t.Fatalf("asked %q, not %s", said, path)
	}
	if err := json.Unmarshal([]byte(body), req); err != nil {
		t.Fatal(err)
	}
}
