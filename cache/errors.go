package cache

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

var (
	// ErrOffline says that content is not here and must not be fetched.
	ErrOffline = errors.New("not cached, and fetching is switched off (offline)")
	// ErrUnverifiable says that a key's content could not be verified.
	ErrUnverifiable = errors.New("content cannot be verified")
	// ErrClosed says that the cache, or the handle, was closed.
	ErrClosed = errors.New("cache is closed")
	// ErrMismatch says that content is not what its key names.
	ErrMismatch = errors.New("content does not match its key")
)

// errWrong is what a reader gets who has read bytes of a wrong content.
var errWrong = fmt.Errorf("%w: what was read of it so far is wrong too: close it and open it again", ErrMismatch)

// NoSpaceError says that content does not fit. It is a syscall.ENOSPC.
type NoSpaceError struct {
	Need int64  // bytes
	Why  string // what stands in the way
}

func (e *NoSpaceError) Error() string {
	return fmt.Sprintf("no space for %d bytes in the cache: %s", e.Need, e.Why)
}

func (e *NoSpaceError) Unwrap() error { return syscall.ENOSPC }

// Attempt is one source that was tried, and how it failed.
type Attempt struct {
	Source string
	Err    error
}

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

// longest is how long sources that have wrong bytes are left alone at most.
const longest = 5 * time.Minute

// fail remembers a failure for a moment: the kernel asks twice for what could
// not be read, and a directory of wrong bytes must not be fetched in a loop.
// Callers hold mu.
func (c *Cache) fail(o *object, err error) {
	pause := c.options.Forget
	if errors.Is(err, ErrMismatch) {
		o.mismatch++
		pause = min(pause<<min(2*(o.mismatch-1), 20), longest)
	}
	o.failure, o.retryAt = err, time.Now().Add(pause)
}

// recentFailure returns the failure that still stands. Callers hold mu.
func (o *object) recentFailure() error {
	if o.failure != nil && time.Now().Before(o.retryAt) {
		return o.failure
	}
	o.failure = nil
	return nil
}
