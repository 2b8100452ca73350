package remedy

import (
	"context"
	"errors"

	"github.com/uniharmony/uniharmonyfs/internal/plain"
)

// said is an error whose text is in part a stranger's, made harmless to show.
type said struct{ error }

func (s said) Error() string { return plain.Short(s.error.Error(), MaxSaid) }
func (s said) Unwrap() error { return s.error }

// MaxSaid is how much of an error's text is kept, in bytes.
const MaxSaid = 600

// Harmless makes an error's text harmless to show. A timeout of net passes for
// that of a context; this one must not, which would be the asker's own.
func Harmless(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = errors.New(err.Error())
	}
	return said{err}
}
