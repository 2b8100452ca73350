package main_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
)

// A link in the socket's place leads to nobody who is then believed to be the
// daemon.
func TestLinkToAnotherSocketIsNotFollowed(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	_, m := serve(t, u, demo.Dataset())
	u.must("list", "--count", "--dataset", m.Dir)
	u.leaveDaemon()
	foreign, err := net.Listen("unix", u.path("foreign"))
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 1000)
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path })}
	go server.Serve(foreign)
	defer server.Close()
	socket := filepath.Join(u.cache, "daemon.sock")
	os.Remove(socket)
	if err := os.Symlink(u.path("foreign"), socket); err != nil {
		t.Fatal(err)
	}
	u.fails(1, []string{socket, "no socket", "remove it"}, "list", "--dataset", m.Dir)
	if len(asked) > 0 {
		t.Errorf("somebody else's socket was asked for %s", <-asked)
	}
	if to, err := os.Readlink(socket); err != nil || to != u.path("foreign") {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	os.Remove(socket)
	u.must("list", "--count", "--dataset", m.Dir)
}
