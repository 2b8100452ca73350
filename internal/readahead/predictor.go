package readahead

import (
	"math"
	"slices"
	"sync"
)

// Files is what is known of the files, and how they are fetched.
type Files interface {
	// Kind returns what sort of file it is, "" when there is nothing to fetch
	// for it.
	Kind(file int) string
	// IsKind reports whether it is of the kind; it is called often.
	IsKind(file int, kind string) bool
	// Partners reports whether two files differ in their extensions only.
	Partners(a, b int) bool
	Size(file int) int64
	// Fetch brings a file, or only what a look at its start takes. It does not
	// wait, and reports false when this is not the time.
	Fetch(file int, whole bool) bool
}

// Predictor guesses what is read next. BIDS tools go through files of one kind
// in the order of their names: the next run, echo, part, then the next session
// and subject. A guess that comes true makes for more of them; one that does
// not costs a look at one file.
//
// It knows files by their index in the byte order of paths. It is safe for
// concurrent use.
type Predictor struct {
	files Files
	count int   // files
	most  int64 // bytes to fetch whole ahead of a reader

	mu    sync.Mutex // guards the following
	lines []*line    // the one used last is the last
}

// New returns a predictor for count files, which fetches at most so many bytes
// of whole files ahead of a reader.
func New(files Files, count int, most int64) *Predictor {
	return &Predictor{files: files, count: count, most: most}
}

// line is a way through the files of a kind.
type line struct {
	kind   string
	at     int   // the file furthest on
	past   []int // passed lately
	next   []int // what is thought to follow, ascending
	seen   int   // next holds all that follow before this file
	passed int   // of the kind, before seen
	depth  int   // how many of next are fetched
	step   int   // every which one of the kind is read
	skip   int   // how many of next were passed over, the last time
	skips  int   // how often in a row
	whole  int   // files in a row that were read to more than half
	// The last files whose start, and all of which, was fetched.
	looked, fetched int
}

const (
	maxLines = 16
	MaxDepth = 16
	// wholeAfter is how many files in a row must have been read through before
	// the next are fetched whole, and maxWhole how many at once.
	wholeAfter, maxWhole = 2, 4
	// lookAround bounds the search for the next file of a kind.
	lookAround = 4096
	lookBack   = 64
	strideSure = 3
)

// Opened takes note that a file is being read, and fetches what may follow;
// here says that its content had come already. Who goes through whole files
// has the link alone meanwhile: through reports that the file is one of these.
func (g *Predictor) Opened(file int, here bool) (through bool) {
	kind := g.files.Kind(file)
	if kind == "" {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.line(file, kind, !here); l != nil {
		through = l.through()
		if here || !through {
			l.fetch(g)
		}
	}
	for _, step := range []int{-1, 1} {
		for f := file + step; !here && f >= 0 && f < g.count && g.files.Partners(file, f); f += step {
			g.files.Fetch(f, false)
		}
	}
	return through
}

// Closed takes note of how far a file was read, in bytes.
func (g *Predictor) Closed(file int, read int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.IndexFunc(g.lines, func(l *line) bool { return l.has(file) })
	if i < 0 {
		return
	}
	l := g.lines[i]
	if read > g.files.Size(file)/2 {
		l.whole++
	} else {
		l.whole = 0
	}
	if l.through() {
		l.fetch(g)
	}
}

// line returns the way that a file is on, beginning one if that is wished, or
// nil. Callers hold mu.
func (g *Predictor) line(file int, kind string, begin bool) *line {
	for i, l := range g.lines {
		if l.kind != kind {
			continue
		}
		k := slices.Index(l.next, file)
		if k < 0 && !l.has(file) {
			continue
		}
		g.lines = append(slices.Delete(g.lines, i, i+1), l)
		if k < 0 {
			l.skips = 0 // passed over, but not left out
			return l
		}
		l.advance(k)
		l.look(g)
		return l
	}
	if !begin {
		return nil
	}
	l := &line{kind: kind, at: file, past: []int{file}, seen: file + 1, depth: 1, step: 1, looked: file, fetched: file}
	// The first of many readers is not always the one with the first file.
	for f := file - 1; f >= max(0, file-lookBack) && len(l.past) < MaxDepth; f-- {
		if g.files.IsKind(f, kind) {
			l.past = append(l.past, f)
		}
	}
	l.look(g)
	g.lines = append(g.lines, l)
	if len(g.lines) > maxLines {
		g.lines = slices.Delete(g.lines, 0, 1)
	}
	return l
}

// has reports whether the way led over the file.
func (l *line) has(file int) bool { return slices.Contains(l.past, file) }

// advance goes on to next[k].
func (l *line) advance(k int) {
	l.depth = min(2*l.depth, MaxDepth)
	if k == l.skip && k > 0 {
		l.skips++
	} else {
		l.skip, l.skips = k, 0
	}
	l.at = l.next[k]
	l.past = append(l.past, l.next[:k+1]...)
	l.past = l.past[max(0, len(l.past)-2*MaxDepth):]
	l.next = slices.Delete(l.next, 0, k+1)
	if k > 0 && l.skips >= strideSure {
		l.step, l.skip, l.skips = l.step*(k+1), 0, 0
		l.next, l.seen, l.passed = l.next[:0], l.at+1, 0
	}
}

// look finds what follows.
func (l *line) look(g *Predictor) {
	for ; l.seen < min(g.count, l.at+lookAround) && len(l.next) < 2*MaxDepth; l.seen++ {
		if !g.files.IsKind(l.seen, l.kind) {
			continue
		}
		if l.passed++; l.passed%l.step == 0 {
			l.next = append(l.next, l.seen)
		}
	}
}

// through reports whether the files are read from start to end.
func (l *line) through() bool { return l.whole >= wholeAfter }

// fetch fetches of next what it has not yet.
func (l *line) fetch(g *Predictor) {
	depth, done, room := min(l.depth, len(l.next)), &l.looked, int64(math.MaxInt64)
	if l.through() {
		depth, done, room = min(depth, maxWhole), &l.fetched, g.most
	}
	for _, f := range l.next[:depth] {
		if room -= g.files.Size(f); room < 0 {
			return
		}
		if f <= *done {
			continue
		}
		if !g.files.Fetch(f, l.through()) {
			return
		}
		*done = f
	}
}
