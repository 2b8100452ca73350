package cache_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// made is a source whose content is part of another one of the same cache.
type made struct {
	placing
	c      func() *cache.Cache
	of     content
	origin cache.Origin
	held   *atomic.Int32 // how many are ready and not released
	fails  error
}

func (m made) Prepare(ctx context.Context) (source.Placer, func(), error) {
	if m.fails != nil {
		return nil, nil, m.fails
	}
	h, err := m.c().Open(m.of.key, cache.Use{Origin: m.origin, Dataset: "ds", Name: "the other"})
	if err != nil {
		return nil, nil, err
	}
	f, err := h.Wait(ctx)
	if err != nil {
		h.Close()
		return nil, nil, err
	}
	m.held.Add(1)
	ready := placing{scripted{"made", func(_, _ int64, w io.Writer) error {
		_, err := io.CopyN(w, f, mib)
		return err
	}}}
	return ready, func() { m.held.Add(-1); h.Close() }, nil
}

// named returns the key of a content by a number: keys of the same content differ in
// their extensions.
func named(t testing.TB, data []byte, i int) annex.Key {
	t.Helper()
	key, err := annex.ParseKey(fmt.Sprintf("SHA256E-s%d--%x.n%d", len(data), sha256.Sum256(data), i))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// What a source is made of comes through the same cache, though there is one turn only
// and room for not much more; who reads it knows nothing of that.
func TestSourcesMadeOfOtherContent(t *testing.T) {
	whole := makeContent(t, 71, 4*mib)
	far := newFar(whole)
	var c *cache.Cache
	var held atomic.Int32
	parts := make([]content, 4)
	origin := newFar()
	var fails error
	for i := range parts {
		parts[i] = content{named(t, whole.data[:mib], i), whole.data[:mib]}
	}
	origin.sources = func(key annex.Key) ([]cache.Source, error) {
		return []cache.Source{made{placing{scripted{"made of another", nil}}, func() *cache.Cache { return c }, whole, far, &held, fails}}, nil
	}
	c = open(t, t.TempDir(), cache.Options{Requests: 1, Budget: 10 * mib, FailureTTL: time.Millisecond})
	var all sync.WaitGroup
	for _, p := range parts {
		all.Go(func() {
			if got, err := readAll(c, p.key, cache.Use{Origin: origin, Dataset: "ds", Name: "part"}); err != nil || !bytes.Equal(got, p.data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	all.Wait()
	if held.Load() != 0 {
		t.Errorf("%d are held", held.Load())
	}
	if n := far.count(whole.key); n == 0 {
		t.Error("the whole was not fetched")
	}
	// What cannot be brought fails those that are made of it, with the reason.
	fails = errors.New("nobody has the whole")
	last := content{named(t, whole.data[:mib], 9), whole.data[:mib]}
	if _, err := readAll(c, last.key, cache.Use{Origin: origin, Dataset: "ds", Name: "part"}); err == nil || !strings.Contains(err.Error(), "nobody has the whole") {
		t.Errorf("without the whole: %v", err)
	}
}

// Who leaves lets go of what is being prepared.
func TestPreparingEndsWithItsReader(t *testing.T) {
	one := makeContent(t, 72, mib)
	began, ended := make(chan struct{}), make(chan struct{})
	origin := newFar()
	origin.sources = func(annex.Key) ([]cache.Source, error) {
		return []cache.Source{endless{placing{scripted{"endless", nil}}, began, ended}}, nil
	}
	c := open(t, t.TempDir(), cache.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	h := mustOpen(t, c, one.key, cache.Use{Origin: origin, Name: "a"})
	done := make(chan error, 1)
	go func() {
		_, err := h.ReadAt(ctx, make([]byte, 1), 0)
		done <- err
	}()
	<-began
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the reader got %v", err)
	}
	h.Close()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("it goes on for nobody")
	}
}

type endless struct {
	placing
	began, ended chan struct{}
}

func (e endless) Prepare(ctx context.Context) (source.Placer, func(), error) {
	close(e.began)
	<-ctx.Done()
	close(e.ended)
	return nil, nil, ctx.Err()
}
