package supply

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// place is a source that is never asked.
type place struct {
	name  string
	exact bool
}

func (p place) String() string                                       { return p.name }
func (p place) Exact() bool                                          { return p.exact }
func (p place) Fetch(context.Context, int64, int64, io.Writer) error { panic("asked") }

var (
	errOut   = source.Outage(errors.New("out of reach"))
	errFinal = errors.New("404")
)

// of is a supply of sources by name, of which the first is exact.
func of(names ...string) *Supply {
	var s Supply
	var list []source.Source
	for i, name := range names {
		list = append(list, place{name, i == 0})
	}
	s.Load(list, nil)
	return &s
}

func (s *Supply) now() string {
	from, i := s.Current()
	if from == nil {
		return ""
	}
	if !s.Is(i, from.String()) {
		return "inconsistent"
	}
	return from.String()
}

func TestSourcesAreAskedInTurn(t *testing.T) {
	s := of("a", "b", "c")
	if s.now() != "a" || !s.Exact() {
		t.Errorf("first %s", s.now())
	}
	if !s.Fail(0, errFinal) || s.Fail(0, errOut) || s.Fail(-1, errFinal) || s.Fail(3, errFinal) {
		t.Error("a failure is news once")
	}
	if s.now() != "b" || s.Exact() || s.IsOut() {
		t.Errorf("then %s", s.now())
	}
	s.Fail(1, errOut)
	if s.now() != "c" || !s.IsOut() {
		t.Errorf("then %s", s.now())
	}
	s.Fail(2, errFinal)
	if s.now() != "" || !s.Exact() || !s.IsOut() {
		t.Errorf("none is left, and %s", s.now())
	}
	var tried []string
	for _, a := range s.Tried() {
		tried = append(tried, a.Source)
	}
	if !slices.Equal(tried, []string{"a", "b", "c"}) {
		t.Errorf("tried %q", tried)
	}
	// Only who was out of reach comes back.
	s.Again()
	if s.now() != "b" || s.IsOut() {
		t.Errorf("again %s", s.now())
	}
}

func TestListThatCannotBeHad(t *testing.T) {
	var s Supply
	if s.Loaded() || s.IsOut() || s.now() != "" {
		t.Error("before it was asked for")
	}
	s.Load(nil, errOut)
	if !s.Loaded() || !s.IsOut() || !errors.Is(s.Unknown(), errOut) || len(s.Tried()) != 1 {
		t.Errorf("%+v", s)
	}
	s.Pause(time.Now())
	s.Again() // it is asked for anew, and that it was out before counts
	if s.Loaded() || s.Rounds() != 1 || !s.Paused().IsZero() {
		t.Errorf("%+v", s)
	}
	s.Load(nil, errFinal)
	if s.IsOut() || s.Rounds() != 1 {
		t.Errorf("%+v", s)
	}
	half := of("a")
	half.Load([]source.Source{place{"a", true}}, errFinal)
	if half.Unknown() != nil || half.now() != "a" {
		t.Error("a list that is not whole has sources")
	}
}

// Wrong bytes have a second chance; of several senders one is found at a time.
func TestBlame(t *testing.T) {
	for name, tc := range map[string]struct {
		rounds [][]string
		guilty []string
	}{
		"one twice":              {[][]string{{"b"}, {"b"}}, []string{"b"}},
		"two, the first twice":   {[][]string{{"a", "b"}, {"b", "a"}}, []string{"a"}},
		"one each":               {[][]string{{"a"}, {"b"}}, nil},
		"nobody known":           {[][]string{{"x"}, {}}, []string{"a"}},
		"once":                   {[][]string{{"c"}}, nil},
		"one that is long known": {[][]string{{"c"}, {"a"}, {"c"}}, []string{"c"}},
	} {
		s := of("a", "b", "c")
		var guilty []string
		for _, names := range tc.rounds {
			for _, i := range s.Blame(names) {
				guilty = append(guilty, s.Name(i))
			}
		}
		if !slices.Equal(guilty, tc.guilty) {
			t.Errorf("%s: %q", name, guilty)
		}
	}
	if got := of().Blame([]string{"a"}); got != nil {
		t.Errorf("of none: %v", got)
	}
}

// Sources are left alone longer each time, but never for long, and the first
// progress makes the next outage the first one.
func TestPauses(t *testing.T) {
	s := of("a")
	now := time.Now()
	last := time.Duration(0)
	for n := range 40 {
		d := s.Pause(now).Sub(now)
		if d < last || d <= 0 || d > 5*time.Second || s.Rounds() != n+1 || !s.Paused().Equal(now.Add(d)) {
			t.Fatalf("the %d-th pause is %v after %v", n, d, last)
		}
		last = d
	}
	if last != 5*time.Second {
		t.Errorf("at last %v", last)
	}
	s.Progressed()
	if d := s.Pause(now).Sub(now); d > time.Second {
		t.Errorf("after progress %v", d)
	}
	s.Load(nil, nil)
	if !s.Paused().IsZero() || s.Rounds() != 1 {
		t.Error("what is loaded anew is paused, or forgot")
	}
}

func TestNamesTellSourcesApart(t *testing.T) {
	s := of("a", "b")
	if !s.Is(1, "b") || s.Is(1, "a") || s.Is(2, "b") || s.Is(-1, "a") {
		t.Error("wrong")
	}
	s.Wrap(1, func(from source.Source) source.Source { return place{from.String() + ", whole", false} })
	if !s.Is(1, "b, whole") {
		t.Errorf("it is %s", s.Name(1))
	}
}
