package job

import (
	"context"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// A Moment is what is being done for a view.
type Moment struct {
	Files, Cached int   // of the view, and of these whose content is here
	Fetching      int   // files
	Done, Total   int64 // bytes of them
	Name          string
	Waiting       int    // readers
	Out           string // why no source can be reached, if so
}

const watchEvery = 500 * time.Millisecond

// watch tells now and then what is being done for the view, until stop is called. A
// daemon that is gone is not started again for that.
func (v *Held) watch(client *control.Client, tell func(Moment)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	only := client.Only()
	go func() {
		defer close(ended)
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if s, err := only.Status(ctx, control.StatusRequest{}); err == nil {
				if m, ok := v.moment(s); ok && ctx.Err() == nil {
					tell(m)
				}
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// moment reads a status.
func (v *Held) moment(s control.Status) (m Moment, ok bool) {
	for _, at := range s.Mounts {
		if at.Target == v.Info.Target {
			m.Files, m.Cached, ok = at.Files, at.Cached, true
		}
	}
	for _, t := range s.Store.Transfers {
		m.Fetching, m.Done, m.Total, m.Waiting = m.Fetching+1, m.Done+t.Done, m.Total+t.Total, m.Waiting+t.Waiters
		if t.Waiters > 0 || m.Name == "" {
			m.Name = t.Name
		}
		if t.Waiters > 0 && t.Out != "" {
			m.Out = t.Out
		}
	}
	return m, ok
}
