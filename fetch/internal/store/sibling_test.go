package store

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/source"
	"github.com/uniharmony/uniharmonyfs/internal/source/sourcetest"
)

// names reads a configuration that has only one line beside its first.
func names(config []byte) ([]annex.UUID, error) {
	rest, ok := bytes.CutPrefix(config, []byte("[core]\n"))
	if !ok {
		return nil, errors.New("it is no configuration")
	}
	return []annex.UUID{annex.UUID(rest)}, nil
}

// A place that is no repository is asked once, whatever it answers.
func TestPlacesThatAreNoSiblings(t *testing.T) {
	for says, body := range map[string]string{
		"404": "", "no configuration": "<html>mine</html>", "more than": "[core]\n" + strings.Repeat("# x\n", 64<<10), "does not say": "[core]\nanother",
	} {
		asked := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked++; body == "" || !strings.HasSuffix(r.URL.Path, "/config") {
				http.NotFound(w, r)
				return
			}
			io.WriteString(w, body)
		}))
		s := NewSibling(client(t), server.URL, names)
		key := keyOf(t, []byte("x"))
		mine := func(ids []annex.UUID) bool { return slices.Contains(ids, "mine") }
		for range 2 {
			sourcetest.WantClass(t, sourcetest.Fetch(t, s.Source(key, mine), []byte("x"), 0, 1), false, says)
		}
		if asked > 2 {
			t.Errorf("%s: it was asked %d times", says, asked)
		}
		server.Close()
	}
	for _, url := range []string{"ssh://example.org/a", "/data/a", "git@example.org:a", "file:///data"} {
		if NewSibling(nil, url, names) != nil {
			t.Errorf("%s is read by URLs", url)
		}
	}
}

// A URL with a password is not asked, and the password is not told.
func TestSiblingsTellNoPassword(t *testing.T) {
	s := NewSibling(client(t), "https://me:hunter2@example.org/ds", names).Source(keyOf(t, []byte("x")), nil)
	err := sourcetest.Fetch(t, s, []byte("x"), 0, 1)
	sourcetest.WantClass(t, err, false, "example.org/ds/config")
	if strings.Contains(err.Error()+s.String(), "hunter2") {
		t.Errorf("%s: %v", s, err)
	}
}

func TestSiblingsKeepTheContract(t *testing.T) {
	const id = "11111111-2222-4333-8444-555555555555"
	create := func(t *testing.T, content []byte, fault http.HandlerFunc) source.Source {
		key := keyOf(t, content)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case fault != nil:
				fault(w, r)
			case r.URL.Path == "/ds/.git/config":
				io.WriteString(w, "[core]\n"+id)
			case strings.HasSuffix(r.URL.Path, "/ds/.git/annex/objects/"+key.HashDirMixed()+"/"+key.FileName()+"/"+key.FileName()):
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
			default:
				http.NotFound(w, r)
			}
		}))
		t.Cleanup(server.Close)
		return NewSibling(client(t), server.URL+"/ds", names).Source(key, func(ids []annex.UUID) bool { return slices.Contains(ids, id) })
	}
	sourcetest.Test(t, func(t *testing.T, content []byte) source.Source { return create(t, content, nil) }, sourcetest.Options{
		Missing: func(t *testing.T, content []byte) source.Source { return create(t, content, http.NotFound) },
		Down: func(t *testing.T, content []byte) source.Source {
			return create(t, content, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
		},
		Hanging: func(t *testing.T, content []byte) source.Source {
			return create(t, content, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		},
	})
}
