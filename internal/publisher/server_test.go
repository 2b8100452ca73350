package publisher

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// client returns a client that changes nothing and leaves nothing behind.
func client(t *testing.T) *http.Client {
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// got is a reply as a client sees it.
type got struct {
	status int
	header http.Header
	body   []byte
	err    error // of reading the body
}

func ask(t *testing.T, c *http.Client, method, url string, header ...string) got {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return got{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return got{resp.StatusCode, resp.Header, body, err}
}

// published returns a server with the small dataset, and one of its files
// with its URL and content.
func published(t *testing.T, o Options) (s *Server, m *maker.Made, url string, content []byte) {
	t.Helper()
	s = newServer(t, o)
	m = mustMake(t, t.TempDir(), maker.Sample(s.URL))
	s.Add(m)
	f := m.Find("sub-01/anat/sub-01_T1w.nii.gz")
	content, err := maker.Bytes(f.Content)
	if err != nil {
		t.Fatal(err)
	}
	return s, m, m.URLs(f)[0], content
}

func TestObjects(t *testing.T) {
	s, m, _, _ := published(t, Options{})
	c := client(t)
	for i := range m.Files {
		f := &m.Files[i]
		want, _ := maker.Bytes(f.Content)
		for _, u := range m.URLs(f) {
			if g := ask(t, c, "GET", u); g.status != 200 || !bytes.Equal(g.body, want) || g.header.Get("ETag") == "" {
				t.Errorf("GET %s: %d, %d bytes", u, g.status, len(g.body))
			}
			g := ask(t, c, "HEAD", u)
			if g.status != 200 || g.header.Get("Content-Length") != fmt.Sprint(len(want)) || len(g.body) != 0 {
				t.Errorf("HEAD %s: %d, %v", u, g.status, g.header)
			}
		}
	}
	if n := s.Counts().Connections; n != 1 {
		t.Errorf("%d connections: keep-alive does not work", n)
	}
}

func TestObjectVersions(t *testing.T) {
	s, m, url, content := published(t, Options{})
	c := client(t)
	base, _, _ := strings.Cut(url, "?")
	if g := ask(t, c, "GET", base); !bytes.Equal(g.body, content) || g.header.Get("X-Amz-Version-Id") == "" {
		t.Errorf("without version: %d, %v", g.status, g.header)
	}
	old := &m.Versions[0][1]
	want, _ := maker.Bytes(old.Content)
	if g := ask(t, c, "GET", m.URLs(old)[0]); !bytes.Equal(g.body, want) {
		t.Errorf("the first version: %d, %d bytes", g.status, len(g.body))
	}
	for u, code := range map[string]string{base + "?versionId=nonsense": "NoSuchVersion", s.URL + "/openneuro.org/small/absent": "NoSuchKey"} {
		g := ask(t, c, "GET", u)
		var e struct{ Code string }
		if err := xml.Unmarshal(g.body, &e); g.status != 404 || err != nil || e.Code != code {
			t.Errorf("%s: %d %v %v", u, g.status, err, e)
		}
	}
	if g := ask(t, c, "PUT", base); g.status != 405 {
		t.Errorf("PUT: %d", g.status)
	}
}

func TestRanges(t *testing.T) {
	_, _, url, content := published(t, Options{})
	c := client(t)
	etag := ask(t, c, "HEAD", url).header.Get("ETag")
	size := len(content)
	for _, tt := range []struct {
		header   []string
		status   int
		off, end int // of the body, in the content
		rng      string
	}{
		{[]string{"Range", "bytes=0-0"}, 206, 0, 1, "bytes 0-0/70001"},
		{[]string{"Range", "bytes=100-199"}, 206, 100, 200, "bytes 100-199/70001"},
		{[]string{"Range", "bytes=70000-"}, 206, 70000, size, "bytes 70000-70000/70001"},
		{[]string{"Range", "bytes=60000-999999"}, 206, 60000, size, "bytes 60000-70000/70001"},
		{[]string{"Range", "bytes=-5"}, 206, size - 5, size, "bytes 69996-70000/70001"},
		{[]string{"Range", "bytes=-999999"}, 206, 0, size, "bytes 0-70000/70001"},
		{[]string{"Range", "bytes=70001-"}, 416, 0, 0, "bytes */70001"},
		{[]string{"Range", "bytes=-0"}, 416, 0, 0, "bytes */70001"},
		{[]string{"Range", "bytes=9-5"}, 200, 0, size, ""},
		{[]string{"Range", "bytes=0-1,5-6"}, 200, 0, size, ""},
		{[]string{"Range", "lines=0-1"}, 200, 0, size, ""},
		{[]string{"Range", "bytes=0-9", "If-Range", etag}, 206, 0, 10, "bytes 0-9/70001"},
		{[]string{"Range", "bytes=0-9", "If-Range", `"other"`}, 200, 0, size, ""},
		{[]string{"If-Match", `"other"`}, 412, 0, 0, ""},
		{[]string{"If-Match", etag}, 200, 0, size, ""},
		{[]string{"If-None-Match", etag}, 304, 0, 0, ""},
	} {
		g := ask(t, c, "GET", url, tt.header...)
		if g.status != tt.status || g.header.Get("Content-Range") != tt.rng || tt.end > 0 && !bytes.Equal(g.body, content[tt.off:tt.end]) {
			t.Errorf("%v: %d %q, %d bytes", tt.header, g.status, g.header.Get("Content-Range"), len(g.body))
		}
	}
}

// TestManyClients reads everything from many goroutines at once; the counts
// must add up.
func TestManyClients(t *testing.T) {
	s, m, _, _ := published(t, Options{Link: Link{Rate: 1 << 30}})
	c := client(t)
	const clients = 16
	var (
		wg   sync.WaitGroup
		want int64
		urls int
	)
	for i := range m.Files {
		want += clients * int64(len(m.URLs(&m.Files[i]))) * m.Files[i].Content.Size()
		urls += clients * len(m.URLs(&m.Files[i]))
	}
	for range clients {
		wg.Go(func() {
			for i := range m.Files {
				f := &m.Files[i]
				data, _ := maker.Bytes(f.Content)
				for _, u := range m.URLs(f) {
					if g := ask(t, c, "GET", u); !bytes.Equal(g.body, data) {
						t.Errorf("%s: %d, %v", u, g.status, g.err)
					}
				}
			}
		})
	}
	wg.Wait()
	n := s.Counts()
	if n.Requests != urls || n.Bytes != want || n.Concurrent < 1 || n.Concurrent > clients {
		t.Errorf("%+v, want %d requests and %d bytes", n, urls, want)
	}
	f := m.Find("web.bin")
	if o := s.ObjectCounts(m.URLs(f)[0]); o.Requests != clients || o.Bytes != clients*5000 {
		t.Errorf("%s: %+v", f.Path, o)
	}
	s.ResetCounts()
	if n := s.Counts(); n.Requests != 0 || n.Bytes != 0 {
		t.Errorf("after a reset: %+v", n)
	}
}

func TestLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &link{Link: Link{RTT: 20 * time.Millisecond, Rate: 1000_000}}
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		l.roundTrip(ctx)
		if d := time.Since(start); d != 20*time.Millisecond {
			t.Errorf("a round trip takes %v", d)
		}
		// Two connections share the link: 2 × 1 MB at 1 MB/s.
		start = time.Now()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for range 1000 {
					l.pass(ctx, 1000)
				}
			})
		}
		wg.Wait()
		if d := time.Since(start); d < 1990*time.Millisecond || d > 2010*time.Millisecond {
			t.Errorf("2 MB take %v", d)
		}
		cancel()
		if l.pass(ctx, 1<<30) == nil || l.roundTrip(ctx) == nil {
			t.Error("a client that left is waited for")
		}
	})
}

// TestCloseEndsReplies closes a server with clients that wait for it.
func TestCloseEndsReplies(t *testing.T) {
	s, _, url, _ := published(t, Options{})
	c := client(t)
	begun := make(chan struct{}, 2)
	s.SetFault(func(r Request) Fault {
		begun <- struct{}{}
		if r.Ranged {
			return Endless
		}
		return Stall(10)
	})
	var wg sync.WaitGroup
	for _, header := range [][]string{nil, {"Range", "bytes=0-9"}} {
		wg.Go(func() {
			if g := ask(t, c, "GET", url, header...); g.err == nil {
				t.Errorf("%v: the reply ended well: %d, %d bytes", header, g.status, len(g.body))
			}
		})
	}
	<-begun
	<-begun
	s.Close()
	wg.Wait()
}
