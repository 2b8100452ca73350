package mount

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/readahead"
)

// partFiles is what the guesser of a part of a mount knows of its files.
type partFiles struct {
	p     *Part
	place []int32 // by node: index in shown.files
	slots chan struct{}

	guesser *readahead.Predictor
}

// guesses bounds the guesses that are fetched at once.
const guesses = 2 * readahead.MaxDepth

// guess makes the part fetch what is likely to be read next.
func (p *Part) guess() {
	a := &partFiles{p: p, place: make([]int32, p.version.Len()), slots: make(chan struct{}, guesses)}
	for i, n := range p.shown.files {
		a.place[n] = int32(i)
	}
	p.known = a
	a.guesser = readahead.New(a, len(p.shown.files), min(1<<30, p.m.Cache.Budget()/8))
}

// Kind returns what the names of like files have in common: the directory's,
// which is the datatype, and suffix and extension.
func (a *partFiles) Kind(file int) string {
	n := a.p.shown.files[file]
	if !a.p.remote(n) {
		return ""
	}
	v := a.p.version
	return v.Name(v.Parent(n)) + "/" + suffix(v.Name(n))
}

// suffix is what comes after the last entity of a name.
func suffix(name string) string { return name[strings.LastIndexByte(name, '_')+1:] }

func (a *partFiles) IsKind(file int, kind string) bool {
	v, n := a.p.version, a.p.shown.files[file]
	dir, end, _ := strings.Cut(kind, "/")
	return suffix(v.Name(n)) == end && v.Name(v.Parent(n)) == dir && a.p.remote(n)
}

func (a *partFiles) Partners(x, y int) bool {
	v, n, o := a.p.version, a.p.shown.files[x], a.p.shown.files[y]
	one, _, _ := strings.Cut(v.Name(n), ".")
	two, _, _ := strings.Cut(v.Name(o), ".")
	return one == two && v.Parent(n) == v.Parent(o)
}

func (a *partFiles) Size(file int) int64 { return a.p.version.Size(a.p.shown.files[file]) }

func (a *partFiles) Fetch(file int, whole bool) bool {
	n, c := a.p.shown.files[file], a.p.m.Cache
	if !a.p.remote(n) || c.State(a.p.version.Key(n)).Presence == cache.Cached {
		return true
	}
	if !c.Idle() {
		return false
	}
	use, err := a.p.Use(n)
	if err != nil {
		return true
	}
	use.Speculative = true
	select {
	case a.slots <- struct{}{}:
	default:
		return false
	}
	bring := c.PrefetchHeader
	if whole {
		bring = c.Fetch
	}
	go a.p.m.Guard("reading ahead", func() {
		defer func() { <-a.slots }()
		bring(a.p.m.ctx, a.p.version.Key(n), use) // who reads it is told what failed
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
func (a *partFiles) watch(n int, h *cache.Handle) *reading {
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
