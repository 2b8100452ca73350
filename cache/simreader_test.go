package cache

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// simPages are what the kernel keeps of a file.
type simPages struct {
	reads   chan struct{} // a token for each read, all for a revocation, which waits for reads
	revokes disk.Turn
	mu      sync.Mutex
	pages   map[int64][]byte
}

const simReads = 64

func (p *simPages) RLock()   { p.reads <- struct{}{} }
func (p *simPages) RUnlock() { <-p.reads }

func (p *simPages) Lock() {
	p.revokes.Lock()
	for range simReads {
		p.RLock()
	}
}

func (p *simPages) Unlock() {
	for range simReads {
		p.RUnlock()
	}
	p.revokes.Unlock()
}

// begin opens a file, or takes one that is open, and reads in the background.
func (w *world) begin(s simStep, c simContent, dataset string) {
	use := Use{
		Origin: simOrigin{w, dataset}, Dataset: dataset, Owner: dataset, Name: "x",
		Strict: s.C%5 == 0, NoReadAhead: s.C%2 == 0, Speculative: s.Do == "header",
		Patience: []time.Duration{0, time.Second, time.Minute}[s.C%3],
	}
	if s.Do == "header" || s.Do == "fetch" {
		bring := w.cache.Fetch
		if s.Do == "header" {
			bring = w.cache.PrefetchHeader
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		w.readers.Go(func() {
			defer cancel()
			bring(ctx, c.key, use)
		})
		return
	}
	h, err := w.cache.Open(c.key, use)
	if err != nil {
		w.broken("open a file: %v", err)
		return
	}
	sh := &simHandle{Handle: h, content: c, dataset: dataset, strict: use.Strict}
	sh.ctx, sh.cancel = context.WithCancel(context.Background())
	w.handles = append(w.handles, sh)
	ctx := sh.ctx
	seed := uint64(s.A)<<32 | uint64(s.B)<<16 | uint64(s.C)
	sh.busy.Go(func() {
		if s.Do == "through" {
			w.readThrough(ctx, sh)
		} else {
			rnd := rand.New(rand.NewPCG(seed, 9))
			for range 1 + rnd.IntN(12) {
				if w.readSome(ctx, sh, rnd.Int64N(int64(len(c.right))+1), 1+rnd.IntN(128<<10)) != nil {
					return
				}
			}
		}
	})
}

// readThrough reads from the start to the end. Then every byte is right.
func (w *world) readThrough(ctx context.Context, h *simHandle) {
	var got []byte
	for off := int64(0); off < int64(len(h.content.right)); {
		b := make([]byte, 100<<10)
		n, err := h.ReadAt(ctx, b, off)
		if err != nil && err != io.EOF {
			return
		}
		got = append(got, b[:n]...)
		off += int64(n)
	}
	if !bytes.Equal(got, h.content.right) && !w.wasRotten(h.content.key) {
		w.broken("%s: read from start to end, and wrong", h.content.key)
	}
}

func (w *world) wasRotten(key annex.Key) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.rotten[key]) > 0
}

// readSome reads as the kernel does: by pages, which it keeps.
func (w *world) readSome(ctx context.Context, h *simHandle, off int64, n int) error {
	pages := w.pagesOf(h.dataset, h.content.key)
	pages.RLock()
	defer pages.RUnlock()
	first := off / disk.Block * disk.Block
	end := min(off+int64(n), int64(len(h.content.right)))
	for at := first; at < end; at += 16 * disk.Block {
		b := make([]byte, 16*disk.Block)
		got, err := h.ReadAt(ctx, b, at)
		if err != nil && err != io.EOF {
			return err
		}
		want := min(int64(len(b)), int64(len(h.content.right))-at)
		if int64(got) != want {
			w.broken("%s: %d bytes at %d, want %d", h.content.key, got, at, want)
		}
		w.judge(h, b[:got], at)
		pages.mu.Lock()
		pages.pages[at] = b[:got]
		pages.mu.Unlock()
	}
	return nil
}

// judge compares what was read with what may be read.
func (w *world) judge(h *simHandle, got []byte, at int64) {
	c := h.content
	right, wrong := c.right[at:at+int64(len(got))], c.wrong[at:at+int64(len(got))]
	w.mu.Lock()
	rotten := w.rotten[c.key]
	mayLie := !h.strict && int64(len(c.right)) > 1<<20 && w.lied[h.dataset+" "+c.key.String()]
	w.mu.Unlock()
	for i := range got {
		ok := got[i] == right[i] || mayLie && got[i] == wrong[i]
		for _, r := range rotten {
			ok = ok || int64(len(r)) > at+int64(i) && got[i] == r[at+int64(i)]
		}
		if !ok {
			w.broken("%s, dataset %s, strict %v: byte %d is %d, not %d", c.key, h.dataset, h.strict, at+int64(i), got[i], right[i])
			return
		}
	}
}

func (w *world) pagesOf(dataset string, key annex.Key) *simPages {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := dataset + " " + key.String()
	if w.kernel[id] == nil {
		w.kernel[id] = &simPages{reads: make(chan struct{}, simReads), revokes: disk.NewTurn(), pages: map[int64][]byte{}}
	}
	return w.kernel[id]
}

func (w *world) revoke(key annex.Key, dataset string) {
	for _, d := range []string{"good", "evil"} {
		if dataset == "" || dataset == d {
			p := w.pagesOf(d, key)
			p.Lock()
			clear(p.pages)
			p.Unlock()
		}
	}
}
