// Package supply knows which source of a content is asked next, and how those
// asked before failed. It asks nobody.
//
// A failure has one of two classes (package source): an outage may pass by itself,
// and the source gets another chance for as long as somebody has patience; any
// other is final. A source that had wrong bytes gets one more chance, since the
// fault may lie with the way.
package supply

import (
	"slices"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// An Attempt is one source that was tried, and how it failed.
type Attempt struct {
	Source string
	Err    error
}

// A Supply is the sources of one content. The zero value has not been asked for
// them yet. Callers see to it that one goroutine at a time uses it.
type Supply struct {
	loaded  bool
	list    []source.Source
	failed  []error // by source; nil: it may be asked
	blamed  []bool  // by source: it had wrong bytes once
	listErr error   // why there may be more
	rounds  int     // outages in a row
	resume  time.Time
}

// Load takes the sources, best first; err says why there may be more.
func (s *Supply) Load(list []source.Source, err error) {
	*s = Supply{loaded: true, list: list, listErr: err, rounds: s.rounds, failed: make([]error, len(list)), blamed: make([]bool, len(list))}
}

// Loaded reports whether the sources are known.
func (s *Supply) Loaded() bool { return s.loaded }

// Current returns the source that is to be asked, and its number; or nil, and -1.
func (s *Supply) Current() (source.Source, int) {
	for i, from := range s.list {
		if s.failed[i] == nil {
			return from, i
		}
	}
	return nil, -1
}

// Exact reports whether what comes next is of the exact version, as far as is
// known.
func (s *Supply) Exact() bool {
	from, _ := s.Current()
	return from == nil || from.Exact()
}

// Is reports whether source i has this name: the sources may have been asked for
// anew since.
func (s *Supply) Is(i int, name string) bool {
	return i >= 0 && i < len(s.list) && s.list[i].String() == name
}

// Name is what source i is called.
func (s *Supply) Name(i int) string { return s.list[i].String() }

// Wrap replaces source i.
func (s *Supply) Wrap(i int, wrap func(source.Source) source.Source) { s.list[i] = wrap(s.list[i]) }

// Fail takes note that source i failed, and reports whether that is news.
func (s *Supply) Fail(i int, err error) bool {
	if i < 0 || i >= len(s.list) || s.failed[i] != nil {
		return false
	}
	s.failed[i] = err
	return true
}

// Blame finds out whose wrong bytes were that sources of these names had sent: of
// several the first is asked again alone, since whose they were shows when one has
// sent all. It returns those that had wrong bytes a second time.
func (s *Supply) Blame(names []string) (guilty []int) {
	var from []int
	for i, one := range s.list {
		if slices.Contains(names, one.String()) {
			from = append(from, i)
		}
	}
	if _, i := s.Current(); len(from) == 0 && i >= 0 {
		from = []int{i}
	}
	for _, i := range from[:min(len(from), 1)] {
		if s.blamed[i] {
			guilty = append(guilty, i)
		}
		s.blamed[i] = true
	}
	return guilty
}

// Tried lists how the sources failed.
func (s *Supply) Tried() (all []Attempt) {
	for i, err := range s.failed {
		if err != nil {
			all = append(all, Attempt{Source: s.list[i].String(), Err: err})
		}
	}
	if s.listErr != nil {
		all = append(all, Attempt{Source: "the list of sources", Err: s.listErr})
	}
	return all
}

// Unknown returns why no source is known, if that is so.
func (s *Supply) Unknown() error {
	if len(s.list) > 0 {
		return nil
	}
	return s.listErr
}

// IsOut reports whether a source may come back by itself.
func (s *Supply) IsOut() bool {
	return source.IsOutage(s.listErr) || slices.ContainsFunc(s.failed, source.IsOutage)
}

// Pause leaves the sources alone for a while, longer each time in a row, and
// returns until when.
func (s *Supply) Pause(now time.Time) time.Time {
	s.resume = now.Add(min(200*time.Millisecond<<min(s.rounds, 10), 5*time.Second))
	s.rounds++
	return s.resume
}

// Paused returns until when the sources are left alone; zero when they are not.
func (s *Supply) Paused() time.Time { return s.resume }

// Rounds is how often in a row all sources were out of reach.
func (s *Supply) Rounds() int { return s.rounds }

// Progressed says that something came: the next outage is the first one.
func (s *Supply) Progressed() { s.rounds = 0 }

// Again gives the sources that were out of reach another chance.
func (s *Supply) Again() {
	if source.IsOutage(s.listErr) {
		*s = Supply{rounds: s.rounds}
		return
	}
	for i, err := range s.failed {
		if source.IsOutage(err) {
			s.failed[i] = nil
		}
	}
	s.resume = time.Time{}
}
