package mount

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/dataset/datasettest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// Prefetch brings what fits, in order, and ends when it is told to or the mount ends.
func TestPrefetch(t *testing.T) {
	r := newRig(t, 1<<20)
	made := r.publish(images("many", 5, 300_000))
	req := r.request(made)
	req.Prefetch = true
	req.Timeout = time.Second
	m := r.mount(req)
	if len(m.prefetched) != 3 || !strings.Contains(strings.Join(m.shown.hints, "\n"), "only the first 3 are prefetched") {
		t.Fatalf("%d files are prefetched: %q", len(m.prefetched), m.shown.hints)
	}
	cached := func() (all []string) {
		for _, n := range m.shown.files {
			if m.remote(n) && r.Cache.Cache.State(m.version.Key(n)).Presence == cache.Cached {
				all = append(all, m.version.Path(n))
			}
		}
		return all
	}
	prefetch := func(ctx context.Context) <-chan struct{} {
		ended := make(chan struct{})
		m.Prefetch(ctx, func() { close(ended) })
		return ended
	}
	r.server.SetFault(publisher.Always(publisher.Stall(-1)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := prefetch(ctx)
	eventually(t, "it is asked for", func() bool { return r.server.Counts().Requests > 0 })
	if !m.prefetching.Load() {
		t.Error("nothing is being prefetched")
	}
	cancel()
	comes(t, ended, "the end")
	r.server.SetFault(nil)
	comes(t, prefetch(t.Context()), "the end")
	if got := cached(); !slices.Equal(got, []string{image(1), image(2), image(3)}) || m.prefetching.Load() {
		t.Errorf("prefetched are %q", got)
	}
	r.Cache.Cache.Drop(nil)
	r.server.SetFault(publisher.Always(publisher.Stall(-1)))
	ended = prefetch(t.Context())
	m.Close()
	comes(t, ended, "the end")
	r.Free(t)
}

// What is likely to be read next is fetched, and only if reading ahead is wanted.
func TestReadingAhead(t *testing.T) {
	r := newRig(t, 0)
	made := r.publish(images("many", 6, 200_000))
	req := r.request(made)
	m := r.mount(req)
	if m.known != nil {
		t.Error("what is next is guessed though nobody wants it")
	}
	m.Close()
	req.NoReadAhead = false
	m = r.mount(req)
	read := func(n int) {
		t.Helper()
		c, err := m.OpenContent(m.at(t, image(n)))
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 200_000)
		if k, err := c.ReadAt(t.Context(), got, 0); k != len(got) || string(got) != string(datasettest.Content(t, made, image(n))) {
			t.Errorf("%d bytes, %v", k, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	for n := range 3 {
		read(n + 1)
	}
	eventually(t, "the next one comes", func() bool {
		return r.Cache.Cache.State(m.version.Key(m.at(t, image(4)))).Presence != cache.Missing
	})
	m.Close()
	r.Free(t)
}

// Files are alike by datatype, suffix and extension, if their content has to be fetched.
func TestLikeFiles(t *testing.T) {
	r := newRig(t, 0)
	d := images("like", 2, 2000)
	for _, path := range []string{"sub-01/anat/sub-01_T2w.nii.gz", "sub-01/anat/sub-01_T1w.json", "sub-01/func/sub-01_T1w.nii.gz"} {
		d.Files = append(d.Files, maker.File{Path: path, Size: 100, Seed: 9, Annexed: true})
	}
	req := r.request(r.publish(d))
	req.NoReadAhead = false
	m := r.mount(req)
	at := func(path string) int { return slices.Index(m.shown.files, m.at(t, path)) }
	a, one := m.known, at(image(1))
	kind := a.Kind(one)
	for path, want := range map[string]bool{image(2): true, "sub-01/anat/sub-01_T2w.nii.gz": false, "sub-01/anat/sub-01_T1w.json": false, "sub-01/func/sub-01_T1w.nii.gz": false, "README": false} {
		if a.IsKind(at(path), kind) != want || (a.Kind(at(path)) == kind) != want {
			t.Errorf("%s is like %s: %v", path, image(1), !want)
		}
	}
	for path, want := range map[string]bool{"sub-01/anat/sub-01_T1w.json": true, image(2): false, "sub-01/func/sub-01_T1w.nii.gz": false} {
		if a.Partners(one, at(path)) != want {
			t.Errorf("%s goes with %s: %v", path, image(1), !want)
		}
	}
	if a.Size(one) != 2000 || a.Kind(at("README")) != "" {
		t.Errorf("%d bytes, kind %q", a.Size(one), a.Kind(at("README")))
	}
	if !a.Fetch(at("README"), true) {
		t.Error("what is here is to be fetched")
	}
}
