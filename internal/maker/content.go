package maker

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
)

// Content is what a file holds. It is safe for concurrent use.
type Content interface {
	io.ReaderAt
	Size() int64 // in bytes
}

// Content returns what the file holds (nothing for a symbolic link).
func (f *File) Content() Content {
	switch {
	case f.Data != nil || f.Size <= 0:
		return bytes.NewReader(f.Data)
	case f.Image && f.Size >= minImage:
		return newImage(f.Size, f.Seed, f.Volumes)
	default:
		return Random(f.Size, f.Seed)
	}
}

// Bytes returns all of c.
func Bytes(c Content) ([]byte, error) {
	return io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
}

// Random returns size bytes that look random, do not compress, and depend
// only on size's bound and seed.
func Random(size int64, seed uint64) Content { return random{size: size, seed: seed} }

type random struct {
	size int64
	seed uint64
}

func (r random) Size() int64 { return r.size }

func (r random) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= r.size {
		return 0, io.EOF
	}
	n := len(p)
	if int64(n) > r.size-off {
		n = int(r.size - off)
	}
	r.fill(p[:n], uint64(off))
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// fill computes the bytes from offset off on.
func (r random) fill(p []byte, off uint64) {
	var word [8]byte
	for len(p) > 0 {
		i, skip := off/8, off%8
		for skip == 0 && len(p) >= 8 {
			binary.LittleEndian.PutUint64(p, mix(r.seed, i))
			p, i, off = p[8:], i+1, off+8
		}
		binary.LittleEndian.PutUint64(word[:], mix(r.seed, i))
		n := copy(p, word[skip:])
		p, off = p[n:], off+uint64(n)
	}
}

// mix is the i-th output of SplitMix64 (Steele, Lea, Flood 2014), which can
// be computed for any i without the ones before it.
func mix(seed, i uint64) uint64 {
	z := seed*0xd1342543de82ef95 + (i+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

const (
	gzipHead  = 10    // the header of a gzip member without name (RFC 1952)
	gzipTail  = 8     // CRC-32 and length
	blockHead = 5     // of a stored block (RFC 1951, 3.2.4)
	blockData = 65000 // bytes of data in a stored block, or a few less; at most 65535
	// minImage is the least size of a file that can be an image.
	minImage = gzipHead + blockHead + niftiHead + 2 + gzipTail
)

// image is a .nii.gz file of any size whose gzip member is stored, not
// compressed, so that each of its bytes can be computed by itself.
type image struct {
	size   int64 // of the file
	raw    int64 // of the image inside
	block  int64 // data in a stored block but the last
	dims   []int
	voxels random
	tail   [gzipTail]byte
}

func newImage(size int64, seed uint64, volumes int) *image {
	body := size - gzipHead - gzipTail
	m := &image{size: size, block: blockData}
	// The last block must have room for more than its own head.
	for rest := body % (blockHead + m.block); rest > 0 && rest <= blockHead; rest = body % (blockHead + m.block) {
		m.block--
	}
	blocks := (body + blockHead + m.block - 1) / (blockHead + m.block)
	m.raw = body - blocks*blockHead
	m.dims = flatDims((m.raw-niftiHead)/2, volumes)
	m.voxels = random{size: m.raw - niftiHead, seed: seed}
	sum := crc32.NewIEEE()
	feed(sum, readerAt(m.rawAt), m.raw)
	binary.LittleEndian.PutUint32(m.tail[:], sum.Sum32())
	binary.LittleEndian.PutUint32(m.tail[4:], uint32(m.raw))
	return m
}

// flatDims returns a shape of n voxels, or of a few less.
func flatDims(n int64, volumes int) []int {
	side := int64(64)
	for side > 1 && side*side*int64(max(volumes, 1)) > n {
		side /= 2
	}
	dims := []int{int(side), int(side)}
	planes := n / (side * side)
	switch {
	case volumes > 0:
		return append(dims, int(planes/int64(volumes)), volumes)
	case planes > math.MaxInt16:
		return append(dims, 1<<14, int(planes>>14))
	}
	return append(dims, int(planes))
}

type readerAt func(p []byte, off int64) (int, error)

func (f readerAt) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

func (m *image) Size() int64 { return m.size }

// rawAt reads the image inside: header, then voxels.
func (m *image) rawAt(p []byte, off int64) (int, error) {
	n := 0
	if off < niftiHead {
		head := volume{dims: m.dims, size: []float32{3, 3, 3, repetitionTime}}.header()
		n = copy(p, head[off:])
	}
	if n == len(p) {
		return n, nil
	}
	k, err := m.voxels.ReadAt(p[n:], off+int64(n)-niftiHead)
	return n + k, err
}

func (m *image) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= m.size {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && off < m.size {
		k := m.piece(p[n:], off)
		if k == 0 {
			return n, io.ErrUnexpectedEOF // cannot be
		}
		n, off = n+k, off+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// piece reads up to the next boundary between the parts of the file.
func (m *image) piece(p []byte, off int64) int {
	if off < gzipHead {
		return copy(p, []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}[off:])
	}
	if end := m.size - gzipTail; off >= end {
		return copy(p, m.tail[off-end:])
	}
	i, at := (off-gzipHead)/(blockHead+m.block), (off-gzipHead)%(blockHead+m.block)
	left := min(m.raw-i*m.block, m.block)
	if at < blockHead {
		var head [blockHead]byte
		if m.raw-i*m.block <= m.block {
			head[0] = 1 // the last block
		}
		binary.LittleEndian.PutUint16(head[1:], uint16(left))
		binary.LittleEndian.PutUint16(head[3:], ^uint16(left))
		return copy(p, head[at:])
	}
	at -= blockHead
	n, _ := m.rawAt(p[:min(int64(len(p)), left-at)], i*m.block+at)
	return n
}
