// Package sourcetest states the contract of [source.Source] as tests, which
// every source passes, the fakes of tests too.
package sourcetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// Options say what a source can be tested for beyond the contract's core. The
// zero value tests that.
type Options struct {
	// Missing makes a source whose place does not have the content. nil leaves
	// that out.
	Missing func(t *testing.T, content []byte) source.Source
	// Down makes a source whose place cannot be reached at the moment. nil
	// leaves that out.
	Down func(t *testing.T, content []byte) source.Source
	// Hanging makes a source whose place says nothing. nil leaves that out.
	Hanging func(t *testing.T, content []byte) source.Source
	// Sizes are those of the contents that are tried, in bytes; nil is a choice.
	Sizes []int
}

// within bounds everything: nothing hangs.
const within = time.Minute

// Test tests the sources that create makes: a new one at each call, of a place
// that has this content and works.
func Test(t *testing.T, create func(t *testing.T, content []byte) source.Source, o Options) {
	sizes := o.Sizes
	if sizes == nil {
		sizes = []int{1, 1000, 300_000}
	}
	for _, size := range sizes {
		content := contentOf(size)
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s, isPlacer := create(t, content).(source.Placer)
			if isPlacer {
				t.Run("Place", func(t *testing.T) { testPlace(t, s, content) })
			} else {
				// A key is placed once at a time.
				t.Run("Concurrent", func(t *testing.T) { testConcurrent(t, create(t, content), content) })
			}
			t.Run("Parts", func(t *testing.T) { testParts(t, create(t, content), content) })
			t.Run("Writer", func(t *testing.T) { testWriter(t, create(t, content), content) })
			t.Run("Ended", func(t *testing.T) { testEnded(t, create(t, content), content) })
		})
	}
	content := contentOf(5000)
	if o.Missing != nil {
		t.Run("Missing", func(t *testing.T) {
			if err := whole(t, o.Missing(t, content), content); err == nil || source.IsOutage(err) {
				t.Errorf("content that is not there is no final failure: %v", err)
			}
		})
	}
	if o.Down != nil {
		t.Run("Down", func(t *testing.T) {
			if err := whole(t, o.Down(t, content), content); !source.IsOutage(err) {
				t.Errorf("a place that is away is no outage: %v", err)
			}
		})
	}
	if o.Hanging != nil {
		t.Run("Hanging", func(t *testing.T) { testHanging(t, o.Hanging(t, content), content) })
	}
}

// contentOf returns bytes of which no part repeats soon.
func contentOf(size int) []byte {
	content := make([]byte, size)
	x := uint64(size)*2654435761 + 1
	for i := range content {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		content[i] = byte(x)
	}
	return content
}

// isPlacer reports whether Fetch may refuse.
func isPlacer(s source.Source) bool {
	_, ok := s.(source.Placer)
	return ok
}

// fetch fetches a part and checks that what came is the truth, and all of it
// unless there is an error.
func fetch(t *testing.T, ctx context.Context, s source.Source, content []byte, off, n int64) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var got bytes.Buffer
	err := s.Fetch(ctx, off, n, &got)
	if ctx.Err() == context.DeadlineExceeded {
		t.Fatal("it hangs")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it looks as if the asker had run out of time: %v", err)
	}
	if !bytes.HasPrefix(content[off:off+n], got.Bytes()) {
		t.Errorf("bytes %d to %d: wrong bytes", off, off+n)
	}
	if err == nil && int64(got.Len()) != n {
		t.Errorf("bytes %d to %d: %d bytes came without an error", off, off+n, got.Len())
	}
	return err
}

// whole brings all, in the source's way.
func whole(t *testing.T, s source.Source, content []byte) error {
	t.Helper()
	p, ok := s.(source.Placer)
	if !ok {
		return fetch(t, t.Context(), s, content, 0, int64(len(content)))
	}
	return place(t, t.Context(), p, content)
}

func place(t *testing.T, ctx context.Context, p source.Placer, content []byte) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	path := filepath.Join(t.TempDir(), "placed")
	last, mu := int64(0), sync.Mutex{}
	err := p.Place(ctx, path, func(done int64) {
		mu.Lock()
		defer mu.Unlock()
		last = max(last, done)
	})
	if ctx.Err() == context.DeadlineExceeded {
		t.Fatal("it hangs")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it looks as if the asker had run out of time: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if last > int64(len(content)) {
		t.Errorf("progress: %d bytes of %d", last, len(content))
	}
	if err != nil {
		return err
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes were placed, not the %d: %v", len(got), len(content), err)
	}
	return nil
}

func testPlace(t *testing.T, p source.Placer, content []byte) {
	if p.String() == "" {
		t.Error("it has no name")
	}
	if err := place(t, t.Context(), p, content); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := p.Place(ctx, filepath.Join(t.TempDir(), "placed"), func(int64) {})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it does not end with its context: %v", err)
	}
}

// Every part can be had, and is the truth; or the place says that it gives
// none.
func testParts(t *testing.T, s source.Source, content []byte) {
	if s.String() == "" {
		t.Error("it has no name")
	}
	size := int64(len(content))
	for _, p := range [][2]int64{{0, size}, {0, 1}, {size - 1, 1}, {size / 3, size / 2}, {0, 0}, {size, 0}} {
		err := fetch(t, t.Context(), s, content, p[0], min(p[1], size-p[0]))
		switch {
		case err == nil:
		case errors.Is(err, source.ErrWholeOnly) && (isPlacer(s) || p[1] < size):
		default:
			t.Errorf("bytes %d to %d: %v", p[0], p[0]+p[1], err)
		}
	}
}

// limited is a writer that fails after some bytes.
type limited struct {
	left int
	err  error
	late bool
}

func (w *limited) Write(p []byte) (int, error) {
	if w.late {
		panic("a byte was written after Fetch had returned")
	}
	n := min(len(p), w.left)
	w.left -= n
	if n < len(p) {
		return n, w.err
	}
	return n, nil
}

// A writer's error is the asker's own. A source that refuses writes nothing.
func testWriter(t *testing.T, s source.Source, content []byte) {
	mine := errors.New("my own")
	w := &limited{left: len(content) / 2, err: mine}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	err := s.Fetch(ctx, 0, int64(len(content)), w)
	w.late = true
	if isPlacer(s) && errors.Is(err, source.ErrWholeOnly) {
		if w.left < len(content)/2 {
			t.Error("it wrote, and then refused")
		}
		return
	}
	if !errors.Is(err, mine) || source.IsOutage(err) {
		t.Errorf("the writer's error became: %v", err)
	}
}

func testConcurrent(t *testing.T, s source.Source, content []byte) {
	var all sync.WaitGroup
	size := int64(len(content))
	for i := range int64(4) {
		all.Go(func() {
			off := i * size / 4
			if err := fetch(t, t.Context(), s, content, off, size-off); err != nil && !errors.Is(err, source.ErrWholeOnly) {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// With a context that has ended, it returns that and writes nothing wrong.
func testEnded(t *testing.T, s source.Source, content []byte) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := fetch(t, ctx, s, content, 0, int64(len(content)))
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, source.ErrWholeOnly) {
		t.Errorf("an ended context gives: %v", err)
	}
	if err == nil {
		t.Error("an ended context changes nothing")
	}
}

// An asker that leaves is let go, whatever the place does.
func testHanging(t *testing.T, s source.Source, content []byte) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		close(started)
		if p, ok := s.(source.Placer); ok {
			ended <- p.Place(ctx, filepath.Join(t.TempDir(), "placed"), func(int64) {})
			return
		}
		ended <- s.Fetch(ctx, 0, int64(len(content)), &limited{left: len(content)})
	}()
	<-started
	time.Sleep(50 * time.Millisecond) // so that it may be under way
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("it ends with: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it hangs")
	}
}
