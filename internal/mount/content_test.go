package mount

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// A small file of git is read from memory, by any number of readers at once, and
// never as something else than the tree says.
func TestBlobs(t *testing.T) {
	text := strings.Repeat("0123456789", 1000)
	m, err := maker.Make(t.TempDir(), maker.Dataset{Name: "x", Files: []maker.File{{Path: "a", Data: []byte(text)}, {Path: "empty"}}})
	if err != nil {
		t.Fatal(err)
	}
	git, err := gitstore.Open(m.GitDir, gitstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer git.Close()
	id := gitstore.OID(fmt.Sprintf("%x", sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(text), text))))
	b := &blob{git: git, id: id, size: int64(len(text))}
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			p := make([]byte, 100)
			off := int64(n * 1234)
			if got, err := b.ReadAt(t.Context(), p, off); got != 100 || err != nil || string(p) != text[off:off+100] {
				t.Errorf("at %d: %d bytes, %v", off, got, err)
			}
		})
	}
	all.Wait()
	for _, c := range []struct {
		off  int64
		n    int
		want error
	}{{9990, 10, nil}, {9991, 9, io.EOF}, {10_000, 0, io.EOF}, {1 << 40, 0, io.EOF}} {
		if n, err := b.ReadAt(t.Context(), make([]byte, 10), c.off); n != c.n || !errors.Is(err, c.want) {
			t.Errorf("at %d: %d bytes, %v", c.off, n, err)
		}
	}
	if n, err := (&blob{git: git, id: id, size: 9}).ReadAt(t.Context(), make([]byte, 9), 0); n != 0 || !errors.Is(err, gitstore.ErrDamaged) {
		t.Errorf("of another size: %d bytes, %v", n, err)
	}
	if n, err := (&blob{git: git, size: 0}).ReadAt(t.Context(), make([]byte, 9), 0); n != 0 || err != io.EOF {
		t.Errorf("empty: %d bytes, %v", n, err)
	}
	if n, err := (&blob{git: git, id: gitstore.OID(strings.Repeat("0", 40)), size: 9}).ReadAt(t.Context(), make([]byte, 9), 0); n != 0 || err == nil {
		t.Errorf("of no blob: %d bytes, %v", n, err)
	}
}
