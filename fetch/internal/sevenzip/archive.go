package sevenzip

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"golang.org/x/sync/semaphore"

	"github.com/uniharmony/uniharmonyfs/internal/source"
)

const (
	signature     = "7z\xbc\xaf\x27\x1c"
	signatureSize = 32
	// maxHeader bounds the list of members, in bytes: some 200,000 keys.
	maxHeader = 64 << 20
	// maxMembers bounds what is in the list: an entry takes more memory than bytes.
	maxMembers = 1_000_000
	// maxSolid bounds what is decompressed before a member, in bytes.
	maxSolid = 4 << 30
)

// Bytes is where an archive lies. Fetch is that of [source.Source].
type Bytes interface {
	Fetch(ctx context.Context, off, n int64, w io.Writer) error
}

// Archive is the list of an archive's members. It holds nothing open, and is safe
// for concurrent use.
type Archive struct {
	members map[string]Member
	blocks  []block
	memory  *semaphore.Weighted // what may be taken for decompressing, in bytes
}

// A Member is one file of an archive.
type Member struct {
	Size  int64 // in bytes
	off   int64 // in what its block decompresses to
	block int   // -1: it is empty
}

// Open reads the list of members of an archive of size bytes: in two requests, or
// three where the list itself is compressed.
func Open(ctx context.Context, from Bytes, size int64) (*Archive, error) {
	head, err := fetch(ctx, from, 0, signatureSize, size)
	if err != nil {
		return nil, err
	}
	if string(head[:len(signature)]) != signature || crc32.ChecksumIEEE(head[12:]) != binary.LittleEndian.Uint32(head[8:]) {
		return nil, errors.New("it is no 7z archive")
	}
	off, n := binary.LittleEndian.Uint64(head[12:]), binary.LittleEndian.Uint64(head[20:])
	if n == 0 {
		return &Archive{}, nil
	}
	if off > uint64(size) || n > maxHeader {
		return nil, fmt.Errorf("its list of members is damaged, or has more than %d MiB", maxHeader>>20)
	}
	end := signatureSize + int64(off)
	header, err := fetch(ctx, from, end, int64(n), size)
	if err != nil {
		return nil, err
	}
	if crc32.ChecksumIEEE(header) != binary.LittleEndian.Uint32(head[28:]) {
		return nil, errDamaged
	}
	if header[0] == idEncodedHeader {
		if header, err = unpackHeader(ctx, from, header[1:], end); err != nil {
			return nil, err
		}
	}
	a := &Archive{memory: semaphore.NewWeighted(maxDictionary)}
	a.members, a.blocks, err = readHeader(header, end)
	return a, err
}

// unpackHeader decompresses a list of members.
func unpackHeader(ctx context.Context, from Bytes, encoded []byte, end int64) ([]byte, error) {
	c := &cursor{b: encoded}
	s := readStreams(c, end)
	switch {
	case c.err != nil:
		return nil, c.err
	case len(s.blocks) != 1 || s.blocks[0].packed > maxHeader || s.blocks[0].size > maxHeader:
		return nil, fmt.Errorf("its list of members is damaged, or has more than %d MiB", maxHeader>>20)
	case s.blocks[0].refused != nil:
		return nil, fmt.Errorf("its list of members cannot be read: %w", s.blocks[0].refused)
	}
	var header bytes.Buffer
	header.Grow(int(s.blocks[0].size))
	if err := s.blocks[0].unpack(ctx, from, 0, s.blocks[0].size, &header); err != nil {
		return nil, fmt.Errorf("its list of members: %w", err)
	}
	return header.Bytes(), nil
}

// fetch fetches a small part of an archive of size bytes.
func fetch(ctx context.Context, from Bytes, off, n, size int64) ([]byte, error) {
	if off > size || n > size-off {
		return nil, fmt.Errorf("the archive is cut off: it has %d bytes, and should have %d", size, off+n)
	}
	var b bytes.Buffer
	b.Grow(int(n))
	if err := from.Fetch(ctx, off, n, &b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Find returns a member by its name, with slashes between directories.
func (a *Archive) Find(name string) (Member, bool) {
	m, ok := a.members[name]
	return m, ok
}

// Fetch writes the bytes [off, off+n) of a member to w. Of one that is compressed
// it gives only the whole, and [source.ErrWholeOnly] else.
func (a *Archive) Fetch(ctx context.Context, from Bytes, m Member, off, n int64, w io.Writer) error {
	if off < 0 || n < 0 || off > m.Size || n > m.Size-off {
		return fmt.Errorf("bytes %d to %d of %d", off, off+n, m.Size)
	}
	if m.block < 0 {
		return ctx.Err()
	}
	b := &a.blocks[m.block]
	switch {
	case b.refused != nil:
		return b.refused
	case b.method == stored && b.packed != b.size:
		return errDamaged
	case b.method == stored:
		return from.Fetch(ctx, b.off+m.off+off, n, w)
	case n < m.Size:
		return fmt.Errorf("it is compressed: %w", source.ErrWholeOnly)
	case m.off > maxSolid:
		return fmt.Errorf("it lies behind more than %d GiB of other files in a solid archive", maxSolid>>30)
	}
	memory, err := b.dictionary()
	if err != nil {
		return err
	}
	if err := a.memory.Acquire(ctx, int64(memory)); err != nil {
		return err
	}
	defer a.memory.Release(int64(memory))
	return b.unpack(ctx, from, m.off, n, w)
}
