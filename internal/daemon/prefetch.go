package daemon

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/uniharmony/uniharmonyfs/internal/bulk"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// remote reports whether a file's content would have to be fetched to be read.
func (p *part) remote(n int) bool {
	return p.version.Kind(n) == tree.Annexed && !p.version.InPlace(n)
}

// inBudget returns what of a mount that is not served yet can be prefetched, in the
// order of the paths: what comes after the end of the budget would only push out
// what came before.
func (m *mount) inBudget() (files []int) {
	budget := m.d.cache.Budget()
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

// prefetch brings files of the mount, behind whatever is read. It ends with the
// mount.
func (m *mount) prefetch(files []int) {
	end, ok := m.d.life.begin("prefetch")
	if !ok {
		return
	}
	m.prefetching.Store(true)
	go m.d.guarded("prefetch", func() {
		defer end()
		defer m.prefetching.Store(false)
		ctx, cancel := context.WithCancel(m.ctx)
		defer cancel()
		defer context.AfterFunc(m.d.life.ctx, cancel)()
		var g errgroup.Group
		g.SetLimit(bulk.AtOnce)
		for _, n := range files {
			if ctx.Err() != nil {
				break
			}
			// What fails is in the cache's errors.
			g.Go(func() error {
				return m.d.guarded("prefetch", func() {
					if use, err := m.useOf(n); err == nil {
						m.d.cache.Fetch(ctx, m.version.Key(n), use)
					}
				})
			})
		}
		g.Wait()
		m.d.log.Info("prefetch ended", "target", m.target, "files", len(files), "err", ctx.Err())
	})
}
