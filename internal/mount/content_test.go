package mount

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/dataset/datasettest"
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

// The content of each kind of file, in the dataset itself and within another.
func TestOpenContent(t *testing.T) {
	r := newRig(t, 0)
	d := images("content", 2, 100_000)
	d.Files = append(d.Files,
		maker.File{Path: "participants.tsv", Data: []byte("participant_id\tage\nsub-01\t20\nsub-02\t30\n")},
		maker.File{Path: "sub-01/anat/sub-01_events.bin", Size: inMemory + 1, Seed: 7},
		maker.File{Path: "sub-01/anat/sub-01_T1w.json", Data: []byte("{}")})
	made := r.publish(d)
	outer := r.publish(datasettest.Super("outside", map[string]*maker.Made{"content": made}, maker.File{Path: "README"}))
	req := r.request(made)
	req.Selection = bids.Selection{Entities: map[string][]string{"sub": {"01"}}}
	alone := r.mount(req)
	local := d
	local.Name, local.WorkTree, local.Present = "local", true, true
	req = r.request(r.publish(local))
	req.Spec = r.publish(local).Dir
	inPlace := r.mount(req)
	parts := map[string]*Part{"alone": alone.Part, "within": r.within(r.mount(r.request(outer)).Part, "content"), "in place": inPlace.Part}
	for name, p := range parts {
		for _, path := range []string{"README", image(1), "sub-01/anat/sub-01_T1w.json", "sub-01/anat/sub-01_events.bin", "participants.tsv"} {
			if name == "alone" && path == "sub-01/anat/sub-01_events.bin" {
				continue // BIDS does not know it
			}
			want := datasettest.Content(t, made, path)
			if name == "alone" && path == "participants.tsv" {
				want = []byte("participant_id\tage\nsub-01\t20\n")
			}
			c, err := p.OpenContent(p.at(t, path))
			if err != nil {
				t.Errorf("%s: %s: %v", name, path, err)
				continue
			}
			got := make([]byte, len(want)+1)
			n, err := c.ReadAt(t.Context(), got, 0)
			if string(got[:n]) != string(want) || err != nil && n < len(want) {
				t.Errorf("%s: %s: %d bytes, %v", name, path, n, err)
			}
			if err := c.Close(); err != nil {
				t.Errorf("%s: %s: %v", name, path, err)
			}
		}
	}
	if n := r.server.ObjectCounts(made.URLs(made.Find(image(1)))[0]).Requests; n == 0 {
		t.Error("the content was not asked for where it is")
	}
	if said, err := alone.Read("synthesised"); err != nil || string(said) != "participants.tsv\n" {
		t.Errorf("changed are %q, %v", said, err)
	}

	// Without the network, opening does not fail, and reading says why.
	req = r.request(made)
	req.Offline = true
	off := r.mount(req)
	c, err := off.OpenContent(off.at(t, image(2)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.ReadAt(t.Context(), make([]byte, 1), 0); !errors.Is(err, cache.ErrOffline) {
		t.Errorf("offline: %v", err)
	}
	// A source that there is not is told at once, before anything is mounted.
	req = r.request(made)
	req.Fetcher = "none such"
	v, err := r.Datasets.Open(t.Context(), req.Dataset, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	chosen, err := v.Chooser("x", quiet).Choose(t.Context(), req.Selection)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := r.host.New(req, v, chosen); err == nil {
		m.Close()
		t.Error("content comes from nowhere")
	}
}

// counting counts reads of a part's files, which the kernel never does by itself.
type counting struct {
	fs.Opener
	reads *atomic.Int32
}

func (c counting) OpenContent(n int) (fs.Content, error) {
	content, err := c.Opener.OpenContent(n)
	return counted{content, c.reads}, err
}

type counted struct {
	fs.Content
	reads *atomic.Int32
}

func (c counted) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	c.reads.Add(1)
	return c.Content.ReadAt(ctx, p, off)
}
func (counted) File() *os.File { return nil }

// What is wrong is forgotten in each part that shows it, and nowhere else.
func TestRevokeReachesParts(t *testing.T) {
	r := newRig(t, 0)
	made := r.nested()
	req := r.request(made)
	req.Target = t.TempDir()
	m := r.mount(req)
	inner := r.within(m.Part, "inner")
	reads := map[*Part]*atomic.Int32{m.Part: new(atomic.Int32), inner: new(atomic.Int32)}
	for p, n := range reads {
		p.fs.Opener = counting{p, n}
	}
	r.serve(m)
	// Of the same seed and of different sizes: one key each.
	paths := map[*Part]string{m.Part: filepath.Join(req.Target, image(1)), inner: filepath.Join(req.Target, "inner", image(1))}
	again := func(what string, want map[*Part]bool) {
		t.Helper()
		for p, path := range paths {
			before := reads[p].Load()
			r.runs("cat", path)
			if got := reads[p].Load() > before; got != want[p] {
				t.Errorf("%s: %q is read again: %v", what, p.path, got)
			}
		}
	}
	again("the first time", map[*Part]bool{m.Part: true, inner: true})
	again("the kernel keeps it", nil)
	key := inner.version.Key(inner.at(t, image(1)))
	m.Revoke(key, m.version.ID())
	again("for another dataset", nil)
	m.Revoke(key, inner.version.ID())
	again("for its dataset", map[*Part]bool{inner: true})
	m.Revoke(m.version.Key(m.at(t, image(1))), "")
	again("for all", map[*Part]bool{m.Part: true})
}
