package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/source"
	"github.com/uniharmony/uniharmonyfs/internal/source/sourcetest"
)

func TestHTTPSourceKeepsTheContract(t *testing.T) {
	serve := func(content []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(content)))
		}
	}
	sourcetest.Test(t, func(t *testing.T, content []byte) source.Source {
		return answering(t, int64(len(content)), 10*time.Second, serve(content))
	}, sourcetest.Options{
		Missing: func(t *testing.T, content []byte) source.Source {
			return answering(t, int64(len(content)), 10*time.Second, http.NotFound)
		},
		Down: func(t *testing.T, content []byte) source.Source {
			s := httptest.NewServer(serve(content))
			s.Close()
			return &Source{c: client(t, 10*time.Second), url: s.URL, size: int64(len(content))}
		},
		Hanging: func(t *testing.T, content []byte) source.Source {
			return answering(t, int64(len(content)), time.Minute, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		},
	})
}
