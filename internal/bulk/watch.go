package daemon

import (
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// watch reports progress until it is stopped: what state says, and what has
// come of the keys under way.
func (d *daemon) watch(r *reply, keys map[string]bool, state func() control.Progress) (stop func()) {
	report := func() {
		p := state()
		for _, t := range d.cache.Status().Transfers {
			if keys[t.Key] {
				p.Done += t.Done
				p.Text = t.Name
			}
		}
		p.Done = min(p.Done, p.Total)
		r.progress(p)
	}
	quit, gone := make(chan struct{}), make(chan struct{})
	go d.guarded("progress", func() {
		defer close(gone)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				report()
				return
			case <-tick.C:
				report()
			}
		}
	})
	return func() { close(quit); <-gone }
}
