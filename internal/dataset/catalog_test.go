package dataset_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset/datasettest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// leaving is a context that ends after it was looked at so many times.
type leaving struct {
	context.Context
	left atomic.Int64
}

func (l *leaving) Err() error {
	if l.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

func leavingAfter(n int) *leaving {
	l := &leaving{Context: context.Background()}
	l.left.Store(int64(n))
	return l
}

// Whoever asks for a catalog, or for what is new in one, and leaves at whatever moment,
// holds nothing of it: it can be removed.
func TestCatalogHoldsNothingAfterItsEnd(t *testing.T) {
	c := datasettest.New(t, 0)
	s, m := datasettest.Publish(t, maker.Dataset{Name: "super", Files: []maker.File{
		{Path: "README", Data: []byte("of one")}, {Path: "one", Commit: "1111111111111111111111111111111111111111"},
		{Path: ".gitmodules", Data: []byte("[submodule \"one\"]\n\tpath = one\n\turl = ../one.git\n")},
	}})
	req := datasettest.Request(s, m)
	specs := []string{req.Spec}
	quiet := func(control.Progress) {}
	known := mustOpen(t, c, req)
	name := known.ID()
	known.Release()
	free := func(what string, n int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if _, err := c.Datasets.Remove(ctx, name, quiet); err != nil {
			t.Fatalf("%s that ended after %d looks: %v", what, n, err)
		}
		mustOpen(t, c, req).Release()
	}
	for n, whole := 0, false; !whole; n++ {
		all, err := c.Datasets.Catalog(leavingAfter(n), req, specs, quiet)
		if whole = err == nil; whole {
			all.Release()
		}
		free("a catalog", n)
		if all, err = c.Datasets.Catalog(t.Context(), req, specs, quiet); err != nil {
			t.Fatal(err)
		}
		all.Mounted("/somewhere")
		_, err = all.Refresh(leavingAfter(n), time.Hour)
		whole = whole && err == nil
		all.Release()
		all.Refresh(t.Context(), time.Hour) // it began before
		free("a catalog whose refresh", n)
	}
}
