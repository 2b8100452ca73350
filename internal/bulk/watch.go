package bulk

import (
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// Watch tells five times a second, and once more when it is stopped, how far a
// request has come: what state says, and what has come of the keys under way.
func (w Worker) Watch(tell Tell, keys map[string]bool, state func() control.Progress) (stop func()) {
	report := func() {
		p := state()
		for _, t := range w.Cache.Status().Transfers {
			if keys[t.Key] {
				p.Done += t.Done
				p.Text = t.Name
			}
		}
		p.Done = min(p.Done, p.Total)
		tell(p)
	}
	quit, gone := make(chan struct{}), make(chan struct{})
	go w.Guard("progress", func() {
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
