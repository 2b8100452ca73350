package publisher

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// A Fault changes the reply a request would truly get; nil changes nothing.
type Fault func(*Reply)

// First applies f to the first n requests of every object.
func First(n int, f Fault) func(Request) Fault {
	return func(r Request) Fault {
		if r.N <= n {
			return f
		}
		return nil
	}
}

// Always applies f to every request.
func Always(f Fault) func(Request) Fault { return func(Request) Fault { return f } }

// Drop cuts the connection after k bytes of the body; before the reply's
// first byte if k is negative.
func Drop(k int64) Fault {
	return func(r *Reply) { r.At, r.Then = k, func(*meter) error { return errDrop } }
}

// Stall sends nothing more after k bytes of the body, nothing at all if k is
// negative, and keeps the connection open until the client leaves.
func Stall(k int64) Fault {
	return func(r *Reply) { r.At, r.Then = k, (*meter).hang }
}

// Slow sends the body at rate bytes a second.
func Slow(rate int64) Fault { return func(r *Reply) { r.Rate = rate } }

// IgnoreRange sends the whole object whatever range was asked for.
func IgnoreRange(r *Reply) {
	if r.Content != nil {
		r.Object(r.Content, 0, r.Content.Size(), false)
	}
}

// ShiftRange sends the right bytes with a Content-Range that is by bytes off.
func ShiftRange(by int64) Fault {
	return func(r *Reply) {
		if r.Status == http.StatusPartialContent {
			r.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", r.Offset+by, r.Offset+r.Length-1+by, r.Content.Size()))
		}
	}
}

// ShiftBody sends bytes of the object that begin by bytes off, with headers
// as if they were the right ones.
func ShiftBody(by int64) Fault {
	return func(r *Reply) {
		if r.Content != nil {
			r.Content = shifted{r.Content, by}
		}
	}
}

type shifted struct {
	maker.Content
	by int64
}

func (s shifted) ReadAt(p []byte, off int64) (int, error) {
	size := s.Size()
	n := 0
	for n < len(p) && off+int64(n) < size {
		from := ((off+int64(n)+s.by)%size + size) % size
		k, err := s.Content.ReadAt(p[n:min(int64(len(p)), int64(n)+size-from)], from)
		n += k
		if k == 0 {
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WrongLength adds by to the Content-Length. If that is too much, the
// connection is cut after the bytes there are; if it is too little, the rest
// is not sent.
func WrongLength(by int64) Fault { return func(r *Reply) { r.Promise = by } }

// Resize replaces the object by one of size bytes: cut off, or with zeros at
// the end. The reply is otherwise right.
func Resize(size int64) Fault {
	return func(r *Reply) {
		if r.Content == nil {
			return
		}
		c := resized{r.Content, size}
		off := min(r.Offset, size)
		n := size - off
		if r.Status == http.StatusPartialContent && r.Offset+r.Length < r.Content.Size() {
			n = min(n, r.Length)
		}
		r.Object(c, off, n, r.Status == http.StatusPartialContent && n > 0)
	}
}

type resized struct {
	maker.Content
	size int64
}

func (c resized) Size() int64 { return c.size }

func (c resized) ReadAt(p []byte, off int64) (int, error) {
	if off >= c.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > c.size-off
	p = p[:min(int64(len(p)), c.size-off)]
	n := 0
	if off < c.Content.Size() {
		n, _ = c.Content.ReadAt(p, off)
	}
	clear(p[n:])
	if short {
		return len(p), io.EOF
	}
	return len(p), nil
}

// Flip inverts the byte at offset at of the object.
func Flip(at int64) Fault {
	return func(r *Reply) {
		if r.Content != nil {
			r.Content = flipped{r.Content, at}
		}
	}
}

type flipped struct {
	maker.Content
	at int64
}

func (c flipped) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.Content.ReadAt(p, off)
	if i := c.at - off; i >= 0 && i < int64(n) {
		p[i] = ^p[i]
	}
	return n, err
}

// Gzip sends the body with Content-Encoding gzip, asked for or not.
func Gzip(r *Reply) {
	if r.Content == nil {
		return
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.Copy(w, io.NewSectionReader(r.Content, r.Offset, r.Length))
	w.Close()
	r.Content, r.Offset, r.Length = bytes.NewReader(b.Bytes()), 0, int64(b.Len())
	r.Header.Set("Content-Encoding", "gzip")
}

// Status answers with an error as S3 sends it. With retryAfter (whole
// seconds), the reply says when to come back.
func Status(code int, retryAfter time.Duration) Fault {
	return func(r *Reply) {
		e := s3Error{status: code, Code: http.StatusText(code), Message: "This server was told to fail."}
		r.become(e.reply())
		if retryAfter > 0 {
			r.Header.Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
		}
	}
}

// Redirect sends the client elsewhere.
func Redirect(to string) Fault {
	return func(r *Reply) {
		r.become(page(http.StatusFound, "text/plain", ""))
		r.Header.Set("Location", to)
	}
}

// Captive answers with a web page that wants the user to log in, as a
// network's portal does.
func Captive(r *Reply) {
	r.become(page(http.StatusOK, "text/html", "<!DOCTYPE html><title>Log in</title><p>Welcome to our network. Please log in.\n"))
}

// Retag sends another ETag and version, as if the object had been replaced.
func Retag(etag string) Fault {
	return func(r *Reply) {
		r.Header.Set("ETag", `"`+etag+`"`)
		if r.Header.Get("X-Amz-Version-Id") != "" {
			r.Header.Set("X-Amz-Version-Id", "other-than-"+etag)
		}
	}
}

// Chunked sends no Content-Length.
func Chunked(r *Reply) { r.Chunked = true }

// Endless sends zeros after the object, chunked, and never ends.
func Endless(r *Reply) { r.Chunked, r.Endless = true, true }

// Multipart sends a range as a multipart/byteranges body of one part.
func Multipart(r *Reply) {
	if r.Status != http.StatusPartialContent {
		return
	}
	part, _ := io.ReadAll(io.NewSectionReader(r.Content, r.Offset, r.Length))
	body := fmt.Sprintf("--END\r\nContent-Range: %s\r\n\r\n%s\r\n--END--\r\n", r.Header.Get("Content-Range"), part)
	r.Header.Del("Content-Range")
	r.Header.Set("Content-Type", "multipart/byteranges; boundary=END")
	r.Content, r.Offset, r.Length = contentOf(body), 0, int64(len(body))
}
