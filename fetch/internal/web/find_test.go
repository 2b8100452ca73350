package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/source/sourcetest"
)

// serving serves by a handler, and returns the URL of a file there.
func serving(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL + "/file"
}

// What is found is just that: when something else is there later, it has changed.
func TestWhatIsFoundIsNotMixedWithWhatComesLater(t *testing.T) {
	for _, c := range []struct {
		name, before, after string
		etag                bool
	}{{"other size", "0123456789", "012345678", false}, {"other size, tagged", "0123456789", "012345678", true}, {"same size", "0123456789", "9876543210", true}} {
		t.Run(c.name, func(t *testing.T) {
			var now atomic.Pointer[string]
			now.Store(&c.before)
			at := serving(t, func(w http.ResponseWriter, r *http.Request) {
				content := *now.Load()
				if c.etag {
					w.Header().Set("Etag", `"`+content+`"`)
				}
				http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
			})
			s, size, err := client(t, 10*time.Second).Find(t.Context(), at)
			if err != nil || size != 10 || s.Exact() {
				t.Fatalf("%d bytes, %v", size, err)
			}
			if err := sourcetest.Fetch(t, s, []byte(c.before), 3, 4); err != nil {
				t.Error(err)
			}
			now.Store(&c.after)
			if err := s.Fetch(t.Context(), 3, 4, io.Discard); !errors.Is(err, ErrChanged) {
				t.Errorf("after it changed: %v", err)
			}
		})
	}
}

func TestWhatCannotBeFound(t *testing.T) {
	for says, handler := range map[string]http.HandlerFunc{
		"404":     http.NotFound,
		"ignores": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("0123456789")) },
		"does not say how many": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-0/*")
			w.WriteHeader(http.StatusPartialContent)
			w.Write([]byte("0"))
		},
	} {
		_, _, err := client(t, 10*time.Second).Find(t.Context(), serving(t, handler))
		sourcetest.WantClass(t, err, false, says)
	}
	for _, at := range []string{"file:///etc/passwd", "http://10.0.0.1/", "http://a:b@example.org/", "%"} {
		_, _, err := client(t, time.Second).Find(t.Context(), at)
		sourcetest.WantClass(t, err, false, "")
		_, err = client(t, time.Second).Text(t.Context(), at, 10)
		sourcetest.WantClass(t, err, false, "")
	}
}

func TestText(t *testing.T) {
	says := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
	}
	c := client(t, 10*time.Second)
	if text, err := c.Text(t.Context(), serving(t, says("0123456789")), 10); err != nil || !bytes.Equal(text, []byte("0123456789")) {
		t.Errorf("%q, %v", text, err)
	}
	_, err := c.Text(t.Context(), serving(t, says("0123456789")), 9)
	sourcetest.WantClass(t, err, false, "more than 9 bytes")
	_, err = c.Text(t.Context(), serving(t, http.NotFound), 9)
	sourcetest.WantClass(t, err, false, "404")
	_, err = c.Text(t.Context(), serving(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }), 9)
	sourcetest.WantClass(t, err, true, "503")
	gone := httptest.NewServer(says(""))
	gone.Close()
	_, err = c.Text(t.Context(), gone.URL, 9)
	sourcetest.WantClass(t, err, true, "")

	silent := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	_, err = client(t, 100*time.Millisecond).Text(t.Context(), serving(t, silent), 9)
	sourcetest.WantClass(t, err, true, "next to nothing")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err = c.Text(ctx, serving(t, silent), 9); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an asker who leaves: %v", err)
	}
}
