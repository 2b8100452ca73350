package gitstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// manyObjects names all objects again and again.
func manyObjects(t *testing.T, dir string) []OID {
	t.Helper()
	ids := allObjects(t, dir)
	for len(ids) < 20000 {
		ids = append(ids, ids...)
	}
	return ids
}

func TestCancel(t *testing.T) {
	dir := newRepository(t)
	ids := manyObjects(t, dir)
	backends(t, func(t *testing.T, o Options) {
		s := open(t, dir, o)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		n := 0
		err := s.ReadAll(ctx, ids, func(i int, _ string, _ []byte) error {
			if n++; n == 100 {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("read %d: %v", n, err)
		}
		if _, _, err := s.Read(ctx, ids[0]); !errors.Is(err, context.Canceled) {
			t.Errorf("a call with a context that is done: %v", err)
		}
		mine := errors.New("enough")
		if err := s.ReadAll(context.Background(), ids, func(i int, _ string, _ []byte) error {
			if i == 5 {
				return mine
			}
			return nil
		}); !errors.Is(err, mine) {
			t.Errorf("fn's error became %v", err)
		}
		checkObjects(t, s, dir, ids[:10])
	})
}

func TestConcurrent(t *testing.T) {
	dir := newRepository(t)
	gitRun(t, dir, "repack", "-qad")
	gitRun(t, dir, "commit", "-q", "--allow-empty", "-m", "third")
	ids := allObjects(t, dir)
	backends(t, func(t *testing.T, o Options) {
		s := open(t, dir, o)
		ctx := context.Background()
		var all sync.WaitGroup
		for g := range 16 {
			all.Go(func() {
				for r := range 10 {
					n := 0
					if err := s.ReadAll(ctx, ids, func(i int, kind string, data []byte) error {
						n++
						if hashObject(kind, data) != ids[i] {
							t.Errorf("object %d is not right", i)
						}
						return nil
					}); err != nil || n != len(ids) {
						t.Errorf("read %d objects: %v", n, err)
					}
					if err := s.Sizes(ctx, ids, func(int, int64) error { return nil }); err != nil {
						t.Error(err)
					}
					if b, err := s.ReadPath(ctx, "HEAD", fmt.Sprintf("sub-02/func/f%02d", (g+r)%30)); err != nil || !strings.HasPrefix(string(b), "content") {
						t.Errorf("%q, %v", b, err)
					}
					cancelled, cancel := context.WithCancel(ctx)
					s.ReadAll(cancelled, ids, func(i int, _ string, _ []byte) error {
						if i == g {
							cancel()
						}
						return nil
					})
					cancel()
				}
			})
		}
		all.Wait()
	})
}

func TestClose(t *testing.T) {
	dir := newRepository(t)
	ids := manyObjects(t, dir)
	backends(t, func(t *testing.T, o Options) {
		s := open(t, dir, o)
		ctx := context.Background()
		started, result := make(chan bool, 1), make(chan error, 1)
		go func() {
			result <- s.ReadAll(ctx, ids, func(i int, _ string, _ []byte) error {
				select {
				case started <- true:
				default:
				}
				return nil
			})
		}()
		<-started
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-result; err != nil && !errors.Is(err, ErrClosed) { // it may have been done in time
			t.Errorf("the call under way: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, _, err := s.Read(ctx, ids[0]); !errors.Is(err, ErrClosed) {
			t.Errorf("read: %v", err)
		}
		if _, err := s.Resolve(ctx, "main"); !errors.Is(err, ErrClosed) {
			t.Errorf("resolve: %v", err)
		}
	})
}
