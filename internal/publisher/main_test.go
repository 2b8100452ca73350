package publisher

import (
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newServer returns a server that ends with the test.
func newServer(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustMake(t *testing.T, dir string, d maker.Dataset) *maker.Made {
	t.Helper()
	m, err := maker.Make(dir, d)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
