package main_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// network is the way to a server. It can be gone: connections break, and new
// ones are refused.
type network struct {
	t    testing.TB
	addr string
	to   string

	mu       sync.Mutex // guards the following
	listener net.Listener
	open     map[net.Conn]bool
}

func newNetwork(t testing.TB, to string) *network {
	n := &network{t: t, addr: "127.0.0.1:0", to: strings.TrimPrefix(to, "http://"), open: make(map[net.Conn]bool)}
	n.up()
	t.Cleanup(n.down)
	return n
}

func (n *network) up() {
	n.t.Helper()
	l, err := net.Listen("tcp4", n.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	n.mu.Lock()
	n.listener, n.addr = l, l.Addr().String()
	n.mu.Unlock()
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp4", n.to)
			if err != nil {
				in.Close()
				continue
			}
			n.mu.Lock()
			n.open[in], n.open[out] = true, true
			n.mu.Unlock()
			join := func(a, b net.Conn) {
				io.Copy(a, b)
				a.Close()
				b.Close()
			}
			go join(in, out)
			go join(out, in)
		}
	}()
}

func (n *network) down() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listener.Close()
	for c := range n.open {
		c.Close()
	}
	clear(n.open)
}

// behind makes a dataset whose content comes through a network.
func behind(t testing.TB, u *user, d maker.Dataset) (*network, *publisher.Server, *maker.Made) {
	t.Helper()
	s, err := publisher.New(publisher.Options{GitConfig: []string{"uploadpack.allowFilter=true"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	n := newNetwork(t, s.URL)
	d.Remotes = []maker.Remote{{Name: "s3-PUBLIC", Kind: maker.Versioned, URL: "http://" + n.addr + "/openneuro.org"}}
	m, err := maker.Make(u.path(d.Name), d)
	if err != nil {
		t.Fatal(err)
	}
	s.Add(m)
	return n, s, m
}

// sent waits until a server has sent so many bytes more.
func sent(t testing.TB, s *publisher.Server, more int64) {
	t.Helper()
	want := s.Counts().Bytes + more
	for deadline := time.Now().Add(time.Minute); s.Counts().Bytes < want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the download stands still")
		}
	}
}

func annexedBytes(m *maker.Made) (total int64) {
	for _, f := range m.Files {
		if f.Annexed {
			total += f.Content.Size()
		}
	}
	return total
}

// A network that is gone for a while is waited for; what was here is not
// fetched again.
func TestGetOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	n, server, m := behind(t, u, files("outage", 60, 100_000))
	server.SetLink(publisher.Link{Rate: 4 << 20})
	r := make(chan result, 1)
	go func() { r <- u.run("get", "--fetcher", "native", "--dataset", m.Dir, u.path("target")) }()
	sent(t, server, 1<<20)
	n.down()
	time.Sleep(9 * time.Second)
	n.up()
	if r := <-r; r.code != 0 {
		t.Fatalf("exit %d\n%s", r.code, r.errout)
	}
	sameTree(t, u.path("target"), contents(t, m))
	total := annexedBytes(m)
	if got := server.Counts().Bytes; got > total+16*512<<10 {
		t.Errorf("%d bytes sent for %d", got, total)
	}
}

// A network that stays away ends in a list of what is missing; the rest is
// there, and later the same command goes on.
func TestGetGivesUpAfterTheTimeout(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	n, server, m := behind(t, u, files("away", 40, 100_000))
	server.SetLink(publisher.Link{Rate: 4 << 20})
	get := []string{"get", "--fetcher", "native", "--timeout", "3s", "--dataset", m.Dir, u.path("target")}
	r := make(chan result, 1)
	go func() { r <- u.run(get...) }()
	sent(t, server, 1<<20)
	n.down()
	first := <-r
	if first.code != 7 || !strings.Contains(first.errout, "connection refused") || !strings.Contains(first.errout, "it continues") {
		t.Errorf("exit %d\n%s", first.code, first.errout)
	}
	want := contents(t, m)
	there := 0
	for path, content := range want {
		if got, err := os.ReadFile(filepath.Join(u.path("target"), path)); err == nil {
			there++
			if string(got) != string(content) {
				t.Errorf("%s is wrong", path)
			}
		} else if !strings.Contains(first.errout, path+": ") {
			t.Errorf("%s is neither there nor in the list", path)
		}
	}
	if there < 3 {
		t.Errorf("%d files are there", there)
	}
	n.up()
	u.must(get...)
	sameTree(t, u.path("target"), want)
	if got, total := server.Counts().Bytes, annexedBytes(m); got > total+16*512<<10 {
		t.Errorf("%d bytes sent for %d", got, total)
	}
}

// Two downloads at once into one directory take turns.
func TestTwoGetsIntoOneTarget(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	server, m := serve(t, u, demo.Dataset())
	server.SetLink(publisher.Link{RTT: 5 * time.Millisecond, Rate: 1 << 20})
	u.must("list", "--count", "--dataset", m.Dir)
	var wait sync.WaitGroup
	for _, selection := range [][]string{{"--sub", "01"}, {"--sub", "02"}, {"--sub", "01", "--modality", "anat"}, {}, {}} {
		wait.Go(func() {
			args := append([]string{"get", "--dataset", m.Dir, u.path("target")}, selection...)
			if r := u.run(args...); r.code != 0 {
				t.Errorf("%v: exit %d\n%s", args, r.code, r.errout)
			}
		})
	}
	wait.Wait()
	sameTree(t, u.path("target"), contents(t, m))
	if got, want := server.Counts().Bytes, annexedBytes(m); got != want {
		t.Errorf("%d bytes sent for %d", got, want)
	}
}

// One of two downloads into one directory is interrupted while it waits.
func TestInterruptWhileTakingTurns(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	server, m := serve(t, u, files("turns", 30, 100_000))
	server.SetLink(publisher.Link{Rate: 1 << 20})
	r := make(chan result, 1)
	go func() { r <- u.run("get", "--dataset", m.Dir, u.path("target")) }()
	sent(t, server, 100_000)
	second := u.command(context.Background(), "get", "--json-progress", "--dataset", m.Dir, u.path("target"))
	said, err := second.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 500)
	k, _ := said.Read(line)
	if !strings.Contains(string(line[:k]), `"phase":"wait"`) {
		t.Errorf("it does not wait: %s", line[:k])
	}
	second.Process.Signal(os.Interrupt)
	io.Copy(io.Discard, said)
	second.Wait()
	if code := second.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit %d", code)
	}
	if r := <-r; r.code != 0 {
		t.Errorf("the first: exit %d\n%s", r.code, r.errout)
	}
	sameTree(t, u.path("target"), contents(t, m))
}
