package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/remedy"
	"github.com/uniharmony/uniharmonyfs/internal/plain"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// Source is a URL that has a key's content.
type Source struct {
	c     *Client
	url   string
	size  int64 // of the key, in bytes
	exact bool
	etag  string // of what was found there; empty: any is right
	found bool   // the size is the server's own word
}

// Source returns the source of a URL. size is that of the key, in bytes; exact
// says whether the URL names a version of the content.
func (c *Client) Source(url string, size int64, exact bool) *Source {
	return &Source{c: c, url: url, size: size, exact: exact}
}

func (s *Source) String() string {
	u, err := url.Parse(s.url)
	if err != nil {
		return "a malformed URL"
	}
	u.User = nil
	return plain.Short(u.String(), MaxURL)
}

func (s *Source) Exact() bool { return s.exact }

const (
	// MaxURL is how much of a URL is shown, in bytes.
	MaxURL     = 500
	firstPause = 200 * time.Millisecond
	maxPause   = 2 * time.Second
	// retryFor is how long a request is tried again without a new byte: a
	// hiccup passes within it. Longer outages are the asker's to wait out, who
	// knows other places and how patient its reader is.
	retryFor = 4 * time.Second
	// unreached is how often a host that cannot be connected to is tried.
	unreached = 3
	// minSpeed is what a server must send, in bytes a second, over the whole
	// of the timeout.
	minSpeed = 1024
)

// Fetch writes the bytes [off, off+n) to w. After a drop it goes on where it
// was. It ends with an outage when nothing new came for some seconds, or next
// to nothing for the timeout.
func (s *Source) Fetch(ctx context.Context, off, n int64, w io.Writer) error {
	u, err := url.Parse(s.url)
	if err != nil {
		return errors.New("the URL is malformed")
	}
	if err := s.c.checkURL(u); err != nil {
		return err
	}
	if off < 0 || n < 0 || n > s.size || off > s.size-n {
		return fmt.Errorf("bytes %d to %d of %d", off, off+n, s.size)
	}
	return (&attempts{s: s, u: u, off: off, end: off + n, size: s.size, etag: s.etag, w: w}).run(ctx)
}

// Find asks what is at a URL, whatever size it has, and returns the source of just
// that, and its size in bytes. When something else is there later, the source fails
// with [ErrChanged], as far as the server tells. The server must be able to send
// parts.
func (c *Client) Find(ctx context.Context, at string) (*Source, int64, error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, 0, errors.New("the URL is malformed")
	}
	if err := c.checkURL(u); err != nil {
		return nil, 0, err
	}
	a := &attempts{s: &Source{c: c, url: at}, u: u, end: 1, size: unknown, w: io.Discard}
	if err := a.run(ctx); err != nil {
		return nil, 0, err
	}
	return &Source{c: c, url: at, size: a.size, etag: a.etag, found: true}, a.size, nil
}

// unknown is a size that nobody has said yet.
const unknown = -1

// run asks until all has come.
func (a *attempts) run(ctx context.Context) error {
	s := a.s
	a.last, a.pace = time.Now(), &pace{}
	working, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer a.pace.watch(s.c.timeout, func() { cancel(errSlow) })()
	for a.off < a.end {
		if err := s.c.hosts.check(a.u.Host, s.url); err != nil {
			return source.Outage(err)
		}
		err := a.once(working)
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case working.Err() != nil:
			return source.Outage(errSlow)
		}
		if err := a.pause(working, err); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
	}
	return nil
}

// attempts is the state of one Fetch.
type attempts struct {
	s        *Source
	u        *url.URL
	off, end int64
	size     int64 // of the whole, in bytes
	w        io.Writer
	etag     string
	last     time.Time // of progress
	failures int       // without progress
	unmet    int       // failures to connect
	pace     *pace
}

// pause waits before the next attempt, or returns why there is none.
func (a *attempts) pause(ctx context.Context, err error) error {
	if !source.IsOutage(err) {
		return err
	}
	a.failures++
	wait := min(firstPause<<min(a.failures-1, 10), maxPause)
	wait = wait/2 + rand.N(wait/2+1)
	var b *busy
	if errors.As(err, &b) && b.after > 0 {
		wait = b.after
	}
	if isUnmet(err) {
		if a.unmet++; a.unmet >= unreached {
			return err
		}
	}
	if left := min(a.s.c.timeout, retryFor) - time.Since(a.last); wait > left {
		if b != nil && b.after > 0 {
			a.s.c.hosts.leave(a.s.url, min(b.after, a.s.c.timeout), err)
		}
		return err
	}
	select {
	case <-ctx.Done():
		return source.Outage(errSlow)
	case <-time.After(wait):
		return nil
	}
}

// once asks for what is missing and passes on what comes.
func (a *attempts) once(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { a.pace.hold() },
		GotConn: func(httptrace.GotConnInfo) { a.pace.release(0) },
	})
	req, err := newRequest(ctx, a.u)
	if err != nil {
		return err
	}
	if a.off > 0 || a.end < a.size || a.size == unknown {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", a.off, a.end-1))
		if a.etag != "" {
			req.Header.Set("If-Range", a.etag)
		}
	}
	resp, err := a.s.c.client.Do(req)
	if err != nil {
		a.pace.release(0)
		return a.failed(err)
	}
	defer resp.Body.Close()
	a.s.c.hosts.note(resp.Request.URL.Host, nil)
	n, err := a.check(resp)
	if err != nil {
		return err
	}
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	return a.pass(io.LimitReader(resp.Body, n), n, buf[:])
}

func newRequest(ctx context.Context, u *url.URL) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "uniharmonyfs")
	req.Header.Set("Accept-Encoding", "identity")
	return req, nil
}

// pass passes on the n bytes that a reply brings. An error of the reader is the
// server's, one of the writer is not.
func (a *attempts) pass(body io.Reader, n int64, buf []byte) error {
	for n > 0 {
		got, err := body.Read(buf)
		if got > 0 {
			a.pace.hold()
			put, werr := a.w.Write(buf[:got])
			a.pace.release(got)
			if werr == nil && put < got {
				werr = io.ErrShortWrite
			}
			if werr != nil {
				return werr
			}
			a.off, n = a.off+int64(got), n-int64(got)
			a.last, a.failures, a.unmet = time.Now(), 0, 0
		}
		if err == nil || n == 0 {
			continue
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return source.Outage(remedy.Harmless(err))
	}
	return nil
}

// bufferSize is what is passed on at once, in bytes.
const bufferSize = 256 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}
