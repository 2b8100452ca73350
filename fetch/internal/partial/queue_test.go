package partial

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
)

// What is asked for while something is on its way comes together afterwards, each
// once; a failure is told to all who wait for it, and to nobody after them.
func TestAskedForTogether(t *testing.T) {
	q, down := new(Queue), errors.New("down")
	var brought [][]string
	ask := func(i int) (*Batch, bool) {
		return q.Ask(Leaf{"c", fmt.Sprint(i)}, func(int) []string { return nil })
	}
	first, begin := ask(0)
	if !begin || first == nil {
		t.Fatalf("nobody begins: %v", first)
	}
	var waiting sync.WaitGroup
	q.Run(func(b *Batch) error {
		var paths []string
		for _, l := range b.asked {
			paths = append(paths, l.Path)
		}
		if brought = append(brought, paths); len(brought) > 1 {
			return nil
		}
		for range 2 { // while the first comes
			for i := 1; i <= 100; i++ {
				b, begin := ask(i)
				if begin {
					t.Error("another one begins")
				}
				waiting.Go(func() {
					if err := b.Wait(context.Background()); err != nil {
						t.Error(err)
					}
				})
			}
		}
		return down
	})
	waiting.Wait()
	if err := first.Wait(t.Context()); err != down {
		t.Errorf("the first gets %v", err)
	}
	if len(brought) != 3 || len(brought[0]) != 1 || len(brought[1]) != mostAsked || len(brought[2]) != 100-mostAsked {
		t.Errorf("brought were %v", brought)
	}
	if _, begin := ask(0); !begin {
		t.Error("after the end, nobody begins anew")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if b, _ := ask(1); !errors.Is(b.Wait(ctx), context.Canceled) {
		t.Error("who waits cannot leave")
	}
	if err := (*Batch)(nil).Wait(ctx); err != nil {
		t.Errorf("what is there is waited for: %v", err)
	}
}

// A panic in one batch is the error of that one.
func TestPanicOfABatch(t *testing.T) {
	q := new(Queue)
	b, _ := q.Ask(Leaf{"c", "p"}, func(int) []string { return nil })
	q.Run(func(*Batch) error { panic("x") })
	if err := b.Wait(t.Context()); err == nil {
		t.Error("no error")
	}
}

// What comes along is bounded, is nothing that is there, and grows.
func TestWhatComesAlong(t *testing.T) {
	q := &Queue{known: map[Leaf]bool{{"c", "there"}: true}}
	b := &Batch{ahead: []func(int) []string{func(n int) (paths []string) {
		for i := range n {
			paths = append(paths, fmt.Sprint("next", i))
		}
		return append([]string{"there", "asked"}, paths...)
	}}}
	for _, want := range []int{FirstAhead, 2 * FirstAhead, 4 * FirstAhead, 8*FirstAhead - 1, 8*FirstAhead - 1} {
		got := q.alongWith("c", []string{"asked"}, b)
		if len(got) != want+1 || got[0] != "asked" || slices.Contains(got, "there") {
			t.Errorf("%d come along, want %d: %q…", len(got)-1, want, got[0])
		}
	}
}

func TestGitsThatFetchAgain(t *testing.T) {
	for version, want := range map[string]bool{"2.36.0": true, "2.39.5": true, "3.0": true, "2.35.9": false, "1.99": false, "": false, "x": false} {
		if canFetchAgain(version) != want {
			t.Errorf("git %q can: %v", version, !want)
		}
	}
}
