package mount

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset"
	"github.com/uniharmony/uniharmonyfs/internal/dataset/datasettest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// A look that ends at the moment when the last who waits for it leaves is had, or begins
// anew, and the mount has the dataset once.
func TestLooksThatEndWhenNobodyWaits(t *testing.T) {
	c := datasettest.New(t, 0)
	s, made := datasettest.Publish(t, maker.Dataset{Name: "looked", Files: []maker.File{{Path: "README", Data: []byte("x")}}})
	req := control.MountRequest{Dataset: datasettest.Request(s, made), Target: "/somewhere", NoReadAhead: true}
	quiet := func(control.Progress) {}
	open := func(ctx context.Context) (*dataset.Version, error) { return c.Datasets.Open(ctx, req.Dataset, quiet) }
	v, err := open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := v.Chooser("x", quiet).Choose(t.Context(), req.Selection)
	if err != nil {
		t.Fatal(err)
	}
	h := Host{Dir: c.Dir, Cache: c.Cache, Datasets: c.Datasets, Log: slog.New(slog.DiscardHandler), Guard: datasettest.Guard}
	m, err := h.New(req, v, chosen)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	took := time.Millisecond
	for n := range 3000 {
		in := inside{path: fmt.Sprint("at", n), level: 1, open: open}
		ctx, leave := context.WithTimeout(t.Context(), took*time.Duration(n%100)/50)
		began := time.Now()
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() { m.enter(ctx, in) })
		}
		all.Wait()
		leave()
		if _, err := m.enter(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		if n%100 == 99 {
			took = time.Since(began)
		}
	}
	times := make(map[string]int)
	for _, p := range m.parts() {
		if times[p.path]++; times[p.path] > 1 {
			t.Errorf("%q is there %d times", p.path, times[p.path])
		}
	}
}
