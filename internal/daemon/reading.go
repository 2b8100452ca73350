package daemon

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/readahead"
)

// mountFiles is what the guesser of a mount knows of its files.
type mountFiles struct {
	m     *mount
	place []int32 // by node: index in shown.files
	slots chan struct{}

	guesser *readahead.Predictor
}

// guesses bounds the guesses that are fetched at once.
const guesses = 2 * readahead.MaxDepth

// guess makes the mount fetch what is likely to be read next.
func (m *mount) guess() {
	a := &mountFiles{m: m, place: make([]int32, m.version.Len()), slots: make(chan struct{}, guesses)}
	for i, n := range m.shown.files {
		a.place[n] = int32(i)
	}
	m.known = a
	a.guesser = readahead.New(a, len(m.shown.files), min(1<<30, m.d.cache.Budget()/8))
}

// Kind returns what the names of like files have in common: the directory's,
// which is the datatype, and suffix and extension.
func (a *mountFiles) Kind(file int) string {
	n := a.m.shown.files[file]
	if !a.m.remote(n) {
		return ""
	}
	v := a.m.version
	return v.Name(v.Parent(n)) + "/" + suffix(v.Name(n))
}

// suffix is what comes after the last entity of a name.
func suffix(name string) string { return name[strings.LastIndexByte(name, '_')+1:] }

func (a *mountFiles) IsKind(file int, kind string) bool {
	v, n := a.m.version, a.m.shown.files[file]
	dir, end, _ := strings.Cut(kind, "/")
	return suffix(v.Name(n)) == end && v.Name(v.Parent(n)) == dir && a.m.remote(n)
}

func (a *mountFiles) Partners(x, y int) bool {
	v, n, o := a.m.version, a.m.shown.files[x], a.m.shown.files[y]
	one, _, _ := strings.Cut(v.Name(n), ".")
	two, _, _ := strings.Cut(v.Name(o), ".")
	return one == two && v.Parent(n) == v.Parent(o)
}

func (a *mountFiles) Size(file int) int64 { return a.m.version.Size(a.m.shown.files[file]) }

func (a *mountFiles) Fetch(file int, whole bool) bool {
	n, c := a.m.shown.files[file], a.m.d.cache
	if !a.m.remote(n) || c.State(a.m.version.Key(n)).Presence == cache.Cached {
		return true
	}
	if !c.Idle() {
		return false
	}
	select {
	case a.slots <- struct{}{}:
	default:
		return false
	}
	bring := c.PrefetchHeader
	if whole {
		bring = c.Fetch
	}
	go a.m.d.guarded("reading ahead", func() {
		defer func() { <-a.slots }()
		use := a.m.useOf(n)
		use.Speculative = true
		bring(a.m.ctx, a.m.version.Key(n), use) // who reads it is told what failed
	})
	return true
}

// reading is a file that is being read, of which the guesser is told.
type reading struct {
	*cache.Handle
	guesser *readahead.Predictor
	file    int
	told    sync.Once
	far     atomic.Int64 // how far it was read
}

// watch tells the guesser of a file that is read. What is here already the
// kernel reads by itself: its opening must do.
func (a *mountFiles) watch(n int, h *cache.Handle) *reading {
	r := &reading{Handle: h, guesser: a.guesser, file: int(a.place[n])}
	if h.File() != nil {
		r.told.Do(func() { r.guesser.Opened(r.file, true) })
	}
	return r
}

// ReadAt implements fs.Content.
func (r *reading) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	r.told.Do(func() {
		if r.guesser.Opened(r.file, false) {
			r.ReadThrough()
		}
	})
	n, err := r.Handle.ReadAt(ctx, p, off)
	for end := off + int64(n); ; {
		far := r.far.Load()
		if end <= far || r.far.CompareAndSwap(far, end) {
			return n, err
		}
	}
}

// Close implements fs.Content.
func (r *reading) Close() error {
	err := r.Handle.Close()
	if far := r.far.Load(); far > 0 {
		r.guesser.Closed(r.file, far)
	}
	return err
}
