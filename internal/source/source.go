// Package source is the contract between the cache, which wants the content of
// git-annex keys, and the places that may have it.
//
// What every source promises:
//
//   - Fetch writes bytes in order and none after it has returned. It writes
//     what the place sent, or fails; it never fills a gap.
//   - An error says what kind of failure it is: [Outage] marks one that may
//     pass by itself (no network, a busy or silent server), [ErrWholeOnly] a
//     place that gives no parts. Any other error is final: the place does not
//     have the content, or has other bytes, or must not be asked.
//   - An error of the writer comes back as it is (errors.Is finds it), and is
//     no fault of the place.
//   - When ctx ends, it returns soon with ctx's error.
//   - It is safe for concurrent use.
package source

import (
	"context"
	"errors"
	"io"
)

// A Source is one place that may have a key's content.
type Source interface {
	// String names the place for people; it holds no password.
	String() string
	// Exact reports whether the place names this very version of the content,
	// so that its bytes can hardly be others: a versioned URL does, a plain one
	// does not.
	Exact() bool
	// Fetch writes the bytes [off, off+n) of the content to w. It returns nil
	// only when all were written. It may try again by itself within a short
	// bound, going on where it was.
	Fetch(ctx context.Context, off, n int64, w io.Writer) error
}

// A Placer is a Source that brings the whole content as a file at path, which
// does not exist yet and lies on the cache's file system. It is called instead
// of Fetch. After an error the caller removes what is at path. progress is told
// how many bytes are there.
type Placer interface {
	Source
	Place(ctx context.Context, path string, progress func(done int64)) error
}

// A Preparer is a Placer that needs something else to be brought first, which may
// take turns and room of the same cache. Prepare brings it, before the caller takes a
// turn or makes room itself, and returns the Placer that has it. release is called
// once when that is not wanted any more, unless there was an error.
type Preparer interface {
	Placer
	Prepare(ctx context.Context) (ready Placer, release func(), err error)
}

// ErrWholeOnly says that a place gives the whole content only, not a part.
var ErrWholeOnly = errors.New("the place gives only the whole content")

// outage is a failure that may pass by itself.
type outage struct{ error }

func (o outage) Unwrap() error { return o.error }

// Outage marks a failure as one that may pass by itself, without anything being
// done about it: the same request may succeed later. It returns nil for nil.
func Outage(err error) error {
	if err == nil {
		return nil
	}
	return outage{err}
}

// IsOutage reports whether a failure may pass by itself.
func IsOutage(err error) bool { return errors.As(err, new(outage)) }
