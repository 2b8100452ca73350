package mount

import (
	"context"
	"slices"
	"time"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// entered is a dataset within the mount that somebody has looked into. Its list of files
// leaves memory when nobody looks for a while, and comes back from the index.
type entered struct {
	m        *Mount
	level    int
	owner    string
	datasets []string // in the cache, that it has files of
	told     control.OpenedPart

	turn    chan struct{} // had for the following; kept while the list of files comes back
	part    *Part         // nil: forgotten, and what follows is what is left
	rest    *dataset.Rest
	outline tree.Outline
	hints   []string
}

func newEntered(p *Part) *entered {
	v, view := p.version, p.shown.view
	return &entered{
		m: p.m, turn: make(chan struct{}, 1), level: p.level, owner: p.owner, datasets: v.Datasets(), part: p,
		told: control.OpenedPart{Path: p.path, Dataset: v.Spec(), Commit: string(v.Commit), Files: view.Files(), Bytes: view.Bytes()},
	}
}

// get returns the part. No network is needed.
func (e *entered) get(ctx context.Context) (*Part, error) {
	select {
	case e.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-e.turn }()
	if e.part != nil {
		return e.part, nil
	}
	v, err := e.rest.Again(ctx)
	if err != nil {
		return nil, err
	}
	view := v.Again(e.outline)
	p, err := e.m.newPart(e.told.Path, v, &dataset.Selection{Result: &bids.Result{Hints: e.hints}, View: view, Files: v.Shown(view)}, e.owner)
	if err != nil {
		return nil, err
	}
	p.level = e.level
	e.part, e.rest = p, nil
	return p, nil
}

// forget forgets the list of files, if it can come back.
func (e *entered) forget() {
	e.turn <- struct{}{}
	defer func() { <-e.turn }()
	if e.part == nil {
		return
	}
	if rest, ok := e.part.version.Rest(); ok {
		e.rest, e.outline, e.hints, e.part = rest, e.part.shown.view.Outline(), e.part.shown.hints, nil
	}
}

// release lets go of the dataset.
func (e *entered) release() {
	e.turn <- struct{}{}
	defer func() { <-e.turn }()
	if e.part != nil {
		e.part.version.Release()
	} else {
		e.rest.Release()
	}
}

const (
	// A dataset that nobody looked into for idleAfter leaves memory; idleEvery is how often
	// that is looked at.
	idleAfter = 10 * time.Minute
	idleEvery = time.Minute
)

// tidy has what nobody looks at leave memory, until the mount ends.
func (m *Mount) tidy() {
	tick := time.NewTicker(idleEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m.forget(time.Now().Add(-idleAfter))
		case <-m.ctx.Done():
			return
		}
	}
}

// forget has what nobody looked at since some time leave memory.
func (m *Mount) forget(since time.Time) {
	paths := m.served.Forget(since)
	for _, e := range m.entered() {
		if slices.Contains(paths, e.told.Path) {
			e.forget()
		}
	}
}
