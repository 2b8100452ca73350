package daemon

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/uniharmony/uniharmonyfs/internal/bulk"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// remote reports whether a file's content would have to be fetched to be read.
func (m *mount) remote(n int) bool {
	return m.version.Kind(n) == tree.Annexed && !m.version.InPlace(m.version.Key(n))
}

// prefetch brings all that the mount shows, in the order of the paths, behind
// whatever is read. It stops where the budget ends: what comes later would
// only push out what came before. It ends with the mount.
func (m *mount) prefetch() {
	budget := m.d.cache.Budget()
	var files []int
	var bytes int64
	for _, n := range m.files {
		if !m.remote(n) {
			continue
		}
		if bytes += m.version.Size(n); bytes > budget {
			m.hints = append(m.hints, fmt.Sprintf("the files take more than the budget of %d bytes: only the first %d are prefetched", budget, len(files)))
			break
		}
		files = append(files, n)
	}
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
				return m.d.guarded("prefetch", func() { m.d.cache.Fetch(ctx, m.version.Key(n), m.use(n)) })
			})
		}
		g.Wait()
		m.d.log.Info("prefetch ended", "target", m.target, "files", len(files), "err", ctx.Err())
	})
}
