package daemon

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/index"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/bulk"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/dataset"
	"github.com/uniharmony/uniharmonyfs/internal/download"
	"github.com/uniharmony/uniharmonyfs/internal/mount"
	"github.com/uniharmony/uniharmonyfs/internal/place"
)

// daemon is a running daemon.
type daemon struct {
	dir     cachedir.Dir
	options Options
	log     *slog.Logger
	cache   *cache.Cache
	index   *index.Index
	started time.Time
	place   place.Place

	mounts    *mounts
	settings  *settings
	work      bulk.Worker
	datasets  *dataset.Registry
	downloads *download.Downloads
	views     mount.Host
	life      *lifetime
}

// guarded calls fn and makes an error of its panic: a mistake in one request or
// mount must not take the others' away. The stack goes to the log.
func (d *daemon) guarded(what string, fn func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			d.log.Error("panic", "in", what, "what", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = advice.New(advice.Failed, "the daemon made a mistake", fmt.Errorf("%v", p), "its log tells more: "+d.dir.LogPath())
		}
	}()
	fn()
	return nil
}
