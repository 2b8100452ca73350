package publisher

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// A Request is what a client asked, as a fault is told.
type Request struct {
	Method    string
	Path      string // of the URL, decoded
	VersionID string
	Header    http.Header
	Offset    int64 // of the first byte wanted
	Length    int64 // of what is wanted, in bytes; 0 when there is nothing to send
	Ranged    bool  // a range was asked for
	N         int   // this is the N-th request for the path, from 1
}

// A Reply is what the server is going to send. A [Fault] changes it.
type Reply struct {
	Status  int
	Header  http.Header
	Content maker.Content // the object, nil for none
	Offset  int64         // of the bytes of Content sent
	Length  int64         // how many of them

	Promise int64 // added to the Content-Length: a lie
	Chunked bool  // without Content-Length
	Endless bool  // go on with zeros for ever; needs Chunked
	Rate    int64 // bytes a second of this reply; 0: as the link
	// Then, unless nil, is done instead of sending more after At bytes of
	// the body; before the status line if At is negative.
	Then func(*meter) error
	At   int64
}

// errDrop cuts the connection.
var errDrop = errors.New("connection cut on purpose")

// page returns a reply with a small body.
func page(status int, contentType, body string) *Reply {
	r := &Reply{Header: http.Header{}}
	r.Header.Set("Content-Type", contentType)
	r.Object(contentOf(body), 0, int64(len(body)), false)
	r.Status = status
	return r
}

func contentOf(s string) maker.Content { return strings.NewReader(s) }

// Object makes n bytes of c from offset off the truthful reply.
func (r *Reply) Object(c maker.Content, off, n int64, ranged bool) {
	r.Content, r.Offset, r.Length = c, off, n
	r.Status = http.StatusOK
	r.Header.Del("Content-Range")
	if ranged {
		r.Status = http.StatusPartialContent
		r.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", off, off+n-1, c.Size()))
	}
}

// become makes r the other reply.
func (r *Reply) become(other *Reply) { *r = *other }

// send sends the reply. After an error the connection is to be cut.
func (r *Reply) send(m *meter, headOnly bool) error {
	if r.Then != nil && r.At < 0 {
		return r.Then(m)
	}
	h := m.w.Header()
	for name, values := range r.Header {
		h[name] = values
	}
	hasBody := r.Content != nil && r.Status != http.StatusNotModified
	if !r.Chunked && hasBody {
		h.Set("Content-Length", strconv.FormatInt(r.Length+r.Promise, 10))
	}
	m.w.WriteHeader(r.Status)
	if headOnly || !hasBody {
		return nil
	}
	if r.Rate > 0 {
		m.link = &link{Link: Link{Rate: r.Rate}}
	}
	if r.Chunked {
		m.flush() // else net/http would count a small body itself
	}
	n := r.Length + min(r.Promise, 0)
	if r.Then != nil {
		n = min(n, r.At)
	}
	if r.Then == nil && !r.Endless {
		m.left = n
	}
	if err := r.copy(m, n); err != nil {
		return err
	}
	switch {
	case r.Then != nil:
		m.flush()
		return r.Then(m)
	case r.Promise > 0:
		m.flush()
		return errDrop
	}
	for zeros := make([]byte, 16<<10); r.Endless; {
		if _, err := m.Write(zeros); err != nil {
			return err
		}
		m.flush()
	}
	return nil
}

// copy sends n bytes of the object.
func (r *Reply) copy(m *meter, n int64) error {
	size := 128 << 10
	if r.Rate > 0 {
		size = int(max(1, min(r.Rate/50, int64(size))))
	}
	_, err := io.CopyBuffer(m, io.NewSectionReader(r.Content, r.Offset, n), make([]byte, size))
	return err
}
