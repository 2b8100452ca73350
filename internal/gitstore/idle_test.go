package gitstore

import (
	"testing"
	"time"
)

// Many stores do not keep as many processes waiting, and each can be read all the same.
func TestIdleChildrenAreBounded(t *testing.T) {
	dir := newRepository(t)
	id := OID(gitRun(t, dir, "rev-parse", "main:empty"))
	var stores []*Store
	for range 2 * maxIdleInAll {
		stores = append(stores, open(t, dir, Options{Git: gitProgram(t)}))
	}
	for range 2 {
		for _, s := range stores {
			if _, _, err := s.Read(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if err := s.Sizes(t.Context(), []OID{id}, func(int, int64) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	waiting := 0
	for range 1000 {
		waiting = 0
		for _, s := range stores {
			waiting += len(children(s))
		}
		if waiting <= maxIdleInAll {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d processes wait for work", waiting)
}
