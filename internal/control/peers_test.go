package control

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// crowded serves with room for so many connections. "/ask" reads a request and
// waits for a word of the channel before it answers; "/hello" does so without
// reading one, and "/last" says that it lasts, and has no answer.
type crowded struct {
	t      *testing.T
	path   string
	begun  chan string
	answer chan struct{}
	peers  *peers
	server *http.Server
	served chan struct{} // closed when it serves no more
}

func newCrowded(t *testing.T, most int, tune ...func(*http.Server)) *crowded {
	t.Helper()
	c := &crowded{t: t, path: filepath.Join(t.TempDir(), "s"), begun: make(chan string, 100), answer: make(chan struct{}, 100), served: make(chan struct{})}
	l, err := Listen(c.path)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	wait := func(w http.ResponseWriter, r *http.Request) {
		c.begun <- r.URL.Path
		select {
		case <-c.answer:
			io.WriteString(w, "answered")
		case <-r.Context().Done():
		}
	}
	mux.HandleFunc("/hello", wait)
	mux.HandleFunc("/ask", func(w http.ResponseWriter, r *http.Request) {
		var req struct{ A int }
		if err := ReadRequest(w, r, &req); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		wait(w, r)
	})
	mux.HandleFunc("/last", func(w http.ResponseWriter, r *http.Request) {
		if err := ReadRequest(w, r, new(struct{ A int })); err != nil || Lasts(r.Context()) != nil {
			http.Error(w, "refused", http.StatusServiceUnavailable)
			c.begun <- "refused"
			return
		}
		c.begun <- r.URL.Path
		<-r.Context().Done()
	})
	c.server, c.peers = NewServer(mux), NewPeers(l, most).(*peers)
	for _, fn := range tune {
		fn(c.server)
	}
	go func() {
		defer close(c.served)
		c.server.Serve(c.peers)
	}()
	t.Cleanup(func() { c.server.Close(); <-c.served })
	return c
}

const (
	hello   = "GET /hello HTTP/1.1\r\nHost: cache\r\n\r\n"
	lasting = "POST /last HTTP/1.1\r\nHost: cache\r\nContent-Length: 7\r\n\r\n{\"A\":1}"
	request = "POST /ask HTTP/1.1\r\nHost: cache\r\nContent-Length: 7\r\n\r\n{\"A\":1}"
)

func (c *crowded) dial(say string) *talk {
	c.t.Helper()
	conn, err := Dial(c.t.Context(), c.path)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(conn, say)
	return &talk{conn, bufio.NewReader(conn)}
}

func (c *crowded) begins(path string) {
	c.t.Helper()
	select {
	case got := <-c.begun:
		if got != path {
			c.t.Errorf("%s has begun, not %s", got, path)
		}
	case <-time.After(time.Minute):
		c.t.Fatalf("%s does not begin", path)
	}
}

// rests waits until the server has noted the end of all answers, which is after
// who asked has read them.
func (c *crowded) rests() {
	c.t.Helper()
	for range 6000 {
		c.peers.mu.Lock()
		busy := slices.ContainsFunc(c.peers.all, func(o *peer) bool { return o.asking })
		c.peers.mu.Unlock()
		if !busy {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.t.Fatal("an answer does not end")
}

// talk is a connection on which answers are read.
type talk struct {
	net.Conn
	from *bufio.Reader
}

func (t *talk) answered() error {
	resp, err := http.ReadResponse(t.from, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && string(body) != "answered" {
		err = fmt.Errorf("answered: %s", body)
	}
	return err
}

// However many others come, who has asked gets the answer, to its end.
func TestBusyConnectionIsNeverClosedForAnother(t *testing.T) {
	for path, say := range map[string]string{"/hello": hello, "/ask": request} {
		t.Run(path, func(t *testing.T) {
			c := newCrowded(t, 3)
			busy := c.dial(say)
			c.begins(path)
			for range 20 {
				c.dial("")
				c.dial("POST /as")
				c.dial("POST /ask HTTP/1.1\r\nHost: cache\r\nContent-Length: 7\r\n\r\n{\"A\"")
			}
			// It has come through all of them when it is asked.
			other := c.dial(say)
			c.begins(path)
			c.answer <- struct{}{}
			c.answer <- struct{}{}
			for name, who := range map[string]*talk{"the busy one": busy, "the newest": other} {
				if err := who.answered(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// While all that there may be are busy, the newest waits, and has its turn when
// one is done.
func TestNewestWaitsForBusyOnes(t *testing.T) {
	c := newCrowded(t, 2)
	first, second := c.dial(request), c.dial(request)
	c.begins("/ask")
	c.begins("/ask")
	third := c.dial(request)
	select {
	case <-c.begun:
		t.Error("a third one has begun")
	case <-time.After(50 * time.Millisecond):
	}
	c.answer <- struct{}{}
	c.begins("/ask")
	c.answer <- struct{}{}
	c.answer <- struct{}{}
	for i, who := range []*talk{first, second, third} {
		if err := who.answered(); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// Those that last keep nobody else waiting. There is a bound to them, and room for
// another when who asked is gone.
func TestThoseThatLastKeepNobodyWaiting(t *testing.T) {
	const most = 2
	c := newCrowded(t, most)
	var last *talk
	for range maxLasting * most {
		last = c.dial(lasting)
		c.begins("/last")
	}
	for range 2 {
		refused := c.dial(lasting)
		c.begins("refused")
		if err := refused.answered(); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("one too many: %v", err)
		}
		var others []*talk
		for range most {
			c.dial("")
			c.dial("POST /as")
			others = append(others, c.dial(request))
			c.begins("/ask")
		}
		for range most {
			c.answer <- struct{}{}
		}
		for _, other := range others {
			if err := other.answered(); err != nil {
				t.Error(err)
			}
		}
		last.Close()
		for again := true; again; { // the server sees it soon
			last = c.dial(lasting)
			again = <-c.begun == "refused"
		}
	}
}

// A kept connection that was served goes when there is need of room, and of
// several the one that was served longest ago.
func TestServedConnectionsGoInTheirOrder(t *testing.T) {
	c := newCrowded(t, 3)
	var kept [3]*talk
	for i := range kept {
		kept[i] = c.dial(request)
		c.begins("/ask")
	}
	for range kept {
		c.answer <- struct{}{}
	}
	for i, who := range kept {
		if err := who.answered(); err != nil {
			t.Fatal(i, err)
		}
	}
	c.rests()
	for i := range 2 { // again: the first is now the last that was served
		io.WriteString(kept[i], request)
		c.begins("/ask")
		c.answer <- struct{}{}
		if err := kept[i].answered(); err != nil {
			t.Fatal(err)
		}
		c.rests()
	}
	c.dial(request)
	c.begins("/ask")
	if _, err := kept[2].from.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the one that was served longest ago: %v", err)
	}
	c.answer <- struct{}{}
	io.WriteString(kept[0], request)
	c.begins("/ask")
	c.answer <- struct{}{}
	if err := kept[0].answered(); err != nil {
		t.Errorf("one that was just served: %v", err)
	}
}

// A server that ends does not wait for room.
func TestCloseEndsTheWaitForRoom(t *testing.T) {
	l, err := Listen(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	p := NewPeers(l, 1).(*peers)
	defer l.Close()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	busy, err := p.admit(ours)
	if err != nil {
		t.Fatal(err)
	}
	busy.(*peer).ask(true)
	var wait sync.WaitGroup
	late, far := net.Pipe()
	defer far.Close()
	wait.Go(func() {
		if c, err := p.admit(late); err == nil {
			t.Errorf("%v is admitted", c)
		}
	})
	time.Sleep(50 * time.Millisecond) // most likely it waits by now
	p.Close()
	wait.Wait()
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("who was not admitted: %v", err)
	}
	if _, err := p.Accept(); err == nil {
		t.Error("it accepts after its end")
	}
	if n := len(p.all); n != 1 {
		t.Errorf("%d connections", n)
	}
	busy.Close()
	busy.Close()
	if n := len(p.all); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// One that was closed for another while its request was read has done nothing.
func TestClosedWhileItIsRead(t *testing.T) {
	l, err := Listen(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	p := NewPeers(l, 1).(*peers)
	defer p.Close()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	cut, _ := p.admit(ours)
	h, _ := http.NewRequest(http.MethodPost, "http://cache/ask", strings.NewReader(`{"A":1}`))
	h = h.WithContext(NewServer(nil).ConnContext(t.Context(), cut))
	other, _ := net.Pipe()
	if c, err := p.admit(other); err != nil {
		t.Fatal(err)
	} else {
		defer c.Close()
	}
	var req struct{ A int }
	if err := ReadRequest(nil, h, &req); !errors.Is(err, net.ErrClosed) || req.A != 0 {
		t.Errorf("read: %+v, %v", req, err)
	}
}
