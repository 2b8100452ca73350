package sevenzip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"
)

// A block is what was compressed together ("folder"): one member or, if it is
// solid, several.
type block struct {
	off, packed int64 // where it lies in the archive, in bytes
	size        int64 // of what was compressed
	method      method
	props       []byte
	refused     error // why it cannot be read
}

// streams are the blocks, and the sizes of what each holds.
type streams struct {
	blocks []block
	sizes  [][]int64
}

// readStreams reads where the compressed bytes are. All of them lie in the archive
// before end.
func readStreams(c *cursor, end int64) (s streams) {
	at, packed := int64(0), []int64(nil)
	checked := []bool(nil)
	for {
		switch id := c.byte(); id {
		case idEnd:
			if s.sizes == nil {
				s.defaults()
			}
			return s
		case idPackInfo:
			at, packed = readPackInfo(c)
		case idUnpackInfo:
			s.blocks, checked = readUnpackInfo(c, at, packed, end)
		case idSubStreams:
			s.sizes = readSubStreams(c, s.blocks, checked)
		default:
			c.fail()
		}
		if c.err != nil {
			return streams{}
		}
	}
}

// defaults is what holds when nothing is said: a block is a member.
func (s *streams) defaults() {
	s.sizes = make([][]int64, len(s.blocks))
	for i, b := range s.blocks {
		s.sizes[i] = []int64{b.size}
	}
}

func readPackInfo(c *cursor) (at int64, packed []int64) {
	at = c.size()
	n := c.count()
	for {
		switch c.byte() {
		case idEnd:
			return at, packed
		case idSize:
			packed = make([]int64, n)
			for i := range packed {
				packed[i] = c.size()
			}
		case idCRC:
			c.digests(n)
		default:
			c.fail()
		}
		if c.err != nil {
			return 0, nil
		}
	}
}

// readUnpackInfo reads the blocks. checked says which have a checksum.
func readUnpackInfo(c *cursor, at int64, packed []int64, end int64) (blocks []block, checked []bool) {
	c.expect(idFolder)
	blocks = make([]block, c.count())
	if c.byte() != 0 { // the list lies elsewhere, which nobody writes
		c.fail()
	}
	outs := make([]int, len(blocks))
	at += signatureSize
	for i := range blocks {
		var ins int
		ins, outs[i] = blocks[i].read(c)
		if c.err != nil || ins > len(packed) {
			c.fail()
			return nil, nil
		}
		blocks[i].off = at
		for _, n := range packed[:ins] {
			if at > end || n > end-at {
				c.fail()
				return nil, nil
			}
			at += n
			blocks[i].packed += n
		}
		packed = packed[ins:]
	}
	c.expect(idUnpackSizes)
	for i := range blocks {
		for range outs[i] {
			blocks[i].size = c.size() // the last is right where there is one, and others are refused
		}
	}
	checked = make([]bool, len(blocks))
	for c.err == nil {
		switch c.byte() {
		case idEnd:
			return blocks, checked
		case idCRC:
			rest := *c
			if rest.byte() == 0 {
				copy(checked, rest.bits(len(blocks)))
			} else {
				for i := range checked {
					checked[i] = true
				}
			}
			c.digests(len(blocks))
		default:
			c.fail()
		}
	}
	return nil, nil
}

// maxCoders bounds what one block may be wrapped in, as 7-Zip does.
const maxCoders = 32

// read reads how a block was made. It returns how many parts of the archive it takes,
// and how many sizes there are of what comes out.
func (b *block) read(c *cursor) (parts, outs int) {
	coders := c.count()
	if coders == 0 || coders > maxCoders {
		c.fail()
		return 0, 0
	}
	ins := 0
	for range coders {
		flags := c.byte()
		id := string(c.take(uint64(flags & 0x0f)))
		in, out := 1, 1
		if flags&0x10 != 0 {
			in, out = c.count(), c.count()
		}
		b.method = method(id)
		if flags&0x20 != 0 {
			b.props = c.take(uint64(c.count()))
		}
		if flags&0xc0 != 0 || in == 0 || out == 0 || in > maxCoders || out > maxCoders {
			c.fail()
			return 0, 0
		}
		ins, outs = ins+in, outs+out
		if b.method == aes {
			b.refused = errEncrypted
		}
	}
	pairs := outs - 1
	for range pairs {
		c.number()
		c.number()
	}
	parts = ins - pairs
	if parts < 1 {
		c.fail()
		return 0, 0
	}
	if parts > 1 {
		for range parts {
			c.number()
		}
	}
	switch {
	case b.refused != nil:
	case ins != 1 || outs != 1:
		b.refused = errors.New("it is compressed by several methods one upon the other, which is not read here")
	default:
		b.refused = b.method.check(b.props)
	}
	return parts, outs
}

// readSubStreams reads the sizes of what is in each block.
func readSubStreams(c *cursor, blocks []block, checked []bool) (sizes [][]int64) {
	counts := make([]int, len(blocks))
	for i := range counts {
		counts[i] = 1
	}
	id := c.byte()
	if id == idStreamCounts {
		for i := range counts {
			counts[i] = c.count()
		}
		id = c.byte()
	}
	total := 0
	for _, n := range counts {
		// A member has a name, of two bytes at least, after all of this.
		if total += n; total > min(len(c.b), maxMembers) {
			c.fail()
			return nil
		}
	}
	sizes = make([][]int64, len(blocks))
	for i, n := range counts {
		sizes[i] = make([]int64, 0, n)
		left := blocks[i].size
		for j := range n {
			size := left // the last is what is left
			if j < n-1 && id == idSize {
				size = c.size()
			}
			if size > left || j < n-1 && id != idSize {
				c.fail()
				return nil
			}
			sizes[i] = append(sizes[i], size)
			left -= size
		}
	}
	if id == idSize {
		id = c.byte()
	}
	for ; id != idEnd && c.err == nil; id = c.byte() {
		if id != idCRC {
			c.fail()
			return nil
		}
		unchecked := 0
		for i, n := range counts {
			if n != 1 || !checked[i] {
				unchecked += n
			}
		}
		c.digests(unchecked)
	}
	return sizes
}

// readFiles reads the names, and for each whether it has content, is an empty file,
// or is something else, such as a directory.
func readFiles(c *cursor) (names []string, kinds []kind) {
	n := c.count()
	kinds = make([]kind, n)
	empties := 0
	for {
		id := c.byte()
		if id == idEnd || c.err != nil {
			break
		}
		part := cursor{b: c.take(c.number())}
		switch id {
		case idNames:
			names = readNames(&part, n)
		case idEmptyStream:
			for i, is := range part.bits(n) {
				if is {
					kinds[i] = nothing
					empties++
				}
			}
		case idEmptyFile:
			files, at := part.bits(empties), 0
			for i := range kinds {
				if kinds[i] == nothing && at < len(files) {
					if files[at] {
						kinds[i] = emptyFile
					}
					at++
				}
			}
		}
		if part.err != nil {
			c.fail()
		}
	}
	if len(names) != n {
		c.fail()
	}
	return names, kinds
}

// kind is what a name stands for.
type kind byte

const (
	content kind = iota
	nothing
	emptyFile
)

// readNames reads n names in UTF-16, each ended by a zero.
func readNames(c *cursor, n int) []string {
	if c.byte() != 0 { // they lie elsewhere, which nobody writes
		c.fail()
		return nil
	}
	names := make([]string, 0, n)
	var name []uint16
	for len(names) < n {
		two := c.take(2)
		if two == nil {
			return nil
		}
		if u := binary.LittleEndian.Uint16(two); u != 0 {
			name = append(name, u)
			continue
		}
		names = append(names, string(utf16.Decode(name)))
		name = name[:0]
	}
	return names
}

// readHeader reads the list of members: what is in the archive, whose compressed
// bytes lie before end.
func readHeader(b []byte, end int64) (map[string]Member, []block, error) {
	c := &cursor{b: b}
	c.expect(idHeader)
	id := c.byte()
	if id == idProperties {
		for c.byte() != idEnd && c.err == nil {
			c.take(c.number())
		}
		id = c.byte()
	}
	if id == idMoreStreams {
		readStreams(c, end)
		id = c.byte()
	}
	var s streams
	if id == idStreams {
		s = readStreams(c, end)
		id = c.byte()
	}
	var names []string
	var kinds []kind
	if id == idFiles {
		names, kinds = readFiles(c)
		id = c.byte()
	}
	if c.err == nil && id != idEnd {
		c.fail()
	}
	if c.err != nil {
		return nil, nil, c.err
	}
	members, err := s.members(names, kinds)
	return members, s.blocks, err
}

// members gives each file its place. Of two of the same name the first counts.
func (s streams) members(names []string, kinds []kind) (map[string]Member, error) {
	all := make(map[string]Member)
	at, in, off := 0, 0, int64(0) // the block, the member in it, and where that begins
	for i, name := range names {
		m := Member{block: -1}
		switch kinds[i] {
		case nothing:
			continue
		case content:
			for at < len(s.sizes) && in == len(s.sizes[at]) {
				at, in, off = at+1, 0, 0
			}
			if at == len(s.sizes) {
				return nil, fmt.Errorf("%w: more members than content", errDamaged)
			}
			m = Member{block: at, off: off, Size: s.sizes[at][in]}
			off += m.Size
			in++
		}
		if _, twice := all[name]; !twice {
			all[name] = m
		}
	}
	return all, nil
}
