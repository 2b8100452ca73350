package web

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// client is a client that may connect to this machine, and uses no proxy.
func client(t testing.TB, timeout time.Duration, allow ...string) *Client {
	t.Helper()
	if allow == nil {
		allow = []string{"127.0.0.1"}
	}
	c, err := New(Options{Allow: allow, Env: []string{"http_proxy=", "https_proxy=", "no_proxy="}, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// published is a server that has one file of size bytes, and its source.
func published(t testing.TB, size int64, timeout time.Duration) (*publisher.Server, []byte, *Source) {
	t.Helper()
	s, err := publisher.New(publisher.Options{DumbGit: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	m, err := maker.Make(t.TempDir(), maker.Dataset{
		Name: "ds", Files: []maker.File{{Path: "sub-01/a.bin", Size: size, Seed: 7, Annexed: true}},
		Remotes: []maker.Remote{{Name: "s3", Kind: maker.Versioned, URL: s.URL + "/bucket"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Add(m)
	content, err := maker.Bytes(m.Files[0].Content)
	if err != nil {
		t.Fatal(err)
	}
	return s, content, &Source{c: client(t, timeout), url: m.URLs(&m.Files[0])[0], size: size, exact: true}
}

// answering is a source whose server is handler, and has size bytes.
func answering(t testing.TB, size int64, timeout time.Duration, handler http.HandlerFunc) *Source {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return &Source{c: client(t, timeout), url: s.URL + "/file", size: size}
}

// speaking is the URL of a server that says these bytes to whoever connects.
func speaking(t testing.TB, what string) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(10 * time.Second))
			c.Read(make([]byte, 4096))
			c.Write([]byte(what))
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String()
}
