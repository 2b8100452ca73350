package web

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func tunnel(t *testing.T, allow ...string) *Tunnel {
	t.Helper()
	u, err := NewTunnel(allow)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

func through(t *testing.T, u *Tunnel) *http.Client {
	t.Helper()
	proxy, err := url.Parse(u.URL())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// What is allowed is connected to, by address and by name; what is not is refused
// with the reason, also after a redirect.
func TestTunnelLeadsToAllowedAddressesOnly(t *testing.T) {
	body := bytes.Repeat([]byte("x"), 1<<20)
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1); r.URL.Path == "/redirect" {
			http.Redirect(w, r, "http://127.0.0.2:1/", http.StatusFound)
			return
		}
		w.Write(body)
	}))
	defer s.Close()
	allowed := tunnel(t, "127.0.0.1")
	for _, host := range []string{s.URL, strings.Replace(s.URL, "127.0.0.1", "localhost", 1)} {
		r, err := through(t, allowed).Get(host)
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		got, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes, %v", host, len(got), err)
		}
	}
	if _, err := through(t, allowed).Get(s.URL + "/redirect"); err == nil || allowed.Failure("127.0.0.2") == nil {
		t.Errorf("redirected: %v, %v", err, allowed.Failure("127.0.0.2"))
	}
	asked.Store(0)
	public := tunnel(t)
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "2130706433", "127.1", "0x7f000001", "0.0.0.0", "10.0.0.1", "169.254.169.254"} {
		port := s.URL[strings.LastIndexByte(s.URL, ':'):]
		if _, err := through(t, public).Get("http://" + host + port + "/"); err == nil {
			t.Errorf("%s is connected to", host)
		}
		if err := public.Failure(strings.Trim(host, "[]")); err == nil || !strings.Contains(err.Error(), "address is not allowed") {
			t.Errorf("%s: the reason is %v", host, err)
		}
	}
	// A name may lead to another address each time.
	for _, inside := range []string{"127.0.0.1", "169.254.169.254", "::1"} {
		names(t, inside)
		if _, err := through(t, public).Get("http://rebind.example.org" + s.URL[strings.LastIndexByte(s.URL, ':'):]); err == nil || !errors.Is(public.Failure("REBIND.example.org"), ErrAddress) {
			t.Errorf("%s: %v, %v", inside, err, public.Failure("rebind.example.org"))
		}
	}
	if asked.Load() != 0 {
		t.Errorf("the server was asked %d times", asked.Load())
	}
	if _, err := NewTunnel([]string{"nonsense"}); err == nil {
		t.Error("an address that is none is taken")
	}
}

// Whatever is said to it, the next one is served.
func TestTunnelOutlivesNonsense(t *testing.T) {
	u := tunnel(t, "127.0.0.1")
	addr := strings.TrimPrefix(u.URL(), "socks5h://")
	for _, said := range []string{"", "GET / HTTP/1.1\r\n\r\n", "\x04\x01", "\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", "\x05\x01\x00\x05\x01\x00\x03\x00\x00\x01", "\x05\x01\x00\x05\x01\x00\x09\x00\x00", "\x05\xff"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, said)
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, c)
		c.Close()
	}
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	r, err := through(t, u).Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
}

// Other users of the machine are not served.
func TestTunnelIsOfOneUser(t *testing.T) {
	if out, err := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "curl", "--version").CombinedOutput(); err != nil {
		t.Skipf("only root can be another user, with setpriv and curl: %v %s", err, out)
	}
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	u := tunnel(t, "127.0.0.1")
	curl := []string{"curl", "-sS", "-m", "60", "-o", "/dev/null", "-x", u.URL(), s.URL}
	if out, err := exec.Command(curl[0], curl[1:]...).CombinedOutput(); err != nil {
		t.Errorf("the owner: %v %s", err, out)
	}
	if out, err := exec.Command("setpriv", append([]string{"--reuid=65534", "--regid=65534", "--clear-groups"}, curl...)...).CombinedOutput(); err == nil {
		t.Errorf("another user is served: %s", out)
	}
}

// A server that never ends a connection keeps no place once nobody is at the other end:
// git was killed, or has given up.
func TestTunnelEndsWithItsClient(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u := tunnel(t, "127.0.0.1")
	port := l.Addr().(*net.TCPAddr).Port
	c, err := net.Dial("tcp", strings.TrimPrefix(u.URL(), "socks5h://"))
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte{5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, byte(port >> 8), byte(port)})
	silent, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := io.ReadFull(c, make([]byte, 12)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	for n := 0; len(u.places) > 0; n++ {
		if n == 3000 {
			t.Fatal("the connection keeps its place")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Closing ends connections that are open.
func TestTunnelCloses(t *testing.T) {
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-hang
	}))
	defer s.Close()
	defer close(hang)
	u, err := NewTunnel([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := through(t, u).Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	u.Close()
	if _, err := io.ReadAll(r.Body); err == nil {
		t.Error("the connection goes on")
	}
}
