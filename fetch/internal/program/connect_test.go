package program

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deaf returns an address of this machine at which connections are neither taken
// nor refused, as behind a network that swallows all.
func deaf(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*unix.SockaddrInet4).Port}).String()
	for range 10 { // those who wait to be accepted fill what there is room for
		c, err := net.DialTimeout("tcp", at, time.Second)
		if err != nil {
			return at
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("skipped: this machine takes any number of connections")
	return ""
}

// A machine that does not answer is given up soon, and one that answers late is not.
func TestConnectIsBounded(t *testing.T) {
	path, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	t.Setenv("HOME", t.TempDir())
	for _, name := range []string{"http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, "")
	}
	at := deaf(t)
	mute, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	dumb := mute.Addr().String()
	// The bound ends with the connection: what comes then has its own.
	const late = 4 * time.Second
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(late)
		http.Error(w, strings.Repeat("late ", 100_000), http.StatusNotFound)
	}))
	defer s.Close()
	var all sync.WaitGroup
	says := func(g Git, within time.Duration, want string, args ...string) {
		all.Go(func() {
			_, err := g.Bounded(t.Context(), Limits{Silence: time.Hour, Connect: within}, nil, args...)
			if _, ok := AsGitError(err); !ok || !strings.Contains(Said(err), want) {
				t.Errorf("%v: %v, want %q", args, err, want)
			}
		})
	}
	g := Git{Path: path}
	const none = "no connection within 1s"
	says(g, time.Second, none, "ls-remote", "http://"+at+"/x")
	says(g, time.Second, none, "ls-remote", "https://"+at+"/x")
	says(g, time.Second, none, "ls-remote", "https://"+dumb+"/x")
	says(g, time.Second, none, "-c", "http.proxy=http://"+at, "ls-remote", "http://example.org/x")
	says(g, time.Second, none, "-c", "http.proxy=http://"+dumb, "ls-remote", "https://example.org/x")
	says(g, late-time.Second, "not found", "ls-remote", s.URL+"/x")
	// What is not HTTP has no bound of this kind.
	says(Git{Path: path, Env: []string{"GIT_SSH_COMMAND=sleep 3; false"}}, time.Second, "Could not read from remote", "ls-remote", "ssh://127.0.0.1/x")
	all.Wait()
}
