package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// simMood is how a dataset's sources are today.
type simMood struct {
	outage, final, short, late, hang, panics int // percent
	lies                                     bool
	kind                                     int // exact, inexact, whole only, placer, both
}

// simOrigin is a dataset's sources.
type simOrigin struct {
	w       *world
	dataset string
}

func (o simOrigin) mood() simMood {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	return *o.w.sources[o.dataset]
}

func (o simOrigin) Sources(ctx context.Context, key annex.Key) ([]Source, error) {
	m := o.mood()
	if o.w.intn(200) < m.outage {
		return nil, source.Outage(errors.New("the list is out of reach"))
	}
	i := slices.IndexFunc(o.w.contents, func(c simContent) bool { return c.key == key })
	s := simSource{o: o, c: o.w.contents[i], exact: true}
	inexact, placer := s, simPlacer{s}
	inexact.exact = false
	switch m.kind {
	case 1:
		return []Source{inexact}, nil
	case 2:
		s.whole = true
		return []Source{s}, nil
	case 3:
		return []Source{placer}, nil
	case 4:
		return []Source{s, placer}, nil
	}
	return []Source{s, inexact}, nil
}

type simSource struct {
	o            simOrigin
	c            simContent
	exact, whole bool
}

func (s simSource) String() string {
	return fmt.Sprintf("%s exact=%v whole=%v", s.o.dataset, s.exact, s.whole)
}
func (s simSource) Exact() bool { return s.exact }

func (s simSource) Fetch(ctx context.Context, off, n int64, to io.Writer) error {
	w, m := s.o.w, s.o.mood()
	if s.whole && n < int64(len(s.c.right)) {
		return source.ErrWholeOnly
	}
	data := s.c.right
	if m.lies {
		data = s.c.wrong
	}
	for end := off + n; off < end; {
		switch p := w.intn(100); {
		case p < m.outage:
			return source.Outage(errors.New("out of reach"))
		case p < m.outage+m.final:
			return errors.New("404")
		case p < m.outage+m.final+m.short:
			return nil
		case p < m.outage+m.final+m.short+m.late:
			go func() {
				time.Sleep(time.Millisecond)
				to.Write(s.c.wrong[off:end])
			}()
			return source.Outage(errors.New("broken off"))
		case p < m.outage+m.final+m.short+m.late+m.panics:
			panic("a source's defect")
		}
		step := min(end-off, int64(1+w.intn(300<<10)))
		wait := time.Duration(w.intn(3000)) * time.Microsecond
		if w.intn(100) < m.hang {
			wait = time.Minute
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		if m.lies && s.exact {
			w.mu.Lock()
			w.lied[s.o.dataset+" "+s.c.key.String()] = true
			w.mu.Unlock()
		}
		if _, err := to.Write(data[off : off+step]); err != nil {
			return err
		}
		off += step
	}
	return nil
}

type simPlacer struct{ simSource }

func (s simPlacer) String() string { return "placer of " + s.simSource.String() }

func (s simPlacer) Place(ctx context.Context, path string, progress func(int64)) error {
	f, err := s.o.w.disk.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	at := &placeWriter{f: f, size: int64(len(s.c.right)), progress: progress}
	return s.Fetch(ctx, 0, int64(len(s.c.right)), at)
}
