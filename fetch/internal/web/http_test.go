package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/publisher"
	"github.com/uniharmony/uniharmonyfs/internal/source"
	"github.com/uniharmony/uniharmonyfs/internal/source/sourcetest"
)

// A connection that breaks at any byte, also before the first, costs nothing
// but a second request.
func TestDropAtEveryByte(t *testing.T) {
	const size = 61
	for _, part := range []struct{ off, n int64 }{{0, size}, {7, 40}} {
		for k := int64(-1); k <= part.n; k++ {
			t.Run(fmt.Sprint(part.off, k), func(t *testing.T) {
				t.Parallel()
				s, content, src := published(t, size, 20*time.Second)
				s.SetFault(publisher.First(1, publisher.Drop(k)))
				if err := sourcetest.Fetch(t, src, content, part.off, part.n); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A server that breaks the connection at the same byte for ever is given up.
func TestDropForEverIsAnOutage(t *testing.T) {
	s, content, src := published(t, 1000, 300*time.Millisecond)
	s.SetFault(publisher.Always(publisher.Drop(0)))
	sourcetest.WantClass(t, sourcetest.Fetch(t, src, content, 0, 1000), true, "EOF")
	s.SetFault(nil)
	if err := sourcetest.Fetch(t, src, content, 0, 1000); err != nil {
		t.Errorf("it does not heal: %v", err)
	}
}

// What is not the content never passes for it, and no time is lost on asking
// again.
func TestWrongRepliesAreFinal(t *testing.T) {
	const size = 50_000
	for name, c := range map[string]struct {
		fault  publisher.Fault
		off, n int64
		says   string
	}{
		"range ignored":          {publisher.IgnoreRange, 100, 200, "ignores what range"},
		"range shifted":          {publisher.ShiftRange(5), 100, 200, "sends bytes 105 to 304"},
		"range backwards":        {publisher.ShiftRange(-5), 100, 200, "sends bytes 95 to 294"},
		"object shorter":         {publisher.Resize(40_000), 0, size, "40000 bytes, not the key's 50000"},
		"object longer":          {publisher.Resize(60_000), 0, size, "60000 bytes, not the key's 50000"},
		"object longer, ranged":  {publisher.Resize(60_000), 100, 200, "60000 bytes, not the key's"},
		"nothing there, resumed": {publisher.Resize(100), 30_000, 200, ""},
		"length too small":       {publisher.WrongLength(-100), 0, size, "49900 bytes, not the key's 50000"},
		"length too large":       {publisher.WrongLength(100), 0, size, "50100 bytes, not the key's 50000"},
		"encoded":                {publisher.Gzip, 0, size, "encoded (gzip)"},
		"multipart":              {publisher.Multipart, 100, 200, "Content-Range is malformed"},
		"captive portal":         {publisher.Captive, 0, size, "bytes, not the key's"},
		"captive portal, ranged": {publisher.Captive, 100, 200, "ignores what range"},
		"416":                    {publisher.Status(416, 0), 100, 200, "416"},
		"403":                    {publisher.Status(403, 0), 0, size, "403"},
		"404":                    {publisher.Status(404, 0), 0, size, "404"},
		"410":                    {publisher.Status(410, 0), 0, size, "410"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, content, src := published(t, size, 30*time.Second)
			s.SetFault(publisher.Always(c.fault))
			sourcetest.WantClass(t, sourcetest.Fetch(t, src, content, c.off, c.n), false, c.says)
			if n := s.Counts().Requests; n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// A place that gives no parts says so in a way that the asker knows.
func TestRangeIgnoredIsWholeOnly(t *testing.T) {
	s, content, src := published(t, 5000, 10*time.Second)
	s.SetFault(publisher.Always(publisher.IgnoreRange))
	if err := sourcetest.Fetch(t, src, content, 100, 200); !errors.Is(err, source.ErrWholeOnly) {
		t.Error(err)
	}
	if err := sourcetest.Fetch(t, src, content, 0, 5000); err != nil {
		t.Error(err)
	}
}

// Without a length, no more is taken than the key has.
func TestEndlessBodyIsCut(t *testing.T) {
	s, content, src := published(t, 5000, 10*time.Second)
	s.SetFault(publisher.Always(publisher.Endless))
	if err := sourcetest.Fetch(t, src, content, 0, 5000); err != nil {
		t.Error(err)
	}
	s.SetFault(publisher.Always(publisher.Chunked))
	if err := sourcetest.Fetch(t, src, content, 0, 5000); err != nil {
		t.Error(err)
	}
}

// A server with too much to do may be asked again later, and one hiccup is
// passed over.
func TestBusyServersAreOutages(t *testing.T) {
	for _, status := range []int{408, 425, 429, 500, 502, 503, 504} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			s, content, src := published(t, 1000, 3*time.Second)
			s.SetFault(publisher.Always(publisher.Status(status, 0)))
			sourcetest.WantClass(t, sourcetest.Fetch(t, src, content, 0, 1000), true, fmt.Sprint("the server says ", status))
			s, content, src = published(t, 1000, 20*time.Second)
			s.SetFault(publisher.First(1, publisher.Status(status, 0)))
			if err := sourcetest.Fetch(t, src, content, 0, 1000); err != nil {
				t.Error(err)
			}
		})
	}
}

// A short Retry-After is waited for; with a long one the server is left alone
// and others can be asked meanwhile.
func TestRetryAfterIsHonoured(t *testing.T) {
	s, content, src := published(t, 1000, 20*time.Second)
	s.SetFault(publisher.First(1, publisher.Status(503, time.Second)))
	start := time.Now()
	if err := sourcetest.Fetch(t, src, content, 0, 1000); err != nil {
		t.Error(err)
	}
	if d := time.Since(start); d < time.Second {
		t.Errorf("asked again after %v", d)
	}
	s, content, src = published(t, 1000, 20*time.Second)
	s.SetFault(publisher.First(1, publisher.Status(503, time.Hour)))
	start = time.Now()
	sourcetest.WantClass(t, sourcetest.Fetch(t, src, content, 0, 1000), true, "503")
	sourcetest.WantClass(t, sourcetest.Fetch(t, src, content, 0, 1000), true, "left alone")
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("an hour's wish held it up for %v", d)
	}
	if n := s.Counts().Requests; n != 1 {
		t.Errorf("%d requests", n)
	}
}

// The content is replaced between two parts: they are not mixed.
func TestReplacedContentIsNotMixed(t *testing.T) {
	s, content, src := published(t, 1000, 10*time.Second)
	s.SetFault(func(r publisher.Request) publisher.Fault {
		if r.N == 1 {
			return publisher.Drop(400)
		}
		if r.Header.Get("If-Range") == "" {
			t.Error("no If-Range")
		}
		return publisher.Retag("other")
	})
	err := sourcetest.Fetch(t, src, content, 0, 1000)
	sourcetest.WantClass(t, err, false, "changed")
	if !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
	s.SetFault(nil)
	if err := sourcetest.Fetch(t, src, content, 0, 1000); err != nil {
		t.Errorf("the next one does not begin anew: %v", err)
	}
}

// A stall before or in the body, and a trickle, end within the timeout, as an
// outage: other places can be asked.
func TestSlowServersAreGivenUp(t *testing.T) {
	const size = 100_000
	for name, fault := range map[string]publisher.Fault{
		"before the headers": publisher.Stall(-1),
		"after the headers":  publisher.Stall(0),
		"in the body":        publisher.Stall(500),
		"trickle":            publisher.Slow(10),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, content, src := published(t, size, time.Second)
			s.SetFault(publisher.Always(fault))
			start := time.Now()
			sourcetest.WantClass(t, sourcetest.Fetch(t, src, content, 0, size), true, "")
			if d := time.Since(start); d > 15*time.Second {
				t.Errorf("given up after %v", d)
			}
			s.SetFault(nil)
			if err := sourcetest.Fetch(t, src, content, 0, size); err != nil {
				t.Errorf("it does not heal: %v", err)
			}
		})
	}
}

// A byte with every connection is a trickle too.
func TestTrickleOverManyConnectionsIsGivenUp(t *testing.T) {
	s, content, src := published(t, 100_000, time.Second)
	s.SetFault(publisher.Always(publisher.Drop(1)))
	sourcetest.WantClass(t, sourcetest.Fetch(t, src, content, 0, 100_000), true, errSlow.Error())
}

// Whoever takes the bytes may be slower than any server.
func TestSlowWriterIsNotTheServersFault(t *testing.T) {
	_, content, src := published(t, 5_000, 300*time.Millisecond)
	var got bytes.Buffer
	err := src.Fetch(t.Context(), 0, 5_000, writer(func(p []byte) (int, error) {
		time.Sleep(time.Second)
		return got.Write(p)
	}))
	if err != nil || !bytes.Equal(got.Bytes(), content) {
		t.Error(err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// A speed that is just enough is enough, however long it takes.
func TestSlowButSteadyServerIsKept(t *testing.T) {
	s, content, src := published(t, 20_000, 1500*time.Millisecond)
	s.SetFault(publisher.Always(publisher.Slow(8_000)))
	if err := sourcetest.Fetch(t, src, content, 0, 20_000); err != nil {
		t.Error(err)
	}
}

// A server that is gone is an outage, at once for those who come next.
func TestRefusedConnectionsAreOutages(t *testing.T) {
	s, content, src := published(t, 1000, 20*time.Second)
	s.Close()
	sourcetest.WantClass(t, sourcetest.Fetch(t, src, content, 0, 1000), true, "connection refused")
	sourcetest.WantClass(t, sourcetest.Fetch(t, src, content, 0, 1000), true, "left alone")
	other := *src
	other.c = client(t, 20*time.Second)
	if err := other.c.hosts.check(strings.TrimPrefix(s.URL, "http://")); err != nil {
		t.Errorf("another client, which may have another way, leaves it alone: %v", err)
	}
}

// A host that leads to a dead one is not dead itself.
func TestRedirectToADeadHostDoesNotTaintTheFirst(t *testing.T) {
	dead, _, _ := published(t, 1, time.Second)
	dead.Close()
	var redirect atomic.Bool
	redirect.Store(true)
	src := answering(t, 3, 5*time.Second, func(w http.ResponseWriter, r *http.Request) {
		if redirect.Load() {
			http.Redirect(w, r, dead.URL+"/x", http.StatusFound)
			return
		}
		w.Write([]byte("abc"))
	})
	sourcetest.WantClass(t, sourcetest.Fetch(t, src, []byte("abc"), 0, 3), true, "connection refused")
	redirect.Store(false)
	if err := sourcetest.Fetch(t, src, []byte("abc"), 0, 3); err != nil {
		t.Error(err)
	}
}

// Redirects that must not be followed end it at once.
func TestRefusedRedirectsAreFinal(t *testing.T) {
	for to, says := range map[string]string{
		"/file":                           "more than 5 redirects",
		"file:///etc/passwd":              "only https and http",
		"ftp://example.org/x":             "only https and http",
		"gopher://example.org/x":          "only https and http",
		"http://10.1.2.3/x":               "not allowed",
		"http://169.254.169.254/latest/":  "not allowed",
		"http://[::1]/x":                  "not allowed",
		"http://[::ffff:10.0.0.1]/x":      "not allowed",
		"http://2130706434/x":             "not allowed",
		"http://0x7f000002/":              "not allowed",
		"http://user:secret@127.0.0.1/x":  "password",
		"http://127.0.0.1:1\x1b[2J/x":     "",
		"https:///x":                      "no host",
		"data:text/plain,abc":             "only https and http",
		"http://metadata.localhost/x":     "127.0.0.1",
		"javascript:alert(1)":             "only https and http",
		strings.Repeat("x", 60_000) + ":": "",
	} {
		t.Run(fmt.Sprintf("%.20q", to), func(t *testing.T) {
			t.Parallel()
			src := answering(t, 3, 30*time.Second, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", to)
				w.WriteHeader(http.StatusFound)
			})
			if strings.Contains(to, "localhost") {
				src.c.allowed = mustAllow(t, strings.TrimPrefix(src.url, "http://")[:9]+"/32")
				src.c.allowed.allow = nil // only the redirect is looked at below
				next := &http.Request{Header: http.Header{}}
				next.URL = mustURL(t, to)
				err := src.c.checkRedirect(next, []*http.Request{{URL: mustURL(t, src.url)}})
				sourcetest.WantClass(t, err, false, says)
				return
			}
			start := time.Now()
			sourcetest.WantClass(t, sourcetest.Fetch(t, src, []byte("abc"), 0, 3), false, says)
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("after %v", d)
			}
		})
	}
}

// A password of the first host does not go to the second, nor does its
// address.
func TestRedirectTakesNothingAlong(t *testing.T) {
	heard := make(chan http.Header, 1)
	second := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard <- r.Header
		w.Write([]byte("abc"))
	}))
	defer second.Close()
	src := answering(t, 3, 5*time.Second, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		http.Redirect(w, r, second.URL, http.StatusFound)
	})
	if err := sourcetest.Fetch(t, src, []byte("abc"), 0, 3); err != nil {
		t.Fatal(err)
	}
	h := <-heard
	for _, name := range []string{"Referer", "Cookie", "Authorization"} {
		if h.Get(name) != "" {
			t.Errorf("%s: %s", name, h.Get(name))
		}
	}
}

// What a server says reaches no terminal as it is.
func TestServersWordsAreHarmless(t *testing.T) {
	for _, reply := range []string{
		"HTTP/1.1 404 \x1b]0;owned\x07\x1b[2J\xc2\x9b31m\xe2\x80\xae\r\n\r\n",
		"HTTP/1.1 404 " + strings.Repeat("x", 50_000) + "\r\n\r\n",
		"HTTP/1.1 206 OK\r\nContent-Range: \x1b[2J" + strings.Repeat("y", 5000) + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Encoding: \xe2\x80\xae\xc2\x9b" + strings.Repeat("z", 5000) + "\r\n\r\n",
		"HTTP/1.1 302 OK\r\nLocation: http://\xe2\x80\xae%zz\xc2\x9b/\r\n\r\n",
		"\x1b[2J\xc2\x9b nonsense\r\n\r\n",
		"HTTP/1.1 \x1b[2J OK\r\n\r\n",
	} {
		src := &Source{c: client(t, 5*time.Second), url: speaking(t, reply) + "/", size: 3}
		sourcetest.WantClass(t, sourcetest.Fetch(t, src, []byte("abc"), 0, 3), false, "")
	}
	src := &Source{url: "http://example.org/?\u202ea\u009b" + strings.Repeat("x", 1<<20)}
	if s := src.String(); len(s) > 1000 || strings.ContainsAny(s, "\u202e\u009b") {
		t.Errorf("%.100q", s)
	}
}

// A server that nobody vouches for, or that speaks another protocol, is
// refused at once.
func TestUntrustedServersAreFinal(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = quiet
	secure.StartTLS()
	defer secure.Close()
	plainly := httptest.NewServer(http.NotFoundHandler())
	defer plainly.Close()
	for _, url := range []string{secure.URL, strings.Replace(plainly.URL, "http:", "https:", 1)} {
		src := &Source{c: client(t, 5*time.Second), url: url, size: 3}
		start := time.Now()
		sourcetest.WantClass(t, sourcetest.Fetch(t, src, []byte("abc"), 0, 3), false, "no trustworthy connection")
		if d := time.Since(start); d > 3*time.Second {
			t.Errorf("after %v", d)
		}
	}
}

// What is wrong with a URL is said before anybody is asked.
func TestURLsThatAreNotFollowed(t *testing.T) {
	c := client(t, time.Second, "192.0.2.1")
	for _, url := range []string{
		"file:///etc/passwd", "ftp://example.org/a", "gopher://example.org", "data:,a", "ssh://example.org/a", "ext::sh -c id",
		"http://user:pass@example.org/", "http://user@example.org/", "-x", "--upload-pack=x", "http://a\r\nHost: b/", "http://", "https:///a", "//example.org/a", "",
		"http://127.0.0.1/", "http://127.0.0.1:22/", "http://127.1/", "http://2130706433/", "http://0x7f.0.0.1/", "http://0177.0.0.1/", "http://127.0.0.1./",
		"http://localhost/", "http://LOCALHOST./", "http://a.localhost:80/", "http://[::ffff:127.0.0.1]/", "http://[::1%25lo]/", "http://[fe80::1%25eth0]/",
		"http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://100.64.0.1/", "http://0.0.0.0/", "http://[::]/",
	} {
		src := &Source{c: c, url: url, size: 3}
		start := time.Now()
		sourcetest.WantClass(t, sourcetest.Fetch(t, src, []byte("abc"), 0, 3), false, "")
		if d := time.Since(start); d > 500*time.Millisecond {
			t.Errorf("%q was tried for %v", url, d)
		}
		if strings.Contains(src.String(), "pass@") {
			t.Errorf("a password is shown: %s", src)
		}
	}
}

// An interrupted reader is let go at once, whatever the server does.
func TestFetchEndsWithItsContext(t *testing.T) {
	s, _, src := published(t, 1000, time.Minute)
	s.SetFault(publisher.Always(publisher.Stall(10)))
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- src.Fetch(ctx, 0, 1000, writer(func(p []byte) (int, error) {
			first <- struct{}{}
			return len(p), nil
		}))
	}()
	<-first
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it hangs")
	}
}

// A proxy's refusal is final, its trouble is not; the server behind it is not
// asked directly.
func TestProxyFailures(t *testing.T) {
	for status, outage := range map[int]bool{407: false, 403: false, 502: true, 503: true} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }))
		c, err := New(Options{Env: []string{"https_proxy=" + proxy.URL, "no_proxy="}, Timeout: 3 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		src := &Source{c: c, url: "https://example.org/a", size: 3}
		sourcetest.WantClass(t, sourcetest.Fetch(t, src, []byte("abc"), 0, 3), outage, fmt.Sprint("the proxy says ", status))
		proxy.Close()
		sourcetest.WantClass(t, sourcetest.Fetch(t, src, []byte("abc"), 0, 3), true, "")
		c.Close()
	}
}

// A timeout of the network is not the asker's: whoever asks tells them apart by
// the context's error.
func TestTimeoutsAreNotTheAskers(t *testing.T) {
	for _, err := range []error{context.DeadlineExceeded, context.Canceled, &net.OpError{Op: "dial", Err: &net.DNSError{IsTimeout: true}}, &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}} {
		a := &attempts{s: &Source{c: client(t, time.Second)}, u: mustURL(t, "http://example.org/")}
		if got := a.failed(err); errors.Is(got, context.DeadlineExceeded) || errors.Is(got, context.Canceled) || !errors.Is(err, context.Canceled) && !source.IsOutage(got) {
			t.Errorf("%v became %v", err, got)
		}
	}
}

// A connection whose other side is gone without a word is found out.
func TestDeadConnectionIsFoundOut(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // it never accepts: the kernel does, and nobody answers
	src := &Source{c: client(t, 300*time.Millisecond), url: "http://" + l.Addr().String() + "/", size: 3}
	sourcetest.WantClass(t, sourcetest.Fetch(t, src, []byte("abc"), 0, 3), true, "")
}
