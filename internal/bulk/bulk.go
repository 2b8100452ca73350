// Package bulk does something to many files of a cache on behalf of one
// request: several at once, going on after failures, waiting out a network that
// is gone, and telling how far it has come.
package bulk

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// AtOnce bounds the files that a request waits for at the same time; the cache
// bounds its transfers itself.
const AtOnce = 16

// Tell is told how far a request has come. It is called from several goroutines,
// but not after the call that it was given to has returned.
type Tell func(control.Progress)

// Guard calls a function and makes an error of its panic.
type Guard func(what string, fn func()) error

// Do is the guarded call of a function that may fail.
func (g Guard) Do(what string, fn func() error) (err error) {
	if panicked := g(what, func() { err = fn() }); panicked != nil {
		return panicked
	}
	return err
}

// A File is an annexed file that a request is about.
type File struct {
	Path string
	Key  annex.Key
	Size int64 // bytes
	Use  cache.Use
	// Local says that the user's own repository has it.
	Local bool
}

// A Worker works on files of one cache. It is safe for concurrent use.
type Worker struct {
	Cache *cache.Cache
	Guard Guard
}

// Fetch brings a file into the cache, unless the user's own repository has it.
func (w Worker) Fetch(ctx context.Context, f File) error {
	if f.Local {
		return nil
	}
	return w.Cache.Fetch(ctx, f.Key, f.Use)
}

// Each does something to files. It returns those that failed, in the order of
// their paths; its error is that of ctx alone. timeout bounds the wait for a
// network that is gone; 0 is the default.
func (w Worker) Each(ctx context.Context, files []File, timeout time.Duration, tell Tell, do func(context.Context, File) error) ([]control.FileFailed, error) {
	var mu sync.Mutex // guards the following
	var failed []control.FileFailed
	now := control.Progress{Phase: control.PhaseFetch}
	patience := NewPatience(timeout)
	keys := make(map[string]bool, len(files))
	for _, f := range files {
		now.Total += f.Size
		keys[f.Key.String()] = true
	}
	stop := w.Watch(tell, keys, func() control.Progress {
		mu.Lock()
		defer mu.Unlock()
		if text := patience.Text(); text != "" {
			now.Text = text
		}
		return now
	})
	defer stop()
	var g errgroup.Group
	g.SetLimit(AtOnce)
	for _, f := range files {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			err := patience.Do(ctx, func() error { return w.Guard.Do("a file of a request", func() error { return do(ctx, f) }) })
			mu.Lock()
			defer mu.Unlock()
			if err != nil && ctx.Err() == nil {
				failed = append(failed, control.FileFailed{Path: f.Path, Why: err.Error()})
			}
			now.Done, now.Files, now.Failed, now.Text = now.Done+f.Size, now.Files+1, len(failed), f.Path
			return nil
		})
	}
	g.Wait()
	slices.SortFunc(failed, func(a, b control.FileFailed) int { return strings.Compare(a.Path, b.Path) })
	return failed, ctx.Err()
}
