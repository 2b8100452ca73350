package sevenzip

import (
	"errors"
	"fmt"
)

// What the parts of a header begin with.
const (
	idEnd           = 0x00
	idHeader        = 0x01
	idProperties    = 0x02
	idMoreStreams   = 0x03
	idStreams       = 0x04
	idFiles         = 0x05
	idPackInfo      = 0x06
	idUnpackInfo    = 0x07
	idSubStreams    = 0x08
	idSize          = 0x09
	idCRC           = 0x0a
	idFolder        = 0x0b
	idUnpackSizes   = 0x0c
	idStreamCounts  = 0x0d
	idEmptyStream   = 0x0e
	idEmptyFile     = 0x0f
	idNames         = 0x11
	idEncodedHeader = 0x17
)

var (
	errDamaged = errors.New("its list of members is damaged")
	errTooMany = fmt.Errorf("it has more than %d members, or its list of them is damaged", maxMembers)
)

// cursor reads a header. After the first error it gives zeros, and no counts, so
// that whatever is being read ends soon.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) fail() {
	c.b = nil
	if c.err == nil {
		c.err = errDamaged
	}
}

func (c *cursor) take(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.fail()
		return nil
	}
	part := c.b[:n]
	c.b = c.b[n:]
	return part
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

// expect reads the mark of what must come now.
func (c *cursor) expect(id byte) {
	if c.byte() != id {
		c.fail()
	}
}

// number reads a number of one to nine bytes: as many ones as the first byte begins
// with say how many follow, little end first, and its other bits are the highest.
func (c *cursor) number() uint64 {
	first := c.byte()
	var n uint64
	for i := range 8 {
		mask := byte(0x80) >> i
		if first&mask == 0 {
			return n | uint64(first&(mask-1))<<(8*i)
		}
		n |= uint64(c.byte()) << (8 * i)
	}
	return n
}

// size reads a number of bytes.
func (c *cursor) size() int64 {
	n := c.number()
	if n > 1<<62 {
		c.fail()
		return 0
	}
	return int64(n)
}

// count reads how many things follow, each of which takes a byte at least.
func (c *cursor) count() int {
	n := c.number()
	if n > maxMembers && c.err == nil {
		c.err = errTooMany
	}
	if n > uint64(min(len(c.b), maxMembers)) {
		c.fail()
		return 0
	}
	return int(n)
}

// bits reads n bits, the highest of each byte first.
func (c *cursor) bits(n int) []bool {
	packed := c.take(uint64(n+7) / 8)
	if packed == nil {
		return nil
	}
	all := make([]bool, n)
	for i := range all {
		all[i] = packed[i/8]&(0x80>>(i%8)) != 0
	}
	return all
}

// digests reads over n checksums.
func (c *cursor) digests(n int) {
	if c.byte() == 0 {
		there := 0
		for _, is := range c.bits(n) {
			if is {
				there++
			}
		}
		n = there
	}
	c.take(4 * uint64(n))
}
