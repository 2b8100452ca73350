package control

import (
	"context"
	"errors"
	"syscall"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
)

// ToAdvice returns the advice in err, or makes some of what is known about it.
func ToAdvice(err error) *advice.Error {
	var f *advice.Error
	var usage *filter.UsageError
	var nothing *bids.NoMatchError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &nothing):
		return &advice.Error{Kind: advice.NoMatch, What: nothing.Error(), Do: nothing.Advice()}
	case errors.As(err, &usage):
		return &advice.Error{Kind: advice.Usage, What: usage.Error()}
	case errors.Is(err, fs.ErrNoFUSE), errors.Is(err, fs.ErrNoFusermount), errors.Is(err, fs.ErrNotPermitted), errors.Is(err, fs.ErrTarget), errors.Is(err, fs.ErrStale):
		return advice.New(advice.CannotMount, "cannot mount", err, "uniharmonyfs doctor tells what this system lacks")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return advice.New(advice.NoSpace, "no space", err, "free some space, or raise --budget, or choose another --cache")
	case errors.Is(err, context.Canceled):
		return advice.New(advice.Interrupted, "interrupted", nil)
	}
	return advice.New(advice.Failed, err.Error(), nil)
}

// IsLocked reports whether err says that another daemon serves the cache.
func IsLocked(err error) bool {
	return errors.Is(err, cachedir.ErrLocked)
}
