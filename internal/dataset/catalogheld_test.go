package dataset_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/dataset/datasettest"
)

// ending is a context that has ended when somebody has looked at it so often.
type ending struct {
	context.Context
	left atomic.Int32
}

func (e *ending) Err() error {
	if e.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// Who gives up while a superdataset is opened holds none, however late that is.
func TestCatalogThatIsGivenUpHoldsNothing(t *testing.T) {
	c := datasettest.New(t, 0)
	s, _, _, top := nested(t)
	v := mustOpen(t, c, datasettest.Request(s, top))
	listing := v.Listing // is in memory: nothing else looks at the context
	v.Release()
	for n := range int32(100) {
		ctx := &ending{Context: t.Context()}
		ctx.left.Store(n)
		all, err := c.Datasets.Catalog(ctx, datasettest.Request(s, top), []string{s.GitURL(top)}, new(datasettest.Told).Tell)
		if err == nil {
			all.Release()
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("given up at the look number %d: %v", n+1, err)
		}
	}
	runtime.KeepAlive(listing)
	areFree(t, c)
}
