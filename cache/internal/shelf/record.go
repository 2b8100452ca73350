package shelf

import (
	"encoding/binary"
	"fmt"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Ledger remembers objects between runs. It may forget anything at any time.
type Ledger interface {
	Load(func(Record)) error
	Save(put []Record, del []annex.Key) error
}

// Record is what the ledger keeps of an object. Size (bytes), MTime and CTime
// (nanoseconds) and Inode are the file's when its content was known to match
// the key; Seq orders objects by last use; Owner is who had it
// brought.
type Record struct {
	Key                annex.Key
	Size, MTime, CTime int64
	Inode, Seq         uint64
	Owner              string
}

// Encode returns all of a record but its key, for a [Ledger] to keep.
func (r Record) Encode() []byte {
	b := make([]byte, 0, 42+len(r.Owner))
	b = binary.AppendVarint(b, r.Size)
	b = binary.AppendVarint(b, r.MTime)
	b = binary.AppendVarint(b, r.CTime)
	b = binary.AppendUvarint(b, r.Inode)
	b = binary.AppendUvarint(b, r.Seq)
	return append(b, r.Owner...)
}

// DecodeRecord returns the record of a key from what [Record.Encode] made, or an
// error if key is none or value is too short.
func DecodeRecord(key string, value []byte) (Record, error) {
	k, err := annex.ParseKey(key)
	if err != nil {
		return Record{}, err
	}
	r := Record{Key: k}
	for _, to := range []*int64{&r.Size, &r.MTime, &r.CTime} {
		v, n := binary.Varint(value)
		if n <= 0 {
			return Record{}, fmt.Errorf("record of %s is cut short", key)
		}
		*to, value = v, value[n:]
	}
	for _, to := range []*uint64{&r.Inode, &r.Seq} {
		v, n := binary.Uvarint(value)
		if n <= 0 {
			return Record{}, fmt.Errorf("record of %s is cut short", key)
		}
		*to, value = v, value[n:]
	}
	r.Owner = string(value)
	return r, nil
}
