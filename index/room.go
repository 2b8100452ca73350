package index

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	badger "github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// ErrFull means that the disk has too little free space to write to the index.
var ErrFull = errors.New("too little free space for the index")

const (
	// writeFloor is the free space in bytes below which nothing is written: [ErrFull].
	// It is more than Badger's sparse files can still claim.
	writeFloor = 128 << 20

	// closeFloor is the same for what Badger writes when it is closed: its
	// memtables, each as a table.
	closeFloor = 48 << 20

	// chunk is how much is written between two looks at the free space.
	chunk = 1 << 20
)

// roomToWrite says whether the disk of dir has the space to write.
func roomToWrite(dir string) error { return free(dir, writeFloor) }

// roomToOpen says whether the disk of dir has the space to open the database.
func roomToOpen(dir string) error {
	if err := roomToWrite(dir); err != nil {
		return err
	}
	return reserve(dir)
}

// roomToClose says whether the disk of dir has the space to close it.
func roomToClose(dir string) error {
	if err := free(dir, closeFloor); err != nil {
		return err
	}
	return reserve(dir)
}

func free(dir string, floor int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	if have := int64(st.Bavail) * st.Bsize; have < floor {
		return fmt.Errorf("%w: %s has %d MiB, %d are needed", ErrFull, dir, have>>20, floor>>20)
	}
	return nil
}

// reserve takes closeFloor bytes of the disk for a moment: a quota does not
// show in what the disk says of itself. A file system that cannot reserve is
// taken at its word.
func reserve(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, "room"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	defer f.Close()
	defer os.Remove(f.Name())
	err = unix.Fallocate(int(f.Fd()), 0, 0, closeFloor)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) {
		return fmt.Errorf("%w: %s: %w", ErrFull, dir, err)
	}
	return nil
}

// batch is a Badger batch that stops when the disk becomes full: a page that
// Badger maps and the disk cannot give ends the process.
type batch struct {
	x    *Index
	to   *badger.WriteBatch
	left int // bytes until the next look
}

func (b *batch) room(n int) error {
	if b.left -= n; b.x.memory || b.left >= 0 {
		return nil
	}
	b.left = chunk
	return roomToWrite(b.x.dir)
}

func (b *batch) Set(k, v []byte) error {
	if err := b.room(len(k) + len(v)); err != nil {
		return err
	}
	return b.to.Set(k, v)
}

func (b *batch) Delete(k []byte) error {
	if err := b.room(len(k)); err != nil {
		return err
	}
	return b.to.Delete(k)
}

// write runs fn in a batch. When the disk is nearly full it is refused with
// [ErrFull], before or in the middle.
func (x *Index) write(fn func(*batch) error) error {
	b := &batch{x: x, to: x.db.NewWriteBatch()}
	defer b.to.Cancel()
	if err := fn(b); err != nil {
		return err
	}
	return b.to.Flush()
}
