// Package readplan turns the reads of one open file into what to ask its source
// for: little while it may be a look at a header, more and more when the file
// is read on. It computes and does nothing else.
package readplan

import "github.com/uniharmony/uniharmonyfs/cache/internal/partial"

type interval = partial.Interval

const (
	// ChunkSize is what requests are rounded to, in bytes. The last chunk of a
	// content is served only when the whole is verified.
	ChunkSize = 64 << 10
	// WholeUpTo is the size of files that are fetched whole: a part of one
	// takes as long.
	WholeUpTo = 1 << 20
	// restUpTo is the size of files whose rest is fetched at once when they
	// are read on.
	restUpTo = 8 << 20

	// headerLeast is what the kernel asks for when some bytes at the start are
	// read and it reads ahead as far as root's mounts let it: 16 KiB, then 64.
	headerLeast, headerMost = 80 << 10, 256 << 10
	randomChunk             = 256 << 10
	// steadyAfter is how much is read in sequence before reading on is
	// expected: the header of a NIfTI file, in whatever steps it is read, is
	// less.
	steadyAfter           = 48 << 10
	aheadLeast, aheadMost = 1 << 20, 64 << 20
	// Seeks within these bounds are what the kernel's own read-ahead does.
	backLeap, leap = 256 << 10, 1 << 20

	// A file is completed in the background when so much of it was read in
	// sequence, or so often here and there.
	completeAfter  = 32 << 20
	completeMisses = 16
	completeRandom = 64 << 20

	stepLeast, stepMost = 512 << 10, 8 << 20
	// MaxRequests is how many requests run for one file.
	MaxRequests = 8
)

// MaxStep is the length of the longest request, in bytes.
const MaxStep = stepMost

// Window follows the reads of one open file. The zero value is a file that was
// just opened. It is not safe for concurrent use.
type Window struct {
	// Sure says that the file is read on: there is no look first.
	Sure bool

	began bool
	next  int64 // end of the sequence
	run   int64 // bytes read in sequence
	ahead int64 // how far beyond next to fetch, in bytes; 0 is not at all
	until int64 // end of what is asked for ahead
	stray int   // reads out of sequence whose bytes were not here
}

// Plan is what a read asks for beyond its own bytes.
type Plan struct {
	Now      interval // at once: holds the read
	Until    int64    // then, up to there
	Steady   bool     // the file is being read on
	Complete bool     // the rest when there is time
}

// Ahead returns all that the plan wants.
func (p Plan) Ahead() interval { return interval{Off: p.Now.Off, End: max(p.Now.End, p.Until)} }

// Read notes a read, of which the bytes are here or not.
func (w *Window) Read(i interval, size int64, here bool) Plan {
	before := w.run
	inSequence := !w.began && i.Off == 0 || w.began && i.Off >= w.next-backLeap && i.Off <= w.next+leap
	if inSequence {
		if i.End > w.next {
			w.run += i.End - max(w.next, i.Off)
			w.next = i.End
		}
	} else {
		w.next, w.run, w.ahead, w.until, before = i.End, i.Len(), 0, 0, 0
		if !here {
			w.stray++
		}
	}
	first := !w.began
	w.began = true
	switch {
	case size <= WholeUpTo:
		return Plan{Now: interval{Off: 0, End: size}, Until: size, Steady: true}
	case before >= steadyAfter || w.Sure && inSequence:
		return w.steady(i, size)
	}
	step := int64(randomChunk)
	if first || before > 0 {
		step = Header(size)
	}
	now := interval{Off: i.Off / step * step, End: (i.End + step - 1) / step * step}
	if first && i.Off > 0 {
		now.Off = i.Off / ChunkSize * ChunkSize
	}
	now.End = min(now.End, size)
	return Plan{Now: now, Until: now.End, Complete: size <= completeRandom && w.stray >= completeMisses}
}

// Header is how much of a file of size bytes a first read asks for.
func Header(size int64) int64 {
	return min(max(size/64/ChunkSize*ChunkSize, headerLeast), headerMost)
}

// steady is a read of a file that is being read on.
func (w *Window) steady(i interval, size int64) Plan {
	switch {
	case size <= restUpTo: // one request
		w.ahead = MaxRequests * stepMost
	case w.ahead == 0:
		w.ahead = aheadLeast
		w.until = min(w.next+w.ahead, size)
	case w.until-w.next < w.ahead/2:
		w.ahead = min(4*w.ahead, aheadMost)
	}
	if w.until-w.next < w.ahead/2 {
		w.until = min(w.next+w.ahead, size)
	}
	return Plan{
		Now:      interval{Off: i.Off, End: min(max(i.End, i.Off+w.Step()), max(w.until, i.End))},
		Until:    w.until,
		Steady:   true,
		Complete: w.run >= completeAfter || w.run > size/4,
	}
}

// Step is the length of the requests that fill the window, in bytes.
func (w *Window) Step() int64 {
	return min(max(w.ahead/MaxRequests, stepLeast), stepMost)
}

// Last returns the offset of the last chunk of a content of size bytes, which
// is held back until the whole is verified.
func Last(size int64) int64 { return max(size-1, 0) / ChunkSize * ChunkSize }
