package fs

import (
	"context"
	"log/slog"
	"os"
	"syscall"
	"time"
)

// An Opener opens the content of one file of the view.
type Opener interface {
	// OpenContent returns the content of file node, a number of the tree. It
	// never waits for the network. It is called by many
	// goroutines at once; every Content is closed once.
	OpenContent(node int) (Content, error)
}

// Content is the content of one opening of a file.
type Content interface {
	// ReadAt is io.ReaderAt's, and may wait; it returns soon after ctx is
	// done, and does not use ctx after it returned. A p for which it
	// returned an error is never used again here, so that somebody still
	// writing to it does no harm.
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	// File returns the complete, verified content as an open file that the
	// kernel may read by itself, or nil. It stays open until Close.
	File() *os.File
	Close() error
}

// Control is what the hidden directory .uniharmonyfs shows: it is found by
// name in the root but not listed there.
type Control interface {
	// Names returns the names of its files, in the order they are listed;
	// always the same ones.
	Names() []string
	// Read makes the content of a file, anew each time it is opened.
	// errors.Is(err, fs.ErrNotExist) when there is no such file.
	Read(name string) ([]byte, error)
}

// Options say how a view is mounted. Target and Opener are needed.
type Options struct {
	Target     string // an existing directory
	Opener     Opener
	Control    Control // nil: no .uniharmonyfs
	FsName     string  // source in mountinfo, commas and spaces percent-encoded; "" is "uniharmonyfs"
	AllowOther bool    // other users may look; needs root or user_allow_other in /etc/fuse.conf

	// Time is the modification time of everything.
	Time time.Time

	// StatFs returns the size of the file system and what is free, in bytes.
	// nil: the view's bytes, and nothing free.
	StatFs func() (total, free uint64)

	// Errno translates what Opener, Content and Control return; 0 means that
	// the default table decides. See errno.go.
	Errno func(error) syscall.Errno

	// ObjectDir is a writable directory on the file system that
	// Content.File's files lie on; passthrough is tried out there once.
	// "": no passthrough.
	ObjectDir string

	Log   *slog.Logger // nil: slog.Default()
	Debug bool         // log every message to and from the kernel
}
