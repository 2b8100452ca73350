package index

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	badger "github.com/dgraph-io/badger/v4"
)

// The tables. What their values mean is known to who writes them.
const (
	Objects  TableName = "o" // which files of the cache are what their keys say
	Facts    TableName = "f" // what was learnt from a content, by its key
	Listings TableName = "s" // what is in a commit
)

// A TableName is a table's place in the database.
type TableName string

// A Table holds opaque values by key. Its methods are safe for concurrent use.
type Table struct {
	x      *Index
	prefix string
}

// Table returns the table of a name, which is empty if nothing was saved in it.
func (x *Index) Table(name TableName) Table { return Table{x, string(name) + "/"} }

var (
	// ErrAbsent means that a table has no value of that key.
	ErrAbsent = errors.New("not in the index")

	// ErrDamaged means that a value is not what was saved.
	ErrDamaged = errors.New("damaged in the index")
)

// Load returns the value of a key. The error wraps [ErrAbsent] or [ErrDamaged],
// or is the database's.
func (t Table) Load(key string) (value []byte, err error) {
	err = t.x.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get([]byte(t.prefix + key))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return ErrAbsent
		}
		if err != nil {
			return err
		}
		return item.Value(func(v []byte) error {
			v, err := unseal(v)
			value = append(value, v...)
			return err
		})
	})
	return value, err
}

// LoadAll calls fn for every key that begins with prefix, in byte order, with
// the key's rest and its value, which is valid until fn returns. Damaged values
// are left out. An error of fn ends it and is returned.
func (t Table) LoadAll(prefix string, fn func(rest string, value []byte) error) error {
	return t.x.db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix = []byte(t.prefix + prefix)
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			err := item.Value(func(v []byte) error {
				if v, err := unseal(v); err == nil {
					return fn(string(item.Key()[len(o.Prefix):]), v)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Save writes what fn sets and deletes. When the disk is nearly full it is
// refused with [ErrFull], before or in the middle. A crash may leave a part of
// it.
func (t Table) Save(fn func(*Batch) error) error {
	b := &Batch{t: t, to: t.x.db.NewWriteBatch()}
	defer b.to.Cancel()
	if err := fn(b); err != nil {
		return err
	}
	return b.to.Flush()
}

// Later runs fn, which saves something, in a goroutine, for which [Index.Close]
// waits. Once that has begun it does nothing.
func (t Table) Later(fn func()) {
	t.x.ending.Lock()
	defer t.x.ending.Unlock()
	if !t.x.closed {
		t.x.saving.Go(fn)
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal appends a checksum: Badger verifies its blocks, but not that a value
// is the one that was written under its key.
func seal(v []byte) []byte {
	n := len(v)
	return binary.LittleEndian.AppendUint32(v[:n:n], crc32.Checksum(v, castagnoli))
}

func unseal(v []byte) ([]byte, error) {
	n := len(v) - 4
	if n < 0 || crc32.Checksum(v[:n], castagnoli) != binary.LittleEndian.Uint32(v[n:]) {
		return nil, ErrDamaged
	}
	return v[:n], nil
}
