package mount

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/uniharmony/uniharmonyfs/internal/bulk"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// remote reports whether a file's content would have to be fetched to be read.
func (p *Part) remote(n int) bool {
	return p.version.Kind(n) == tree.Annexed && !p.version.InPlace(n)
}

// inBudget returns what of a mount that is not served yet can be prefetched, in the
// order of the paths: what comes after the end of the budget would only push out
// what came before.
func (m *Mount) inBudget() (files []int) {
	budget := m.Cache.Budget()
	var bytes int64
	for _, n := range m.shown.files {
		if !m.remote(n) {
			continue
		}
		if bytes += m.version.Size(n); bytes > budget {
			m.shown.hints = append(m.shown.hints, fmt.Sprintf("the files take more than the budget of %d bytes: only the first %d are prefetched", budget, len(files)))
			break
		}
		files = append(files, n)
	}
	return files
}

// Prefetch brings in the background what the mount shows, behind whatever is read, until
// ctx or the mount ends. end is called at its end.
func (m *Mount) Prefetch(ctx context.Context, end func()) {
	m.prefetching.Store(true)
	go m.Guard("prefetch", func() {
		defer end()
		defer m.prefetching.Store(false)
		inside, cancel := context.WithCancel(m.ctx)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		var g errgroup.Group
		g.SetLimit(bulk.AtOnce)
		for _, n := range m.prefetched {
			if inside.Err() != nil {
				break
			}
			// What fails is in the cache's errors.
			g.Go(func() error {
				return m.Guard("prefetch", func() {
					if use, err := m.Use(n); err == nil {
						m.Cache.Fetch(inside, m.version.Key(n), use)
					}
				})
			})
		}
		g.Wait()
		m.Log.Info("prefetch ended", "target", m.Target(), "files", len(m.prefetched), "err", inside.Err())
	})
}
