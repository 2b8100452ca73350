package program

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
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
	g := Git{Path: path}
	run := func(l Limits, args ...string) string {
		t.Helper()
		_, err := g.Bounded(t.Context(), l, nil, args...)
		if _, ok := AsGitError(err); !ok {
			t.Fatalf("%v: %v", args, err)
		}
		return Said(err)
	}
	at := deaf(t)
	mute, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	dumb := mute.Addr().String()
	long := Limits{Silence: time.Hour, Connect: time.Second}
	for _, args := range [][]string{
		{"ls-remote", "http://" + at + "/x"}, {"ls-remote", "https://" + at + "/x"}, {"ls-remote", "https://" + dumb + "/x"},
		{"-c", "http.proxy=http://" + at, "ls-remote", "http://example.org/x"}, {"-c", "http.proxy=http://" + dumb, "ls-remote", "https://example.org/x"},
	} {
		if said := run(long, args...); said != "no connection within 1s" {
			t.Errorf("%v: %s", args, said)
		}
	}
	// The bound ends with the connection: what comes then has its own.
	const late = 4 * time.Second
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(late)
		http.Error(w, strings.Repeat("late ", 100_000), http.StatusNotFound)
	}))
	defer s.Close()
	if said := run(Limits{Silence: time.Hour, Connect: late - time.Second}, "ls-remote", s.URL+"/x"); !strings.Contains(said, "not found") {
		t.Errorf("a server that is late: %s", said)
	}
	// What is not HTTP has no bound of this kind.
	env := Git{Path: path, Env: []string{"GIT_SSH_COMMAND=sleep 3; false"}}
	_, err = env.Bounded(t.Context(), Limits{Silence: time.Hour, Connect: time.Second}, nil, "ls-remote", "ssh://127.0.0.1/x")
	if said := Said(err); strings.Contains(said, "no connection") {
		t.Errorf("ssh: %s", said)
	}
}
