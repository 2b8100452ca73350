package dataset

import (
	"context"
	"errors"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/commit"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// A version with its subdatasets is bounded as a commit is, however often one of them
// stands in it, and is not made for who has gone.
func TestRoomOfSubdatasets(t *testing.T) {
	listing := func(dirs map[string][]string, order ...string) *commit.Listing {
		b := tree.NewBuilder()
		for _, dir := range order {
			var entries []tree.Entry
			for _, name := range dirs[dir] {
				entries = append(entries, tree.Entry{Name: name, Kind: tree.Dir})
			}
			if err := b.AddDir(dir, entries); err != nil {
				t.Fatal(err)
			}
		}
		made, err := b.Tree()
		if err != nil {
			t.Fatal(err)
		}
		return &commit.Listing{Tree: made, Hidden: []commit.Hidden{{Path: "h", Why: "so"}}}
	}
	below := listing(map[string][]string{"": {"x", "y"}}, "", "x", "y")
	v := &Version{Listing: listing(map[string][]string{"": {"a", "b"}}, "", "a", "b")}
	more := []graft{{"a", &Version{Listing: below}}, {"b", &Version{Listing: below}}}
	// Of each of three datasets there are two directories and what is hidden. Names are
	// there twice, once in a path.
	enough := room{nodes: 9, dirs: 6, bytes: 3*(2+2) + 2*2 + 3*3 + 2}
	all, err := v.with(t.Context(), more, enough)
	if err != nil {
		t.Fatal(err)
	}
	if all.Len() != 7 || len(all.Hidden) != 3 {
		t.Errorf("%d nodes, %d hidden", all.Len(), len(all.Hidden))
	}
	for _, less := range []room{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}} {
		left := room{enough.nodes - less.nodes, enough.dirs - less.dirs, enough.bytes - less.bytes}
		if _, err := v.with(t.Context(), more, left); !errors.Is(err, errRoom) {
			t.Errorf("with %+v less: %v", less, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.with(ctx, more, enough); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}
