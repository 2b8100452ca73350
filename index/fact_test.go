package index_test

import (
	"testing"

	"github.com/uniharmony/uniharmonyfs/index"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

func TestFactsSurviveRestart(t *testing.T) {
	dir := t.TempDir()
	k, err := annex.ParseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	blob := annex.GitKey("60034b8747ef3da003f5c9f9fc576d2f3a241989", 3)
	x := open(t, dir)
	if fact, ok := x.Fact(k); ok {
		t.Errorf("an empty index knows %q", fact)
	}
	if err := x.SaveFacts(map[annex.Key][]byte{k: []byte("a"), blob: {}}); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = open(t, dir)
	defer x.Close()
	if fact, ok := x.Fact(k); !ok || string(fact) != "a" {
		t.Errorf("%q, %v", fact, ok)
	}
	if fact, ok := x.Fact(blob); !ok || len(fact) != 0 {
		t.Errorf("an empty fact is %q, %v", fact, ok)
	}
	if err := x.SaveFacts(map[annex.Key][]byte{k: []byte("b")}); err != nil {
		t.Fatal(err)
	}
	if fact, ok := x.Fact(k); !ok || string(fact) != "b" {
		t.Errorf("written again: %q, %v", fact, ok)
	}
	_ = x.Load(func(r index.Record) { t.Errorf("a fact is taken for the object %v", r) })
}
