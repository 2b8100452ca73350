package cache

import (
	"errors"
	"fmt"
	"strings"

	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/cache/internal/proof"
	"github.com/uniharmony/uniharmonyfs/cache/internal/shelf"
	"github.com/uniharmony/uniharmonyfs/cache/internal/supply"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

var (
	// ErrOffline says that content is not here and must not be fetched.
	ErrOffline = errors.New("not cached, and fetching is switched off (offline)")
	// ErrUnverifiable says that a key's content could not be verified.
	ErrUnverifiable = proof.ErrUnverifiable
	// ErrClosed says that the cache, or the handle, was closed.
	ErrClosed = errors.New("cache is closed")
	// ErrMismatch says that content is not what its key names.
	ErrMismatch = partial.ErrWrong
)

// errMisled is what a reader gets who has read bytes of a wrong content.
var errMisled = fmt.Errorf("%w: what was read of it so far is wrong too: close it and open it again", ErrMismatch)

// NoSpaceError says that content does not fit. It is a syscall.ENOSPC.
type NoSpaceError = shelf.NoSpaceError

// Attempt is one source that was tried, and how it failed.
type Attempt = supply.Attempt

// FetchError says that a key's content cannot be had from any source.
type FetchError struct {
	Key   annex.Key
	Name  string // of the file
	Tried []Attempt
}

// Error leaves the file's name out: whoever shows it says which file.
func (e *FetchError) Error() string {
	if len(e.Tried) == 0 {
		return "no source is known for its content"
	}
	var b strings.Builder
	b.WriteString("its content cannot be had")
	for i, a := range e.Tried {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%sfrom %s: %v", sep, a.Source, a.Err)
	}
	return b.String()
}

func (e *FetchError) Unwrap() []error {
	errs := make([]error, len(e.Tried))
	for i, a := range e.Tried {
		errs[i] = a.Err
	}
	return errs
}
