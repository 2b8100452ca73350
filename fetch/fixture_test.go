package fetch

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// client is a client that may connect to this machine, and uses no proxy.
func client(t testing.TB, timeout time.Duration, allow ...string) *httpClient {
	t.Helper()
	if allow == nil {
		allow = []string{"127.0.0.1"}
	}
	c, err := newHTTP(httpOptions{allow: allow, env: []string{"http_proxy=", "https_proxy=", "no_proxy="}, timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

// published is a server that has one file of size bytes, and its source.
func published(t testing.TB, size int64, timeout time.Duration) (*demo.Server, []byte, *httpSource) {
	t.Helper()
	s, err := demo.NewServer(demo.ServerOptions{DumbGit: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	m, err := demo.Make(t.TempDir(), demo.Dataset{
		Name: "ds", Files: []demo.File{{Path: "sub-01/a.bin", Size: size, Seed: 7, Annexed: true}},
		Remotes: []demo.Remote{{Name: "s3", Kind: demo.Versioned, URL: s.URL + "/bucket"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Add(m)
	content, err := demo.Bytes(m.Files[0].Content)
	if err != nil {
		t.Fatal(err)
	}
	return s, content, &httpSource{c: client(t, timeout), url: m.URLs(&m.Files[0])[0], size: size, exact: true}
}

// get fetches [off, off+n) and checks that what came is the truth, whole unless
// there is an error.
func get(t testing.TB, s source.Source, content []byte, off, n int64) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got bytes.Buffer
	err := s.Fetch(ctx, off, n, &got)
	if ctx.Err() != nil {
		t.Fatal("it hangs")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it looks as if the asker had run out of time: %v", err)
	}
	want := content[off : off+n]
	if err == nil && got.Len() != len(want) {
		t.Errorf("%d bytes of %d without an error", got.Len(), len(want))
	}
	if !bytes.HasPrefix(want, got.Bytes()) {
		t.Errorf("bytes %d to %d: what came is wrong", off, off+n)
	}
	return err
}

// answering is a source whose server is handler, and has size bytes.
func answering(t testing.TB, size int64, timeout time.Duration, handler http.HandlerFunc) *httpSource {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return &httpSource{c: client(t, timeout), url: s.URL + "/file", size: size}
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

// wantClass checks the class of a failure and that it is harmless to show.
func wantClass(t testing.TB, err error, outage bool, says string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("no error; want one with %q", says)
	case source.IsOutage(err) != outage:
		t.Errorf("outage: %v, want %v: %v", source.IsOutage(err), outage, err)
	case !strings.Contains(err.Error(), says):
		t.Errorf("error %q does not say %q", err, says)
	case strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x202e }) || len(err.Error()) > 1500:
		t.Errorf("error is not harmless: %q", err)
	}
}
