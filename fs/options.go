package fs

import (
	"context"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// An Opener opens the content of one file of the view.
type Opener interface {
	// OpenContent returns the content of file node, a number of the tree. It
	// never waits for the network. It is called by many
	// goroutines at once; every Content is closed once.
	OpenContent(node int) (Content, error)
}

// A Part is a view with what belongs to it. The mount itself is one, and so is what
// lies below each border of a part.
type Part struct {
	View   *tree.View
	Opener Opener
	Time   time.Time // the modification time of everything
	// Borders are where other parts lie; nil: nowhere.
	Borders Borders
	// Members are directories at the root that the view does not have; nil: none. They
	// are told apart by ==.
	Members Members
}

// Members are directories that are found by name, and need not be listed. There is a part
// below each. Methods are called by many goroutines at once.
type Members interface {
	// Names returns the names that are listed. None ever goes, and new ones come at the
	// end: see [Mounted.Relist].
	Names() []string
	// Find returns nil if there is a member of that name, and an error that wraps
	// io/fs.ErrNotExist if there is none. Of names that are not listed it may wait, as
	// Enter does; what it found it finds again.
	Find(ctx context.Context, name string) error
	// Enter returns what lies below a member, as [Borders] do.
	Enter(ctx context.Context, name string) (*Part, error)
}

// Borders are the directories of a part that are empty in its view, and below which
// there is another part. They must always be the same ones. Methods are called by many
// goroutines at once.
type Borders interface {
	// Has reports whether a directory, a number of the tree, is a border.
	Has(dir int) bool
	// Enter returns what lies below a border, the first time that somebody looks, and
	// again after [Mounted.Forget]. It may wait, but returns soon after ctx is done. Of a
	// border it must always return an equal view, since its names and numbers are kept by
	// the kernel; after an error it is asked again.
	Enter(ctx context.Context, dir int) (*Part, error)
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

// Options say how a part is mounted. Target is needed.
type Options struct {
	Target string // an existing directory
	// Device is a connection that somebody has mounted already, perhaps where this process
	// sees nothing of it; Target is only its name then. It is ours from now on.
	Device     *os.File
	Control    Control // nil: no .uniharmonyfs
	FsName     string  // source in mountinfo, commas and spaces percent-encoded; "" is "uniharmonyfs"
	AllowOther bool    // other users may look; needs root or user_allow_other in /etc/fuse.conf

	// Layer is for a view that something is put over, as an overlay: its files look
	// writable to their owner, or could not be changed there either.
	Layer    bool
	writable bool // for a connection that another program serves

	// StatFs returns the size of the file system and what is free, in bytes.
	// nil: the views' bytes, and nothing free.
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
