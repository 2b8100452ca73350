package web

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/plain"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// ErrChanged says that a place has other content than it had when the fetch
// began. Bytes of the two are never mixed.
var ErrChanged = errors.New("the content changed while it was fetched")

// busy is a server's wish to be asked later.
type busy struct {
	status string
	after  time.Duration // 0: it does not say when
}

func (b *busy) Error() string { return b.status }

// maxStatus is how much of a server's own words is kept, in bytes.
const maxStatus = 100

// isBusy reports whether a status says that the same request may succeed
// later.
func isBusy(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

// checkStatus returns why the reply brings nothing, if it does not.
func (a *attempts) checkStatus(r *http.Response) error {
	status := "the server says " + plain.Short(r.Status, maxStatus)
	switch {
	case isBusy(r.StatusCode):
		return source.Outage(&busy{status: status, after: retryAfter(r.Header.Get("Retry-After"), time.Now())})
	case r.StatusCode != http.StatusOK && r.StatusCode != http.StatusPartialContent:
		return errors.New(status)
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return fmt.Errorf("the server sends it encoded (%s)", plain.Short(enc, maxStatus))
	}
	return nil
}

// check returns how many bytes the reply brings, if it is what was asked for.
func (a *attempts) check(r *http.Response) (int64, error) {
	if err := a.checkStatus(r); err != nil {
		return 0, err
	}
	etag := r.Header.Get("Etag")
	if a.etag != "" && etag != "" && a.etag != etag {
		return 0, ErrChanged
	}
	if !strings.HasPrefix(etag, "W/") && len(etag) <= 1024 {
		a.etag = etag
	}
	if r.StatusCode == http.StatusOK {
		return a.checkWhole(r)
	}
	return a.checkPart(r)
}

func (a *attempts) wrongSize(n int64) error {
	if a.s.found {
		return fmt.Errorf("%w: it has %d bytes, not %d", ErrChanged, n, a.size)
	}
	return fmt.Errorf("it has %d bytes, not the key's %d", n, a.size)
}

func (a *attempts) checkWhole(r *http.Response) (int64, error) {
	n := a.end - a.off
	if a.off > 0 || n < a.size || a.size == unknown {
		return 0, fmt.Errorf("the server ignores what range is asked for: %w", source.ErrWholeOnly)
	}
	if r.ContentLength >= 0 && r.ContentLength != a.size {
		return 0, a.wrongSize(r.ContentLength)
	}
	return n, nil
}

func (a *attempts) checkPart(r *http.Response) (int64, error) {
	start, end, total, ok := parseContentRange(r.Header.Get("Content-Range"))
	switch {
	case !ok:
		return 0, fmt.Errorf("the server's Content-Range is malformed: %.80q", r.Header.Get("Content-Range"))
	case total < 0 && a.size == unknown:
		return 0, errors.New("the server does not say how many bytes there are")
	case total >= 0 && a.size != unknown && total != a.size:
		return 0, a.wrongSize(total)
	case start != a.off || end >= a.end || end < start:
		return 0, fmt.Errorf("the server sends bytes %d to %d instead of %d to %d", start, end, a.off, a.end-1)
	case r.ContentLength >= 0 && r.ContentLength != end-start+1:
		return 0, errors.New("the server's Content-Range and Content-Length disagree")
	}
	if a.size == unknown {
		a.size = total
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
	start, ok1 := parseDigits(from)
	end, ok2 := parseDigits(to)
	total, ok3 := int64(-1), true
	if size != "*" {
		total, ok3 = parseDigits(size)
	}
	if !ok1 || !ok2 || !ok3 || end < start || total >= 0 && end >= total {
		return 0, 0, 0, false
	}
	return start, end, total, true
}

// parseDigits reads a number of digits only, without a sign.
func parseDigits(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}

// maxRetryAfter bounds what a server may wish: more is not different.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads the header of that name: seconds, or a date. 0 means that it
// says neither.
func retryAfter(s string, now time.Time) time.Duration {
	if n, ok := parseDigits(s); ok {
		return max(time.Duration(min(n, int64(maxRetryAfter/time.Second)))*time.Second, time.Millisecond)
	}
	if t, err := http.ParseTime(s); err == nil {
		return min(max(t.Sub(now), time.Millisecond), maxRetryAfter)
	}
	return 0
}
