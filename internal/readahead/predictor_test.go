package readahead

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// shelf is files with the names of their kinds, and what was fetched of them.
type shelf struct {
	kinds   []string
	large   map[int]bool
	busy    bool
	looked  []int
	fetched []int
}

func (s *shelf) Kind(file int) string              { return s.kinds[file] }
func (s *shelf) IsKind(file int, kind string) bool { return s.kinds[file] == kind }
func (s *shelf) Partners(a, b int) bool {
	return strings.HasPrefix(s.kinds[a], "pair") && s.kinds[a][:5] == s.kinds[b][:5]
}

func (s *shelf) Size(file int) int64 {
	if s.large[file] {
		return 1000
	}
	return 10
}

func (s *shelf) Fetch(file int, whole bool) bool {
	if s.busy {
		return false
	}
	if whole {
		s.fetched = append(s.fetched, file)
	} else {
		s.looked = append(s.looked, file)
	}
	return true
}

// guessing returns n files, images and sidecars in turn.
func guessing(n int) (*shelf, *Predictor) {
	s := &shelf{large: map[int]bool{}}
	for i := range n {
		s.kinds = append(s.kinds, []string{"image", "sidecar"}[i%2])
	}
	return s, &Predictor{files: s, count: n, most: 500}
}

func ints(from, step, n int) (all []int) {
	for i := range n {
		all = append(all, from+i*step)
	}
	return all
}

func TestGuessLooksFurtherAheadWhileItComesTrue(t *testing.T) {
	s, g := guessing(200)
	for i, ahead := range []int{1, 2, 4, 8, 16, 16} {
		g.Opened(2*i, false)
		g.Closed(2*i, 1)
		if want := ints(2, 2, i+ahead); !slices.Equal(s.looked, want) {
			t.Errorf("after %d files: %v, want %v", i+1, s.looked, want)
		}
	}
	if len(s.fetched) > 0 {
		t.Errorf("%v were fetched for looks at headers", s.fetched)
	}
	// A file elsewhere is one guess.
	s.looked = nil
	g.Opened(151, false)
	if !slices.Equal(s.looked, []int{153}) {
		t.Errorf("a jump: %v", s.looked)
	}
}

func TestGuessFetchesWholeFilesForWhoReadsThem(t *testing.T) {
	s, g := guessing(200)
	s.large[16] = true
	for i := range 3 {
		g.Opened(2*i, false)
		if i == 2 && len(s.fetched) == 0 {
			t.Error("two files were read through, and the next is not fetched")
		}
		n := len(s.fetched)
		g.Closed(2*i, 10)
		if i == 2 && len(s.fetched) == n {
			t.Error("nothing new is fetched")
		}
	}
	// Up to what is too much.
	for i := 3; i < 7; i++ {
		g.Opened(2*i, true)
	}
	if want := ints(4, 2, 6); !slices.Equal(s.fetched, want) {
		t.Errorf("%v, want %v", s.fetched, want)
	}
	// Who looks at headers again gets no more of them.
	g.Opened(16, false)
	g.Closed(16, 1)
	n := len(s.fetched)
	g.Opened(18, false)
	g.Closed(18, 1)
	if len(s.fetched) != n {
		t.Errorf("%v are fetched for a look", s.fetched[n:])
	}
}

func TestGuessLearnsWhatIsLeftOut(t *testing.T) {
	s, g := guessing(400)
	for i := range 12 {
		g.Opened(4*i, false) // every other image
	}
	s.looked = nil
	for i := 12; i < 16; i++ {
		g.Opened(4*i, false)
	}
	if len(s.looked) == 0 || slices.ContainsFunc(s.looked, func(f int) bool { return f%4 != 0 }) {
		t.Errorf("%v", s.looked)
	}
}

// Several readers that share the files among them are one way through them.
func TestGuessFollowsManyReaders(t *testing.T) {
	s, g := guessing(400)
	for i := 0; i+4 <= 100; i += 4 {
		for _, k := range []int{2, 0, 3, 1} {
			g.Opened(2*(i+k), false)
		}
	}
	if len(g.lines) != 1 {
		t.Errorf("%d ways", len(g.lines))
	}
	slices.Sort(s.looked)
	if n := len(slices.Compact(slices.Clone(s.looked))); n != len(s.looked) || n < 95 {
		t.Errorf("%d looks at %d files", len(s.looked), n)
	}
}

func TestGuessWaitsForItsTime(t *testing.T) {
	s, g := guessing(100)
	s.busy = true
	for i := range 4 {
		g.Opened(2*i, false)
	}
	if s.busy = false; len(s.looked) > 0 {
		t.Error("fetched in a busy time")
	}
	g.Opened(8, false)
	if want := ints(10, 2, 16); !slices.Equal(s.looked, want) {
		t.Errorf("%v, want %v", s.looked, want)
	}
}

func TestGuessKnowsPartners(t *testing.T) {
	s := &shelf{kinds: []string{"alone", "pair1.bval", "pair1.bvec", "pair1.nii", "pair2.bval", "pair2.nii"}}
	g := &Predictor{files: s, count: len(s.kinds)}
	g.Opened(2, false)
	if slices.Sort(s.looked); !slices.Equal(s.looked, []int{1, 3}) {
		t.Errorf("%v", s.looked)
	}
}

func TestGuessIsBounded(t *testing.T) {
	s, g := guessing(0)
	for i := range 20_000 {
		s.kinds = append(s.kinds, fmt.Sprint("kind", i%100))
	}
	g.count = len(s.kinds)
	for i := range 200 {
		g.Opened(i*97%20_000, false)
	}
	if len(g.lines) > maxLines {
		t.Errorf("%d ways", len(g.lines))
	}
	// The last of its kind has none after it.
	g.Opened(len(s.kinds)-1, false)
}
