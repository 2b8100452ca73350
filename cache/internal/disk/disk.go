// Package disk is what the cache asks of a file system: some twenty operations,
// so that a test can stand in for a disk that fails, fills up, delays, or loses
// what was not flushed.
//
// Paths are absolute. Nothing here follows a symbolic link in a path's last
// element. Errors are those of the system calls, and can be told by errors.Is.
package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Block is the unit of disk space in bytes.
const Block = 4096

// RoundUp returns the blocks that n bytes take, in bytes.
func RoundUp(n int64) int64 { return (n + Block - 1) / Block * Block }

// RoundDown is the reverse: the start of the block that byte n lies in.
func RoundDown(n int64) int64 { return n / Block * Block }

// ID tells whether a file is still the one that was looked at. Whoever changes
// a file can set its MTime back, but not its CTime (inode(7)).
type ID struct {
	Dev   uint64 `json:"device"`
	Inode uint64 `json:"inode"`
	Size  int64  `json:"size"`  // bytes
	MTime int64  `json:"mtime"` // nanoseconds
	CTime int64  `json:"ctime"` // nanoseconds
}

// Info is what is known of a file without reading it.
type Info struct {
	ID
	Mode   fs.FileMode
	Blocks int64 // on the disk, in bytes; a file system may be late to count them
}

// Charge is the disk space to count for a complete file, in bytes: a file
// system may be late to count its blocks.
func (i Info) Charge() int64 { return max(i.Blocks, RoundUp(i.Size)) }

// A File is an open file. It is safe for concurrent use.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (Info, error)
	Chmod(mode fs.FileMode) error
	Truncate(size int64) error
	// Allocate makes sure that [off, off+n) has blocks, without changing the
	// size. Where the file system cannot, it does nothing.
	Allocate(off, n int64) error
	// Punch gives back the blocks that lie wholly in [off, off+n). Where the
	// file system cannot, it does nothing.
	Punch(off, n int64) error
	// Sync is fsync(2). After it failed, the kernel's pages may be all that is
	// left of the data, and the next Sync knows nothing of that.
	Sync() error
	// Uncache makes the kernel let go of the pages that it need not write, so
	// that what is read next comes from the disk. Where it cannot, it does nothing.
	Uncache() error
	// OS returns the file as the kernel knows it, or nil in a test.
	OS() *os.File
}

// A Disk is a file system.
type Disk interface {
	// Open opens a regular file for reading.
	Open(path string) (File, error)
	// OpenWrite opens a regular file for reading and writing.
	OpenWrite(path string) (File, error)
	// Create makes a file, which must not exist, for reading and writing: mode 0600.
	Create(path string) (File, error)
	Stat(path string) (Info, error)
	// List returns the names in a directory, in order.
	List(dir string) ([]string, error)
	MkdirAll(dir string, mode fs.FileMode) error
	Chmod(path string, mode fs.FileMode) error
	Rename(from, to string) error
	// Remove removes a file or an empty directory.
	Remove(path string) error
	SyncDir(dir string) error
	// Boot tells one run of the machine from another: what was not flushed may
	// be gone in the next.
	Boot() [16]byte
	// Space returns the free bytes for this user, and all bytes, of dir's
	// file system.
	Space(dir string) (free, total int64, err error)
}

// IsFull reports whether an error says that a disk, or a quota on it, is full.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
