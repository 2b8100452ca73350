package publisher

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestFaults checks that each fault does what it says to a client.
func TestFaults(t *testing.T) {
	s, _, url, content := published(t, Options{})
	c := client(t)
	ranged := []string{"Range", "bytes=1000-1999"}
	flip := bytes.Clone(content[1000:2000])
	flip[500] = ^flip[500]
	for name, tt := range map[string]struct {
		fault  Fault
		status int
		header [2]string // that the reply has
		body   []byte    // nil: any
		broken bool      // the body ends in an error
	}{
		"none":                   {nil, 206, [2]string{"Content-Range", "bytes 1000-1999/70001"}, content[1000:2000], false},
		"drop":                   {Drop(17), 206, [2]string{"Content-Length", "1000"}, content[1000:1017], true},
		"drop at 0":              {Drop(0), 206, [2]string{}, []byte{}, true},
		"ignore range":           {IgnoreRange, 200, [2]string{"Content-Range", ""}, content, false},
		"shift range":            {ShiftRange(-1), 206, [2]string{"Content-Range", "bytes 999-1998/70001"}, content[1000:2000], false},
		"shift body":             {ShiftBody(3), 206, [2]string{"Content-Range", "bytes 1000-1999/70001"}, content[1003:2003], false},
		"too long a length":      {WrongLength(5), 206, [2]string{"Content-Length", "1005"}, content[1000:2000], true},
		"too short a length":     {WrongLength(-5), 206, [2]string{"Content-Length", "995"}, content[1000:1995], false},
		"cut off in the range":   {Resize(1500), 206, [2]string{"Content-Range", "bytes 1000-1499/1500"}, content[1000:1500], false},
		"cut off before it":      {Resize(100), 200, [2]string{"Content-Length", "0"}, []byte{}, false},
		"another total":          {Resize(80000), 206, [2]string{"Content-Range", "bytes 1000-1999/80000"}, content[1000:2000], false},
		"flip":                   {Flip(1500), 206, [2]string{}, flip, false},
		"flip elsewhere":         {Flip(2000), 206, [2]string{}, content[1000:2000], false},
		"forbidden":              {Status(403, 0), 403, [2]string{"Retry-After", ""}, nil, false},
		"gone":                   {Status(410, 0), 410, [2]string{}, nil, false},
		"too many":               {Status(429, 2*time.Second), 429, [2]string{"Retry-After", "2"}, nil, false},
		"unavailable":            {Status(503, 0), 503, [2]string{"Content-Type", "application/xml"}, nil, false},
		"redirect":               {Redirect("http://example.org/x"), 302, [2]string{"Location", "http://example.org/x"}, []byte{}, false},
		"captive portal":         {Captive, 200, [2]string{"Content-Type", "text/html"}, nil, false},
		"replaced":               {Retag("new"), 206, [2]string{"ETag", `"new"`}, content[1000:2000], false},
		"chunked":                {Chunked, 206, [2]string{"Content-Length", ""}, content[1000:2000], false},
		"multipart":              {Multipart, 206, [2]string{"Content-Type", "multipart/byteranges; boundary=END"}, nil, false},
		"slow":                   {Slow(1 << 20), 206, [2]string{}, content[1000:2000], false},
		"drop without an answer": {Drop(-1), 0, [2]string{}, nil, true},
	} {
		s.SetFault(Always(tt.fault))
		g := ask(t, c, "GET", url, ranged...)
		if g.status != tt.status || (g.err != nil) != tt.broken {
			t.Errorf("%s: %d, %v", name, g.status, g.err)
		}
		if tt.header[0] != "" && g.header.Get(tt.header[0]) != tt.header[1] {
			t.Errorf("%s: %s is %q", name, tt.header[0], g.header.Get(tt.header[0]))
		}
		if tt.body != nil && !bytes.Equal(g.body, tt.body) {
			t.Errorf("%s: other bytes, %d of them", name, len(g.body))
		}
	}
	s.SetFault(nil)
	if g := ask(t, c, "GET", url); !bytes.Equal(g.body, content) {
		t.Error("a fault stayed")
	}
}

func TestGzipFault(t *testing.T) {
	s, _, url, content := published(t, Options{})
	s.SetFault(Always(Gzip))
	g := ask(t, client(t), "GET", url)
	z, err := gzip.NewReader(bytes.NewReader(g.body))
	if err != nil || g.header.Get("Content-Encoding") != "gzip" {
		t.Fatal(err, g.header)
	}
	if raw, err := io.ReadAll(z); err != nil || !bytes.Equal(raw, content) {
		t.Error(len(raw), err)
	}
}

func TestResizeGrows(t *testing.T) {
	s, _, url, content := published(t, Options{})
	s.SetFault(Always(Resize(int64(len(content)) + 100)))
	g := ask(t, client(t), "GET", url)
	if !bytes.Equal(g.body, append(bytes.Clone(content), make([]byte, 100)...)) {
		t.Error(len(g.body), g.err)
	}
}

// TestStall reads until nothing more comes; the client's leaving ends it.
func TestStall(t *testing.T) {
	s, _, url, content := published(t, Options{})
	c := client(t)
	for _, k := range []int64{-1, 0, 33} {
		s.SetFault(Always(Stall(k)))
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if k < 0 {
			s.SetFault(func(Request) Fault { cancel(); return Stall(k) })
			if _, err := c.Do(req); !errors.Is(err, context.Canceled) {
				t.Errorf("stall at %d: %v", k, err)
			}
			continue
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, k)
		if _, err := io.ReadFull(resp.Body, got); err != nil || !bytes.Equal(got, content[:k]) {
			t.Errorf("stall at %d: %v", k, err)
		}
		cancel()
		if n, err := resp.Body.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("stall at %d: more came", k)
		}
		resp.Body.Close()
	}
}

func TestEndless(t *testing.T) {
	s, _, url, content := published(t, Options{})
	s.SetFault(Always(Endless))
	resp, err := client(t).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got := make([]byte, 10*len(content))
	if _, err := io.ReadFull(resp.Body, got); err != nil || !bytes.Equal(got[:len(content)], content) {
		t.Error(err)
	}
}

// TestFaultIsToldTheRequest checks what a hook can decide by.
func TestFaultIsToldTheRequest(t *testing.T) {
	s, _, url, content := published(t, Options{})
	c := client(t)
	var seen []Request
	s.SetFault(func(r Request) Fault { seen = append(seen, r); return nil })
	ask(t, c, "GET", url, "Range", "bytes=5-9")
	ask(t, c, "HEAD", url)
	ask(t, c, "GET", s.URL+"/absent")
	if len(seen) != 3 || seen[0].Offset != 5 || seen[0].Length != 5 || !seen[0].Ranged || seen[1].N != 2 || seen[1].Ranged ||
		seen[1].Method != "HEAD" || seen[2].N != 1 || seen[2].Path != "/absent" || seen[0].VersionID == "" || !strings.HasSuffix(seen[0].Path, ".nii.gz") {
		t.Errorf("%+v", seen)
	}
	s.SetFault(First(2, Status(500, 0)))
	s.ResetCounts()
	for i, want := range []int{500, 500, 200} {
		if g := ask(t, c, "GET", url); g.status != want {
			t.Errorf("request %d: %d", i+1, g.status)
		}
	}
	if o := s.ObjectCounts(url); o.Requests != 3 || o.Bytes < int64(len(content)) {
		t.Errorf("%+v", o)
	}
}
