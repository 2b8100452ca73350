package maker

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/adler32"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// oid is a git object id.
type oid [sha1.Size]byte

func (id oid) String() string { return hex.EncodeToString(id[:]) }

// The types of objects in a pack.
const (
	commitObject byte = 1
	treeObject   byte = 2
	blobObject   byte = 3
)

// packer writes git objects as one pack with its index.
// https://git-scm.com/docs/gitformat-pack
type packer struct {
	dir    string // of the packs
	file   *os.File
	w      *bufio.Writer
	at     int64
	known  map[oid]struct{}
	packed []packed
	buf    bytes.Buffer
	zip    *zlib.Writer
}

type packed struct {
	id  oid
	crc uint32
	at  int64
}

const packHead = 12 // "PACK", version, number of objects

func newPacker(dir string) (*packer, error) {
	f, err := os.CreateTemp(dir, "tmp_pack_")
	if err != nil {
		return nil, err
	}
	p := &packer{dir: dir, file: f, w: bufio.NewWriterSize(f, 1<<20), known: make(map[oid]struct{}), at: packHead}
	p.zip, err = zlib.NewWriterLevel(io.Discard, zlib.BestSpeed)
	if err == nil {
		_, err = p.w.Write(make([]byte, packHead))
	}
	return p, err
}

// add writes an object unless it is there already, and returns its id.
func (p *packer) add(kind byte, data []byte) (oid, error) {
	h := sha1.New()
	fmt.Fprintf(h, "%s %d\x00", [...]string{commitObject: "commit", treeObject: "tree", blobObject: "blob"}[kind], len(data))
	h.Write(data)
	var id oid
	h.Sum(id[:0])
	if _, ok := p.known[id]; ok {
		return id, nil
	}
	p.known[id] = struct{}{}
	p.buf.Reset()
	n := uint64(len(data))
	c := kind<<4 | byte(n&15)
	for n >>= 4; n > 0; n >>= 7 {
		p.buf.WriteByte(c | 0x80)
		c = byte(n & 0x7f)
	}
	p.buf.WriteByte(c)
	p.compress(data)
	p.packed = append(p.packed, packed{id, crc32.ChecksumIEEE(p.buf.Bytes()), p.at})
	p.at += int64(p.buf.Len())
	_, err := p.w.Write(p.buf.Bytes())
	return id, err
}

// compress appends data to the buffer in zlib's format. Small objects are
// stored as they are: hashes do not shrink, and a million of them take time.
func (p *packer) compress(data []byte) {
	if len(data) > 400 {
		p.zip.Reset(&p.buf)
		p.zip.Write(data)
		p.zip.Close()
		return
	}
	n := uint16(len(data))
	p.buf.Write([]byte{0x78, 0x01, 1, byte(n), byte(n >> 8), byte(^n), byte(^n >> 8)})
	p.buf.Write(data)
	p.buf.Write(binary.BigEndian.AppendUint32(nil, adler32.Checksum(data)))
}

// close completes the pack and writes its index. It returns the pack's name.
func (p *packer) close() (name string, err error) {
	defer os.Remove(p.file.Name())
	defer p.file.Close()
	if err := p.w.Flush(); err != nil {
		return "", err
	}
	head := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(len(p.packed)))
	if _, err := p.file.WriteAt(head, 0); err != nil {
		return "", err
	}
	sum := sha1.New()
	if _, err := io.Copy(sum, io.NewSectionReader(p.file, 0, p.at)); err != nil {
		return "", err
	}
	trailer := sum.Sum(nil)
	if _, err := p.file.WriteAt(trailer, p.at); err != nil {
		return "", err
	}
	name = "pack-" + hex.EncodeToString(trailer)
	if err := writeFile(filepath.Join(p.dir, name+".idx"), p.index(trailer), 0o444); err != nil {
		return "", err
	}
	if err := p.file.Chmod(0o444); err != nil {
		return "", err
	}
	return name + ".pack", os.Link(p.file.Name(), filepath.Join(p.dir, name+".pack"))
}

// index returns the index of the pack, version 2.
func (p *packer) index(trailer []byte) []byte {
	slices.SortFunc(p.packed, func(a, b packed) int { return bytes.Compare(a.id[:], b.id[:]) })
	be := binary.BigEndian
	b := []byte("\xfftOc\x00\x00\x00\x02")
	next := 0
	for first := range 256 {
		for next < len(p.packed) && int(p.packed[next].id[0]) <= first {
			next++
		}
		b = be.AppendUint32(b, uint32(next))
	}
	for _, o := range p.packed {
		b = append(b, o.id[:]...)
	}
	for _, o := range p.packed {
		b = be.AppendUint32(b, o.crc)
	}
	var far []byte // offsets that do not fit in 31 bits
	for _, o := range p.packed {
		if o.at < 1<<31 {
			b = be.AppendUint32(b, uint32(o.at))
			continue
		}
		b = be.AppendUint32(b, 1<<31|uint32(len(far)/8))
		far = be.AppendUint64(far, uint64(o.at))
	}
	b = append(append(b, far...), trailer...)
	sum := sha1.Sum(b)
	return append(b, sum[:]...)
}
