package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// serveSocket answers "/v1/ask" on a socket as a daemon does, with less
// patience, and returns a way to it. There is room for one connection.
func serveSocket(t *testing.T) (dialled func() net.Conn) {
	t.Helper()
	d := &daemon{log: slog.New(slog.DiscardHandler), life: newLifetime(time.Hour)}
	t.Cleanup(d.life.stop)
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/ask", answer(d, "ask", func(context.Context, struct{ A int }, *reply) (string, error) { return "answered", nil }))
	path := filepath.Join(t.TempDir(), "s")
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	server := control.NewServer(mux)
	server.ReadHeaderTimeout, server.ReadTimeout = 500*time.Millisecond, 500*time.Millisecond
	go server.Serve(control.NewPeers(l, 1))
	t.Cleanup(func() { server.Close() })
	return func() net.Conn {
		c, err := control.Dial(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(20 * time.Second))
		return c
	}
}

// However slowly a request comes, and whether or not the part of it that
// matters is there, it ends in time, and the next one has its turn.
func TestSlowRequestsAreGivenUp(t *testing.T) {
	const post = "POST /v1/ask HTTP/1.1\r\nHost: cache\r\n"
	for name, begin := range map[string]string{
		"nothing":                 "",
		"half a line":             "POST /v1/as",
		"header":                  post,
		"body":                    post + "Content-Length: 100000\r\n\r\n{\"A\":",
		"after the value":         post + "Content-Length: 100000\r\n\r\n{\"A\":1}",
		"chunks":                  post + "Transfer-Encoding: chunked\r\n\r\n8\r\n{\"A\":1}\n\r\n",
		"body of what needs none": "GET /v1/ask HTTP/1.1\r\nHost: cache\r\nContent-Length: 100000\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dialled := serveSocket(t)
			c := dialled()
			if _, err := io.WriteString(c, begin); err != nil {
				t.Fatal(err)
			}
			stop := make(chan struct{})
			defer close(stop)
			if strings.Contains(begin, "Content-Length") {
				go func() { // a byte now and then
					tick := time.NewTicker(50 * time.Millisecond)
					defer tick.Stop()
					for {
						select {
						case <-stop:
							return
						case <-tick.C:
							if _, err := io.WriteString(c, " "); err != nil {
								return
							}
						}
					}
				}()
			}
			next := dialled()
			io.WriteString(next, post+"Content-Length: 7\r\nConnection: close\r\n\r\n{\"A\":1}")
			if said, err := io.ReadAll(next); err != nil || !strings.Contains(string(said), "answered") {
				t.Errorf("the next one is told %q, %v", said, err)
			}
		})
	}
}

// However many commands wait for their mounts to end, others are answered.
func TestThoseThatWaitForMountsKeepNobodyWaiting(t *testing.T) {
	b := newRig(t)
	b.mount("mnt")
	ended := make(chan error)
	const most = control.MaxConnections + 2
	for range most {
		go func() { ended <- b.Wait(t.Context(), b.path("mnt")) }()
	}
	sockets := func() (n int) { // of the daemon, that are connected
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", b.status().PID))
		for _, l := range links {
			if to, _ := os.Readlink(l); strings.HasPrefix(to, "socket:") {
				n++
			}
		}
		return n
	}
	b.eventually("all wait", func() bool { return sockets() >= most })
	b.unmount("mnt")
	for range most {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
