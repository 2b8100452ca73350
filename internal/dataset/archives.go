package dataset

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// waits knows which content waits for which, so that nothing waits for itself: an
// archive may be said to be in an archive that is said to be in it.
type waits struct {
	mu sync.Mutex                      // guards the following
	on map[annex.Key]map[annex.Key]int // how many wait
}

var errItself = errors.New("it is said to be in an archive that is in itself")

// begin notes that key waits for on, until end is called; or it fails, if on waits for
// key already.
func (w *waits) begin(key, on annex.Key) (end func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reaches(on, key, make(map[annex.Key]bool)) {
		return nil, errItself
	}
	if w.on == nil {
		w.on = make(map[annex.Key]map[annex.Key]int)
	}
	if w.on[key] == nil {
		w.on[key] = make(map[annex.Key]int)
	}
	w.on[key][on]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.on[key][on]--; w.on[key][on] == 0 {
			delete(w.on[key], on)
		}
		if len(w.on[key]) == 0 {
			delete(w.on, key)
		}
	}, nil
}

// reaches reports whether from is to, or waits for it. Callers hold mu.
func (w *waits) reaches(from, to annex.Key, seen map[annex.Key]bool) bool {
	if from == to {
		return true
	}
	seen[from] = true
	for next := range w.on[from] {
		if !seen[next] && w.reaches(next, to, seen) {
			return true
		}
	}
	return false
}

// opened is content that is held in the cache while it is open.
type opened struct {
	*os.File
	h *cache.Handle
}

func (o *opened) Size() int64 { return o.h.Size() }

// Close lets the content go. The file is the handle's.
func (o *opened) Close() error { return o.h.Close() }

// openFor opens the whole verified content of a key that another is made of, and brings
// it into the cache if it is not there. It waits without a turn or room of the cache.
func (r *Registry) openFor(ctx context.Context, from cache.Origin, dataset string, key, forKey annex.Key) (fetch.Content, error) {
	end, err := r.waits.begin(forKey, key)
	if err != nil {
		return nil, err
	}
	defer end()
	h, err := r.Cache.Open(key, cache.Use{Origin: from, Dataset: dataset, Owner: dataset + ":archives", Name: "the archive " + key.String()})
	if err != nil {
		return nil, err
	}
	f, err := h.Wait(ctx)
	if err != nil {
		h.Close()
		return nil, err
	}
	return &opened{f, h}, nil
}
