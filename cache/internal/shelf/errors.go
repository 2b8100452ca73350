package shelf

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
)

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

// IsDamage reports whether what came of looking at a published file is evidence
// that it is not the object: a wrong size or hash on a successful read, or that
// there is no such file. Everything else (no descriptors, no memory, a disk
// that fails at the moment) says nothing about the content.
func IsDamage(err error) bool {
	return errors.Is(err, partial.ErrWrong) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, disk.ErrNotRegular)
}
