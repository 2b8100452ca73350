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

// A Batch is what [Table.Save] writes. It stops when the disk becomes full: a
// page that Badger maps and the disk cannot give ends the process.
type Batch struct {
	t    Table
	to   *badger.WriteBatch
	left int // bytes until the next look
}

func (b *Batch) room(n int) error {
	if b.left -= n; b.t.x.memory || b.left >= 0 {
		return nil
	}
	b.left = chunk
	return roomToWrite(b.t.x.dir)
}

// Set has a key's value replaced. After an error the batch is of no use.
func (b *Batch) Set(key string, value []byte) error {
	if err := b.room(len(key) + len(value)); err != nil {
		return err
	}
	return b.to.Set([]byte(b.t.prefix+key), seal(value))
}

// Delete has a key removed, if it is there. After an error the batch is of no
// use.
func (b *Batch) Delete(key string) error {
	if err := b.room(len(key)); err != nil {
		return err
	}
	return b.to.Delete([]byte(b.t.prefix + key))
}
