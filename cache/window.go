package cache

const (
	// grain is what requests are rounded to. The last grain of a content is
	// served only when the whole is verified.
	grain = 64 << 10
	// wholeUpTo is the size of files that are fetched whole: a part of one
	// takes as long.
	wholeUpTo = 1 << 20
	// restUpTo is the size of files whose rest is fetched at once when they
	// are read on.
	restUpTo = 8 << 20

	// firstLeast is what the kernel asks for when some bytes at the start are
	// read and it reads ahead as far as root's mounts let it: 16 KiB, then 64.
	firstLeast, firstMost = 80 << 10, 256 << 10
	randomGrain           = 256 << 10
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
)

// window turns the reads of one open file into what to ask for: little while
// it may be a look at a header, more and more when it is read on.
type window struct {
	began bool
	sure  bool  // that the file is read on: there is no look first
	next  int64 // end of the sequence
	run   int64 // bytes read in sequence
	ahead int64 // how far beyond next to fetch, in bytes; 0 is not at all
	until int64 // end of what is asked for ahead
	stray int   // reads out of sequence whose bytes were not here
}

// wish is what a read asks for beyond its own bytes.
type wish struct {
	now      interval // at once: holds the read
	until    int64    // then, up to there
	steady   bool     // the file is being read on
	complete bool     // the rest when there is time
}

// read notes a read, of which the bytes are here or not.
func (w *window) read(i interval, size int64, here bool) wish {
	before := w.run
	inSequence := !w.began && i.off == 0 || w.began && i.off >= w.next-backLeap && i.off <= w.next+leap
	if inSequence {
		if i.end > w.next {
			w.run += i.end - max(w.next, i.off)
			w.next = i.end
		}
	} else {
		w.next, w.run, w.ahead, w.until, before = i.end, i.len(), 0, 0, 0
		if !here {
			w.stray++
		}
	}
	first := !w.began
	w.began = true
	switch {
	case size <= wholeUpTo:
		return wish{now: interval{0, size}, until: size, steady: true}
	case before >= steadyAfter || w.sure && inSequence:
		return w.steady(i, size)
	}
	step := int64(randomGrain)
	if first || before > 0 {
		step = firstLook(size)
	}
	now := interval{i.off / step * step, (i.end + step - 1) / step * step}
	if first && i.off > 0 {
		now.off = i.off / grain * grain
	}
	now.end = min(now.end, size)
	return wish{now: now, until: now.end, complete: size <= completeRandom && w.stray >= completeMisses}
}

// firstLook is how much of a file of size bytes a first read asks for.
func firstLook(size int64) int64 {
	return min(max(size/64/grain*grain, firstLeast), firstMost)
}

// steady is a read of a file that is being read on.
func (w *window) steady(i interval, size int64) wish {
	switch {
	case size <= restUpTo: // one request
		w.ahead = lanes * stepMost
	case w.ahead == 0:
		w.ahead = aheadLeast
		w.until = min(w.next+w.ahead, size)
	case w.until-w.next < w.ahead/2:
		w.ahead = min(4*w.ahead, aheadMost)
	}
	if w.until-w.next < w.ahead/2 {
		w.until = min(w.next+w.ahead, size)
	}
	return wish{
		now:      interval{i.off, min(max(i.end, i.off+w.step()), max(w.until, i.end))},
		until:    w.until,
		steady:   true,
		complete: w.run >= completeAfter || w.run > size/4,
	}
}

// step is the length of the requests that fill the window, in bytes.
func (w *window) step() int64 {
	return min(max(w.ahead/lanes, stepLeast), stepMost)
}

const (
	stepLeast, stepMost = 512 << 10, 8 << 20
	// lanes is how many requests run for one file.
	lanes = 8
)
