package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/cache/internal/proof"
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
type NoSpaceError struct {
	Need int64  // bytes
	Why  string // what stands in the way
	// Never says that waiting for others to free room would not help.
	Never bool
}

func (e *NoSpaceError) Error() string {
	return fmt.Sprintf("no space for %d bytes in the cache: %s", e.Need, e.Why)
}

func (e *NoSpaceError) Unwrap() error { return syscall.ENOSPC }

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

// isDamage reports whether what came of looking at a published file is evidence
// that it is not the object: a wrong size or hash on a successful read, or that
// there is no such file. Everything else (no descriptors, no memory, a disk
// that fails at the moment) says nothing about the content.
func isDamage(err error) bool {
	return errors.Is(err, ErrMismatch) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, disk.ErrNotRegular)
}

// failures are what lately could not be had, and until when that stands: the
// kernel asks twice for what could not be read, and a directory of wrong bytes
// must not be fetched in a loop. A failure is one dataset's: its sources say
// nothing about those of others. Only failures that cannot pass by themselves
// are in here.
type failures map[fillID]*failure

type fillID struct {
	key     annex.Key
	dataset string
}

type failure struct {
	err        error
	until      time.Time
	mismatches int // times that every source had other bytes
}

// longest is how long sources that have wrong bytes are left alone at most.
const longest = 5 * time.Minute

// note remembers a failure.
func (fs *failures) note(id fillID, err error, ttl time.Duration) {
	if *fs == nil {
		*fs = make(failures)
	}
	f := (*fs)[id]
	if f == nil {
		f = &failure{}
		(*fs)[id] = f
	}
	if errors.Is(err, ErrMismatch) {
		f.mismatches++
		ttl = min(ttl<<min(2*(f.mismatches-1), 20), longest)
	}
	f.err, f.until = err, time.Now().Add(ttl)
}

// recent returns the failure that still stands.
func (fs failures) recent(id fillID) error {
	if f := fs[id]; f != nil && time.Now().Before(f.until) {
		return f.err
	}
	return nil
}

// suspect reports whether the dataset's sources had wrong bytes lately.
func (fs failures) suspect(id fillID) bool { return fs[id] != nil && fs[id].mismatches > 0 }

// sweep forgets what is long over.
func (fs failures) sweep() {
	for id, f := range fs {
		if time.Since(f.until) > longest {
			delete(fs, id)
		}
	}
}
