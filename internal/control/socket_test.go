package control

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// echo answers one connection with what it says.
func echo(l net.Listener) {
	c, err := l.Accept()
	if err == nil {
		io.Copy(c, c)
		c.Close()
	}
}

// A socket may lie deeper than its address is long.
func TestSocketsMayHaveLongPaths(t *testing.T) {
	for _, n := range []int{maxSocketPath - 1, maxSocketPath, maxSocketPath + 1, 4 * maxSocketPath} {
		dir := t.TempDir()
		for left := n - len(dir) - len("/daemon.sock"); left > 0; left = n - len(dir) - len("/daemon.sock") {
			part := min(left, 200)
			if left-part == 1 {
				part--
			}
			dir += "/" + strings.Repeat("d", part-1)
		}
		path := dir + "/daemon.sock"
		if len(path) != n {
			t.Fatalf("%d bytes, not %d", len(path), n)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		l, err := Listen(path)
		if err != nil {
			t.Errorf("%d bytes: %v", n, err)
			continue
		}
		defer l.Close()
		go echo(l)
		c, err := Dial(t.Context(), path)
		if err != nil {
			t.Errorf("%d bytes: %v", n, err)
			continue
		}
		io.WriteString(c, "word")
		got := make([]byte, 4)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "word" {
			t.Errorf("%d bytes: %s, %v", n, got, err)
		}
		c.Close()
	}
	before := descriptors(t)
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 200))
	for range 10 {
		if _, err := Dial(t.Context(), long); err == nil {
			t.Fatal("there is nothing")
		}
	}
	if after := descriptors(t); after > before+3 {
		t.Errorf("%d descriptors are left open", after-before)
	}
}

func descriptors(t *testing.T) int {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// The socket is its owner's alone, and what a dead daemon left is replaced.
func TestListenReplacesADeadSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	defer syscall.Umask(syscall.Umask(0))
	for range 2 {
		l, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := os.Lstat(path); err != nil || st.Mode() != os.ModeSocket|0o600 {
			t.Errorf("%v, %v", st.Mode(), err)
		}
		l.Close()
		// The next daemon's socket may be there already.
		if _, err := os.Lstat(path); err != nil {
			t.Error("the end of a listener removes the socket")
		}
	}
	if _, err := Listen(filepath.Join(t.TempDir(), "none", "s")); err == nil {
		t.Error("a directory that is not there")
	}
}

// What somebody put in the socket's place is neither removed, nor followed, nor
// talked to.
func TestPlantedThingsAreNoSockets(t *testing.T) {
	real := filepath.Join(t.TempDir(), "real")
	l, err := Listen(real)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for what, plant := range map[string]func(path string) error{
		"a file":             func(p string) error { return os.WriteFile(p, []byte("x"), 0o600) },
		"a link to a socket": func(p string) error { return os.Symlink(real, p) },
		"a link to nothing":  func(p string) error { return os.Symlink(p+"-none", p) },
		"a pipe":             func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"a directory":        func(p string) error { return os.Mkdir(p, 0o700) },
	} {
		path := filepath.Join(t.TempDir(), "s")
		if err := plant(path); err != nil {
			t.Fatal(err)
		}
		if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "no socket") {
			t.Errorf("listening on %s: %v", what, err)
		}
		if c, err := Dial(t.Context(), path); err == nil || !strings.Contains(err.Error(), "no socket") {
			t.Errorf("dialling %s: %v, %v", what, c, err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s is gone", what)
		}
	}
}

// asNobody is a command that runs this test again as another user, who may enter
// the socket's directory.
func asNobody(t *testing.T, socket string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can be two users")
	}
	dir := filepath.Dir(socket)
	for p := filepath.Dir(dir); p != "/" && p != os.TempDir(); p = filepath.Dir(p) {
		os.Chmod(p, 0o755)
	}
	os.Chmod(dir, 0o777)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "test")
	if err := os.WriteFile(copied, program, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(copied, "-test.run=^"+t.Name()+"$")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "CONTROL_TEST_SOCKET="+socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return cmd
}

// Whoever opens the way to the socket for others lets them have no word with the
// daemon.
func TestOthersAreNotServed(t *testing.T) {
	if socket := os.Getenv("CONTROL_TEST_SOCKET"); socket != "" {
		c, err := net.Dial("unix", socket)
		if err != nil {
			fmt.Println("not even connected:", err)
			return
		}
		io.WriteString(c, hello)
		c.SetDeadline(time.Now().Add(time.Minute))
		got, err := io.ReadAll(c)
		fmt.Printf("connected, told %q, %v\n", got, err)
		return
	}
	c := newCrowded(t, 1)
	if err := os.Chmod(c.path, 0o666); err != nil {
		t.Fatal(err)
	}
	for range 3 { // they take nobody's place
		if said, err := asNobody(t, c.path).Output(); err != nil || !strings.Contains(string(said), `connected, told ""`) {
			t.Errorf("another user is %s, %v", said, err)
		}
	}
	mine := c.dial(hello)
	c.begins("/hello")
	c.answer <- struct{}{}
	if err := mine.answered(); err != nil {
		t.Error(err)
	}
}

// A client tells nothing to a daemon of somebody else, who put a socket where
// that of its own was.
func TestOthersAreNotTalkedTo(t *testing.T) {
	if socket := os.Getenv("CONTROL_TEST_SOCKET"); socket != "" {
		l, err := Listen(socket)
		fmt.Println("listening", err)
		if err == nil {
			go echo(l)
			io.Copy(io.Discard, os.Stdin)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "s")
	other := asNobody(t, path)
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()
	defer in.Close()
	if said, err := bufio.NewReader(out).ReadString('\n'); said != "listening <nil>\n" {
		t.Fatalf("the other says %q, %v", said, err)
	}
	if c, err := Dial(t.Context(), path); !errors.Is(err, errOtherUser) {
		t.Errorf("connected to %v, %v", c, err)
	}
}

func TestWhoIsNotKnownIsNotTheOwner(t *testing.T) {
	if err := peerIsMe(nil); !errors.Is(err, errOtherUser) {
		t.Errorf("no connection: %v", err)
	}
	ours, theirs := net.Pipe()
	defer theirs.Close()
	if err := peerIsMe(ours); !errors.Is(err, errOtherUser) {
		t.Errorf("no unix socket: %v", err)
	}
	if err := peerIsMe(&net.UnixConn{}); err == nil {
		t.Error("a closed connection")
	}
}

func TestReadRequest(t *testing.T) {
	type request struct {
		A string
		B []int
	}
	long := `{"A":"` + strings.Repeat("a", 15<<20) + `"}`
	for name, c := range map[string]struct {
		method, body string
		want         string // of A
		err          string
	}{
		"one":                  {"POST", `{"A":"x","B":[1]}`, "x", ""},
		"space around":         {"POST", " \n{\"A\":\"x\"}\r\n ", "x", ""},
		"nothing":              {"POST", "", "", ""},
		"space":                {"POST", " \n", "", ""},
		"large":                {"POST", long, long[6 : len(long)-2], ""},
		"too large":            {"POST", long + strings.Repeat(" ", 1<<20), "", "too large"},
		"a body of a GET":      {"GET", `{"A":"x"}`, "", ""},
		"two":                  {"POST", `{"A":"x"}{"A":"y"}`, "x", "more than one"},
		"one and a half":       {"POST", `{"A":"x"}{`, "x", "more than one"},
		"one and a word":       {"POST", `{"A":"x"} x`, "x", "more than one"},
		"half":                 {"POST", `{"A":"x"`, "", "EOF"},
		"another field":        {"POST", `{"C":1}`, "", "unknown field"},
		"another kind":         {"POST", `{"A":1}`, "", "cannot unmarshal"},
		"no object":            {"POST", `[1]`, "", "cannot unmarshal"},
		"no JSON":              {"POST", `A=x`, "", "invalid character"},
		"not UTF-8":            {"POST", "{\"A\":\"x\xff\"}", "", "not UTF-8"},
		"not UTF-8, a name":    {"POST", "{\"A\xff\":\"x\"}", "", "not UTF-8"},
		"half a character":     {"POST", `{"A":"\ud83e"}`, "", "not UTF-8"},
		"a character of two":   {"POST", `{"A":"\ud83e\udde0"}`, "🧠", ""},
		"the replacement":      {"POST", `{"A":"\ufffd"}`, "\ufffd", ""},
		"a NUL, which no path": {"POST", `{"A":"\u0000"}`, "\x00", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var got request
			var err error
			s := httptest.NewUnstartedServer(nil)
			s.Config = NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { err = ReadRequest(w, r, &got) }))
			s.Start()
			defer s.Close()
			req, _ := http.NewRequest(c.method, s.URL, strings.NewReader(c.body))
			resp, sent := s.Client().Do(req)
			if sent != nil {
				t.Fatal(sent)
			}
			resp.Body.Close()
			s.Close()
			if got.A != c.want {
				t.Errorf("read %.40q, want %.40q", got.A, c.want)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

// A request that was read may take hours, and the next one on its connection is
// again to be said in time.
func TestOnlyReadingHasToBeSoon(t *testing.T) {
	c := newCrowded(t, 2, func(s *http.Server) {
		s.ReadTimeout, s.ReadHeaderTimeout = 2*time.Second, 2*time.Second
	})
	who := c.dial(request)
	c.begins("/ask")
	time.Sleep(4 * time.Second)
	c.answer <- struct{}{}
	if err := who.answered(); err != nil {
		t.Error(err)
	}
	io.WriteString(who, "POST /ask HTTP/1.1\r\nHost: cache\r\nContent-Length: 7\r\n\r\n{")
	if got, err := io.ReadAll(who); err != nil || !bytes.Contains(got, []byte("400 Bad Request")) {
		t.Errorf("the half one: %q, %v", got, err)
	}
}

// What is larger than any request is not listened to.
func TestLargeHeadersAreRefused(t *testing.T) {
	c := newCrowded(t, 1)
	who := c.dial("GET /hello HTTP/1.1\r\nHost: cache\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n")
	if resp, err := http.ReadResponse(who.from, nil); err == nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("answered %s", resp.Status)
	}
}

func TestDialGivesUpWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A peer that says nothing more is not listened to for longer than a minute.
func TestServerIsBounded(t *testing.T) {
	s := NewServer(nil)
	for what, d := range map[string]time.Duration{"a header": s.ReadHeaderTimeout, "a request": s.ReadTimeout, "the next request": s.IdleTimeout} {
		if d <= 0 || d > time.Minute {
			t.Errorf("%s may take %v", what, d)
		}
	}
	if s.WriteTimeout != 0 {
		t.Errorf("an answer ends after %v", s.WriteTimeout)
	}
}
