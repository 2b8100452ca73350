package tree

import (
	"encoding/binary"
	"hash/crc32"
)

// The stored form of a directory, integers as minimal uvarints:
//
//	version byte, count, entries in byte order of their names, CRC-32C (4 bytes, big-endian)
//	entry:  bytes shared with the name before, bytes of the rest, rest, kind byte, …
//	  Dir:  nothing
//	  Link: length, target
//	  file: size, form, …
//	    form 0: an odd key: length, text
//	    form i: the i-th of this directory; the next new number is followed by
//	            length, backend, length, extension, bytes of the digest
//	            and then, as for every other, the binary digest
//
// There is one encoding of a directory: [Builder.AddEncoded] refuses every
// other.
const recordVersion = 1

// EncodeDir returns the stored form of directory dir, for [Builder.AddEncoded]:
// about 50 bytes a file. What lies in the directories below is not part of it.
// It is nil when dir is not a directory.
func (t *Tree) EncodeDir(dir int) []byte {
	if t.Kind(dir) != Dir {
		return nil
	}
	first, count := t.Children(dir)
	e := encoder{forms: map[keyForm]uint64{}, out: make([]byte, 0, 16+64*count)}
	e.out = append(e.out, recordVersion)
	e.num(uint64(count))
	for n := first; n < first+count; n++ {
		r := t.record(n)
		e.record(&r)
	}
	return binary.BigEndian.AppendUint32(e.out, crc32.Checksum(e.out, crc32.MakeTable(crc32.Castagnoli)))
}

type encoder struct {
	out   []byte
	prev  string
	forms map[keyForm]uint64
}

func (e *encoder) num(n uint64) { e.out = binary.AppendUvarint(e.out, n) }

func (e *encoder) str(s string) {
	e.num(uint64(len(s)))
	e.out = append(e.out, s...)
}

func (e *encoder) record(r *record) {
	same := shared(e.prev, r.name)
	e.num(uint64(same))
	e.str(r.name[same:])
	e.prev = r.name
	e.out = append(e.out, byte(r.kind))
	switch r.kind {
	case Dir:
	case Link:
		e.str(r.target)
	default:
		e.num(uint64(r.size))
		e.key(r)
	}
}

func (e *encoder) key(r *record) {
	if r.form.n == 0 {
		e.num(0)
		e.str(r.digest)
		return
	}
	i, known := e.forms[r.form]
	if !known {
		i = uint64(len(e.forms)) + 1
		e.forms[r.form] = i
	}
	e.num(i)
	if !known {
		e.str(r.form.backend)
		e.str(r.form.ext)
		e.num(uint64(r.form.n))
	}
	e.out = append(e.out, r.digest...)
}

func shared(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
