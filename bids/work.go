package bids

import (
	"context"
	"errors"
)

// ErrTooMuch says that a selection would take longer than any real dataset
// needs: its files apply to each other, or name each other, too often.
var ErrTooMuch = errors.New("the dataset's files name each other too often to find out which belong together; select less, or leave companions out with --companions none")

// work counts what a selection has done. Names and contents are a stranger's:
// loops over them ask whether to go on, and leave when the answer is no. What
// they have found by then is not used: the selection fails with err.
type work struct {
	ctx   context.Context
	left  int // steps, of some ten nanoseconds
	until int // value of left at which ctx is looked at
	err   error
}

const (
	stepsOfFile = 400
	stepsAtAll  = 400_000_000
	stepsOfLook = 10_000
	// bytesOfStep is how much of a file is read in the time of a step.
	bytesOfStep = 8
)

func (c *Catalog) newWork() work {
	w := work{ctx: c.ctx, left: c.steps + stepsOfFile*len(c.names.Files)}
	w.until = w.left
	return w
}

// more takes note of n steps that come, and reports whether to take them.
func (w *work) more(n int) bool {
	w.left -= n
	switch {
	case w.err != nil:
		return false
	case w.left < 0:
		w.err = ErrTooMuch
	case w.left <= w.until:
		w.until = w.left - stepsOfLook
		if w.ctx != nil {
			w.err = w.ctx.Err()
		}
	}
	return w.err == nil
}

// Until returns the catalog for questions that end with ctx: their error is
// ctx's then.
func (c *Catalog) Until(ctx context.Context) *Catalog {
	with := *c
	with.ctx = ctx
	return &with
}
