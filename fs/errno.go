package fs

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// The default table, in order. What is not in it is EIO. A file's content
// that does not exist is EIO too: ENOENT would say that the commit has no such
// file.
func defaultErrno(err error) syscall.Errno {
	for _, e := range []struct {
		is error
		no syscall.Errno
	}{
		{context.Canceled, syscall.EINTR},
		{context.DeadlineExceeded, syscall.ETIMEDOUT},
		{os.ErrDeadlineExceeded, syscall.ETIMEDOUT},
		{syscall.ENOSPC, syscall.ENOSPC},
		{syscall.EDQUOT, syscall.ENOSPC},
	} {
		if errors.Is(err, e.is) {
			return e.no
		}
	}
	return syscall.EIO
}

func (s *fileSystem) errno(err error) syscall.Errno {
	if in := new(entering); errors.As(err, in) {
		// Whoever made the part chooses among these.
		for _, no := range []syscall.Errno{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EREMOTEIO} {
			if errors.Is(in.error, no) {
				return no
			}
		}
	}
	if s.Errno != nil {
		if no := s.Errno(err); no != 0 {
			return no
		}
	}
	return defaultErrno(err)
}

// fail turns what went wrong at a place into what the kernel is told, and logs
// it: the number alone says too little.
func (s *fileSystem) fail(op string, at place, err error) fuse.Status {
	no := s.errno(err)
	if no == syscall.EINTR { // the caller was signalled: nothing went wrong
		s.Log.Debug(op+" interrupted", "path", at.at())
		return fuse.Status(no)
	}
	s.Log.Error(op+" failed", "path", at.at(), slog.Any("error", err), "errno", no.Error())
	return fuse.Status(no)
}

// entering marks why what lies below a border cannot be shown.
type entering struct{ error }

func (e entering) Unwrap() error { return e.error }

// failControl is fail for files of the control directory.
func (s *fileSystem) failControl(name string, err error) fuse.Status {
	if errors.Is(err, fs.ErrNotExist) {
		return fuse.ENOENT
	}
	no := s.errno(err)
	s.Log.Error("open failed", "path", controlName+"/"+name, slog.Any("error", err), "errno", no.Error())
	return fuse.Status(no)
}
