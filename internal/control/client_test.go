package control

import (
	"context"
	"errors"
	"net/http"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
)

// A daemon of a version that cannot tell what it does is not told to stop: it
// would, in the middle of a download.
func TestDaemonThatCannotTellIsLeftAlone(t *testing.T) {
	dir := cachedir.Dir(t.TempDir())
	if err := dir.Make(); err != nil {
		t.Fatal(err)
	}
	lock, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	l, err := Listen(dir.Socket())
	if err != nil {
		t.Fatal(err)
	}
	var stops atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/hello", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(`{"version":"old","pid":1,"mounts":0}`))
	})
	mux.HandleFunc("POST /v1/stop", func(http.ResponseWriter, *http.Request) { stops.Add(1) })
	server := &http.Server{Handler: mux}
	go server.Serve(l)
	defer server.Close()
	start := func() *exec.Cmd { return exec.Command("echo", "ready") }

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := Connect(ctx, dir, "new", nil, start); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while it is there: %v", err)
	}
	// It ends by itself, and another one is started.
	started := errors.New("started")
	time.AfterFunc(100*time.Millisecond, func() { server.Close(); lock.Close() })
	_, err = Connect(t.Context(), dir, "new", nil, func() *exec.Cmd {
		return exec.Command("echo", `{"kind":"failed","what":"started"}`)
	})
	if err == nil || err.Error() != started.Error() {
		t.Errorf("when it has ended: %v", err)
	}
	if n := stops.Load(); n > 0 {
		t.Errorf("it was told %d times to stop", n)
	}
}
