package download

import (
	"sync"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/beneath"
	"github.com/uniharmony/uniharmonyfs/internal/bulk"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// Options are what downloads work with. All but Git are needed.
type Options struct {
	Dir      cachedir.Dir
	Cache    *cache.Cache
	Datasets *dataset.Registry
	Git      string // path of the git program, "" when there is none
	Guard    bulk.Guard
	Settings Settings
	// Mounts returns where something is mounted.
	Mounts func() []string
}

// Settings are kept for later downloads.
type Settings interface {
	SetBudget(bytes int64) error
	// Speed is that of the last download, in bytes a second; 0 when there was none.
	Speed() float64
	SetSpeed(bytesPerSecond float64)
}

// Out is where a download tells what it does: a plan as an item, and progress. It
// is safe for concurrent use.
type Out interface {
	Progress(control.Progress)
	Item(v any) error
	Flush()
}

// Downloads are those of one cache. It is safe for concurrent use.
type Downloads struct {
	Options
	work    bulk.Worker
	targets targetLocks
}

// New returns the downloads of a cache.
func New(o Options) *Downloads {
	return &Downloads{Options: o, work: bulk.Worker{Cache: o.Cache, Guard: o.Guard}}
}

// get is a download in progress: the files of a view, copied from the cache
// into a directory. A file appears there under its name only when it is whole.
type get struct {
	d      *Downloads
	req    control.GetRequest
	v      *dataset.Version
	view   *tree.View
	files  []int
	use    func(node int) cache.Use
	owner  string
	target *beneath.Dir
	annex  *beneath.Dir  // in direct mode: where git-annex keeps content; nil before there is one
	made   []string      // directories above and of the target that were missing
	direct *fetch.Direct // nil in hidden mode
	wait   *bulk.Patience
	did    outcome
}

// outcome is what has come of a download so far.
type outcome struct {
	mu      sync.Mutex   // guards the following
	done    map[int]bool // nodes
	failed  []control.FileFailed
	fetched int64 // bytes
	full    error // why a disk takes no more
}
