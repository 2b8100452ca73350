package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// httpSource is a URL that has a key's content.
type httpSource struct {
	c     *httpClient
	url   string
	size  int64 // of the key, in bytes
	exact bool
}

func (s *httpSource) String() string {
	u, err := url.Parse(s.url)
	if err != nil {
		return "a malformed URL"
	}
	u.User = nil
	return u.String()
}

func (s *httpSource) Exact() bool { return s.exact }

// permanent is a failure that trying again does not mend.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// busy is a server's wish to be asked later.
type busy struct {
	status string
	after  time.Duration
}

func (b *busy) Error() string { return b.status }

const (
	firstPause = 200 * time.Millisecond
	maxPause   = 5 * time.Second
	// unreached is how often a host that cannot be connected to is tried.
	unreached = 3
	// minSpeed is what a server must send, in bytes a second, over the whole
	// of the timeout.
	minSpeed = 1024
)

// Fetch writes the bytes [off, off+n) to w. After a drop it goes on where it
// was; it gives up when nothing new came for the timeout.
func (s *httpSource) Fetch(ctx context.Context, off, n int64, w io.Writer) error {
	u, err := url.Parse(s.url)
	if err != nil {
		return errors.New("the URL is malformed")
	}
	if err := s.c.checkURL(u); err != nil {
		return err
	}
	if off < 0 || n < 0 || off+n > s.size {
		return fmt.Errorf("bytes %d to %d of %d", off, off+n, s.size)
	}
	a := &attempts{s: s, u: u, off: off, end: off + n, w: w, last: time.Now()}
	for a.off < a.end {
		if err := s.c.hosts.check(u.Host); err != nil {
			return err
		}
		err := a.once(ctx)
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := a.pause(ctx, err); err != nil {
			return err
		}
	}
	return nil
}

// attempts is the state of one Fetch.
type attempts struct {
	s        *httpSource
	u        *url.URL
	off, end int64
	w        io.Writer
	etag     string
	last     time.Time // of progress
	failures int       // without progress
	unmet    int       // failures to connect
}

// pause waits before the next attempt, or returns why there is none.
func (a *attempts) pause(ctx context.Context, err error) error {
	var p permanent
	if errors.As(err, &p) {
		return p.error
	}
	a.failures++
	wait := min(firstPause<<min(a.failures-1, 10), maxPause)
	wait = wait/2 + rand.N(wait/2+1)
	var b *busy
	if errors.As(err, &b) && b.after > 0 {
		wait = b.after
	}
	if IsUnreached(err) {
		a.s.c.hosts.note(a.u.Host, err)
		if a.unmet++; a.unmet >= unreached {
			return err
		}
	}
	if left := a.s.c.timeout - time.Since(a.last); wait > left {
		return fmt.Errorf("gave up after %v without progress: %w", a.s.c.timeout, err)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}

// IsUnreached reports whether no connection came about, or git says so.
func IsUnreached(err error) bool {
	var dns *net.DNSError
	var op *net.OpError
	if advice := new(AdviceError); errors.As(err, &advice) && advice.Kind == Network {
		return true
	}
	return errors.As(err, &dns) || errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &op) && op.Op == "dial"
}

// once asks for what is missing and passes on what comes.
func (a *attempts) once(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.u.String(), nil)
	if err != nil {
		return permanent{err}
	}
	req.Header.Set("User-Agent", "uniharmonyfs")
	req.Header.Set("Accept-Encoding", "identity")
	if a.off > 0 || a.end < a.s.size {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", a.off, a.end-1))
		if a.etag != "" {
			req.Header.Set("If-Range", a.etag)
		}
	}
	resp, err := a.s.c.client.Do(req)
	if err != nil {
		return a.failed(err)
	}
	a.s.c.hosts.note(a.u.Host, nil)
	defer resp.Body.Close()
	n, err := a.check(resp)
	if err != nil {
		return err
	}
	body := &watched{r: resp.Body}
	stop := body.watch(a.s.c.timeout, cancel)
	defer stop()
	to := &own{w: a.w}
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	written, err := io.CopyBuffer(to, io.LimitReader(body, n), buf[:])
	if err == nil && written < n {
		err = io.ErrUnexpectedEOF
	}
	if written > 0 {
		a.off += written
		a.last, a.failures = time.Now(), 0
	}
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errSlow) {
			return cause
		}
		if to.err != nil {
			return permanent{to.err} // ours, not the server's
		}
	}
	return err
}

// failed sorts out the errors of the client: those of our own rules stay.
func (a *attempts) failed(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var op *net.OpError
	if errors.Is(err, ErrAddress) || !errors.As(err, &op) && strings.Contains(err.Error(), "redirect") {
		return permanent{err}
	}
	if strings.Contains(err.Error(), "x509:") || strings.Contains(err.Error(), "tls:") {
		return permanent{advise("no trustworthy connection", a.s.url, err.Error())}
	}
	return err
}

// check returns how many bytes the reply brings, if it is what was asked for.
func (a *attempts) check(r *http.Response) (int64, error) {
	refuse := func(format string, args ...any) (int64, error) {
		return 0, permanent{fmt.Errorf(format, args...)}
	}
	switch {
	case r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusRequestTimeout || r.StatusCode >= 500:
		return 0, &busy{status: "the server says " + r.Status, after: retryAfter(r.Header.Get("Retry-After"))}
	case r.StatusCode != http.StatusOK && r.StatusCode != http.StatusPartialContent:
		return refuse("the server says %s", r.Status)
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return refuse("the server sends it encoded (%s)", enc)
	}
	etag := r.Header.Get("Etag")
	if a.etag != "" && etag != "" && a.etag != etag {
		return refuse("the content changed while it was fetched")
	}
	if !strings.HasPrefix(etag, "W/") {
		a.etag = etag
	}
	n := a.end - a.off
	if r.StatusCode == http.StatusOK {
		if a.off > 0 || n < a.s.size {
			return 0, permanent{fmt.Errorf("the server ignores what range is asked for: %w", source.ErrWholeOnly)}
		}
		if r.ContentLength >= 0 && r.ContentLength != a.s.size {
			return refuse("it has %d bytes, not the key's %d", r.ContentLength, a.s.size)
		}
		return n, nil
	}
	start, end, total, ok := parseContentRange(r.Header.Get("Content-Range"))
	switch {
	case !ok:
		return refuse("the server's Content-Range is malformed: %.80q", r.Header.Get("Content-Range"))
	case total >= 0 && total != a.s.size:
		return refuse("it has %d bytes, not the key's %d", total, a.s.size)
	case start != a.off || end >= a.end || end < start:
		return refuse("the server sends bytes %d to %d instead of %d to %d", start, end, a.off, a.end-1)
	case r.ContentLength >= 0 && r.ContentLength != end-start+1:
		return refuse("the server's Content-Range and Content-Length disagree")
	}
	return end - start + 1, nil
}

// parseContentRange reads "bytes 0-9/100"; total is -1 for "*".
func parseContentRange(s string) (start, end, total int64, ok bool) {
	spec, found := strings.CutPrefix(s, "bytes ")
	span, size, found2 := strings.Cut(spec, "/")
	from, to, found3 := strings.Cut(span, "-")
	if !found || !found2 || !found3 {
		return 0, 0, 0, false
	}
	total = -1
	var err1, err2, err3 error
	start, err1 = strconv.ParseInt(from, 10, 64)
	end, err2 = strconv.ParseInt(to, 10, 64)
	if size != "*" {
		total, err3 = strconv.ParseInt(size, 10, 64)
	}
	return start, end, total, err1 == nil && err2 == nil && err3 == nil && start >= 0
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(s string) time.Duration {
	if n, err := strconv.Atoi(s); err == nil && n >= 0 {
		return max(time.Duration(min(n, 1<<20))*time.Second, time.Millisecond)
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(time.Until(t), time.Millisecond)
	}
	return 0
}

// own remembers the error of whoever takes the bytes.
type own struct {
	w   io.Writer
	err error
}

func (o *own) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil {
		o.err = err
	}
	return n, err
}

// bufferSize is what is passed on at once, in bytes.
const bufferSize = 256 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

var errSlow = errors.New("the server sends next to nothing")

// watched is a body whose speed is looked after.
type watched struct {
	r    io.Reader
	seen atomic.Int64
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.seen.Add(int64(n))
	return n, err
}

// watch cancels when less than minSpeed came over a whole timeout.
func (b *watched) watch(timeout time.Duration, cancel context.CancelCauseFunc) (stop func()) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(timeout)
		defer tick.Stop()
		last := int64(0)
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			now := b.seen.Load()
			if now-last < int64(minSpeed*timeout.Seconds()) {
				cancel(errSlow)
				return
			}
			last = now
		}
	}()
	return func() { close(done) }
}
