package index

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal appends a checksum: Badger verifies its blocks, but not that a value
// is the one that was written under its key.
func seal(v []byte) []byte {
	return binary.LittleEndian.AppendUint32(v, crc32.Checksum(v, castagnoli))
}

var errDamaged = errors.New("index: damaged value")

func unseal(v []byte) ([]byte, error) {
	n := len(v) - 4
	if n < 0 || crc32.Checksum(v[:n], castagnoli) != binary.LittleEndian.Uint32(v[n:]) {
		return nil, errDamaged
	}
	return v[:n], nil
}
