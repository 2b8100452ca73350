package cache_test

import (
	"testing"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Of many files few keys are asked for to know how many are here.
func TestCachedFilesAreCounted(t *testing.T) {
	one, other, like := makeContent(t, 1, 3000), makeContent(t, 2, 5000), makeContent(t, 3, 3000)
	c := open(t, t.TempDir(), cache.Options{})
	// The same content may be at several paths; 4000 bytes lie in git.
	files := []content{one, other, one, like, {data: make([]byte, 4000)}}
	count := func() (n, asked int) {
		n = c.CountCached(len(files), func(i int) int64 {
			if files[i].key.IsZero() {
				return -1
			}
			return int64(len(files[i].data))
		}, func(i int) annex.Key { asked++; return files[i].key })
		return n, asked
	}
	if n, asked := count(); n != 0 || asked != 0 {
		t.Errorf("of an empty cache: %d files, of %d keys", n, asked)
	}
	mustRead(t, c, one, cache.Use{Origin: newFar(one)})
	if n, asked := count(); n != 2 || asked != 3 {
		t.Errorf("%d files, of %d keys; want 2 of the 3 that have its size", n, asked)
	}
}
