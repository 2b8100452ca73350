package index

import (
	"encoding/binary"
	"errors"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Record is what is known of one object on disk. Size (bytes), MTime and CTime
// (nanoseconds) and Inode are those of the file when its content was last
// found to match its key; Seq orders objects by their last use; Owner names
// who brought it.
type Record struct {
	Key                annex.Key
	Size, MTime, CTime int64
	Inode, Seq         uint64
	Owner              string
}

const objectPrefix = "o/"

// Load calls fn for every record. Unreadable records are left out.
func (x *Index) Load(fn func(Record)) error {
	return x.db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix = []byte(objectPrefix)
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			err := item.Value(func(v []byte) error {
				if r, err := decodeRecord(string(item.Key()[len(objectPrefix):]), v); err == nil {
					fn(r)
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

// Save writes and deletes records, all in one batch.
func (x *Index) Save(put []Record, del []annex.Key) error {
	return x.write(func(b *batch) error {
		for _, k := range del {
			if err := b.Delete([]byte(objectPrefix + k.String())); err != nil {
				return err
			}
		}
		for _, r := range put {
			if err := b.Set([]byte(objectPrefix+r.Key.String()), r.encode()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r Record) encode() []byte {
	b := make([]byte, 0, 42+len(r.Owner))
	b = binary.AppendVarint(b, r.Size)
	b = binary.AppendVarint(b, r.MTime)
	b = binary.AppendVarint(b, r.CTime)
	b = binary.AppendUvarint(b, r.Inode)
	b = binary.AppendUvarint(b, r.Seq)
	b = append(b, r.Owner...)
	return seal(b)
}

func decodeRecord(key string, v []byte) (Record, error) {
	k, err := annex.ParseKey(key)
	if err != nil {
		return Record{}, err
	}
	v, err = unseal(v)
	if err != nil {
		return Record{}, err
	}
	r := Record{Key: k}
	short := false
	next := func(n int) {
		if n <= 0 {
			short, n = true, 0
		}
		v = v[n:]
	}
	var n int
	r.Size, n = binary.Varint(v)
	next(n)
	r.MTime, n = binary.Varint(v)
	next(n)
	r.CTime, n = binary.Varint(v)
	next(n)
	r.Inode, n = binary.Uvarint(v)
	next(n)
	r.Seq, n = binary.Uvarint(v)
	next(n)
	if short {
		return Record{}, errors.New("index: short record")
	}
	r.Owner = string(v)
	return r, nil
}
