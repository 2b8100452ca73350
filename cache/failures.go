package cache

import (
	"errors"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/shelf"
)

// failures are what lately could not be had, and until when that stands: the
// kernel asks twice for what could not be read, and a directory of wrong bytes
// must not be fetched in a loop. A failure is one dataset's: its sources say
// nothing about those of others. Only failures that cannot pass by themselves
// are in here.
type failures struct {
	by    map[shelf.ID]*failure
	swept int // how many there were after the last sweep
}

type failure struct {
	err        error
	until      time.Time
	mismatches int // times that every source had other bytes
}

// longest is how long sources that have wrong bytes are left alone at most.
const longest = 5 * time.Minute

// note remembers a failure.
func (fs *failures) note(id shelf.ID, err error, ttl time.Duration) {
	if fs.by == nil {
		fs.by = make(map[shelf.ID]*failure)
	}
	f := fs.by[id]
	if f == nil {
		fs.sweep()
		f = &failure{}
		fs.by[id] = f
	}
	if errors.Is(err, ErrMismatch) {
		f.mismatches++
		ttl = min(ttl<<min(2*(f.mismatches-1), 20), longest)
	}
	f.err, f.until = err, time.Now().Add(ttl)
}

// recent returns the failure that still stands.
func (fs *failures) recent(id shelf.ID) error {
	if f := fs.by[id]; f != nil && time.Now().Before(f.until) {
		return f.err
	}
	return nil
}

// suspect reports whether the dataset's sources had wrong bytes lately.
func (fs *failures) suspect(id shelf.ID) bool { return fs.by[id] != nil && fs.by[id].mismatches > 0 }

// over takes note that the content was had.
func (fs *failures) over(id shelf.ID) { delete(fs.by, id) }

// sweep forgets what is long over, each time that there are twice as many as before.
func (fs *failures) sweep() {
	if len(fs.by) < 2*fs.swept+64 {
		return
	}
	for id, f := range fs.by {
		if time.Since(f.until) > longest {
			delete(fs.by, id)
		}
	}
	fs.swept = len(fs.by)
}
