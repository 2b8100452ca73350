package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/fs"
)

// Kind says what sort of failure a [Fault] is; the command line turns it
// into an exit code.
type Kind string

// The kinds of faults.
const (
	Failed      Kind = "failed"
	Usage       Kind = "usage"
	NoMatch     Kind = "no-match"     // the selection is empty
	Unreachable Kind = "unreachable"  // dataset or source cannot be had
	NoSpace     Kind = "no-space"     // budget or disk
	CannotMount Kind = "cannot-mount" // FUSE or the target
	Partial     Kind = "partial"      // some of the files failed
	Interrupted Kind = "interrupted"
)

// A Fault is an error as it crosses the control socket: what happened, why,
// and what to do about it.
type Fault struct {
	Kind Kind     `json:"kind"`
	What string   `json:"what"`
	Why  string   `json:"why,omitempty"`
	Do   []string `json:"do,omitempty"`

	cause error // of a fault made in this process
}

func (f *Fault) Unwrap() error { return f.cause }

func (f *Fault) Error() string {
	if f.Why == "" {
		return f.What
	}
	return f.What + ": " + f.Why
}

func fault(kind Kind, what string, why error, do ...string) *Fault {
	f := &Fault{Kind: kind, What: what, Do: do, cause: why}
	if why != nil {
		f.Why = why.Error()
	}
	return f
}

// ToFault returns the fault in err, or makes one of what is known about it.
func ToFault(err error) *Fault {
	var f *Fault
	var advice *fetch.AdviceError
	var usage *bids.UsageError
	var nothing *bids.NoMatchError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &nothing):
		return &Fault{Kind: NoMatch, What: nothing.Error(), Do: nothing.Advice()}
	case errors.As(err, &usage):
		return &Fault{Kind: Usage, What: usage.Error()}
	case errors.As(err, &advice):
		kind := Unreachable
		if advice.Kind == fetch.DiskFull {
			kind = NoSpace
		}
		return &Fault{Kind: kind, What: advice.What, Why: advice.Why, Do: advice.Do}
	case errors.Is(err, fs.ErrNoFUSE), errors.Is(err, fs.ErrNoFusermount), errors.Is(err, fs.ErrNotPermitted), errors.Is(err, fs.ErrTarget), errors.Is(err, fs.ErrStale):
		return fault(CannotMount, "cannot mount", err, "uniharmonyfs doctor tells what this system lacks")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault(NoSpace, "no space", err, "free some space, or raise --budget, or choose another --cache")
	case errors.Is(err, context.Canceled):
		return fault(Interrupted, "interrupted", nil)
	}
	return fault(Failed, err.Error(), nil)
}

// list joins words for people: "a, b and c".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	n := len(words) - 1
	return fmt.Sprintf("%s and %s", strings.Join(words[:n], ", "), words[n])
}

// IsLocked reports whether err says that another daemon serves the cache.
func IsLocked(err error) bool {
	return errors.Is(err, errLocked)
}
