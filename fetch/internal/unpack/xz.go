package unpack

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// maxDictionary bounds the memory for decompressing xz, in bytes: what xz takes up to
// its level 9.
const maxDictionary = 64 << 20

var errXZ = errors.New("it is no right xz file")

// xz decompresses an xz file. The library's own reader takes as much memory as the
// file wants, up to 4 GiB; this one reads the container by itself and leaves the
// rest to it. Checksums are not looked at: who knows the content's own does that.
//
// Format: https://tukaani.org/xz/xz-file-format.txt
type xz struct {
	in    *counting
	check int       // bytes of each block's checksum
	block io.Reader // what is being decompressed, or nil
	begun bool
}

func newXZ(r *bufio.Reader) *xz { return &xz{in: &counting{r: r}} }

func (x *xz) Read(p []byte) (int, error) {
	for {
		if x.block == nil {
			if err := x.next(); err != nil {
				return 0, err
			}
		}
		n, err := x.block.Read(p)
		if err == io.EOF {
			if err = x.endBlock(); err == nil && n == 0 {
				continue
			}
		}
		return n, err
	}
}

const (
	streamHeader = 12
	indexMark    = 0x00
	idLZMA2      = 0x21
)

// next begins the next block. At the list of blocks, which ends a stream, it ends:
// nothing makes files of several streams that are archives.
func (x *xz) next() error {
	if !x.begun {
		head, err := x.take(streamHeader)
		if err != nil {
			return err
		}
		flags := head[7]
		sizes := []int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}
		if head[6] != 0 || flags > 15 {
			return errXZ
		}
		x.begun, x.check = true, sizes[flags]
	}
	length, err := x.in.ReadByte()
	switch {
	case err != nil:
		return errors.Join(errXZ, err)
	case length == indexMark:
		return io.EOF
	}
	head, err := x.take(4*int(length) + 3)
	if err != nil {
		return err
	}
	dictionary, err := blockDictionary(head)
	if err != nil {
		return err
	}
	x.block, err = lzma.Reader2Config{DictCap: dictionary}.NewReader2(x.in)
	return err
}

// blockDictionary reads a block's header, without its first byte, and returns how much
// memory the block takes, in bytes.
func blockDictionary(head []byte) (int, error) {
	flags, head := head[0], head[1:]
	if flags&0x3f != 0 {
		return 0, errors.New("it is compressed by several methods one upon the other, which is not read here")
	}
	for _, there := range []byte{0x40, 0x80} { // the sizes of the block
		for flags&there != 0 && len(head) > 0 {
			more := head[0]&0x80 != 0
			if head = head[1:]; !more {
				break
			}
		}
	}
	if len(head) < 3 || head[0] != idLZMA2 || head[1] != 1 || head[2] > 40 {
		return 0, errXZ
	}
	n := int64(2|head[2]&1) << (head[2]/2 + 11)
	if n > maxDictionary {
		return 0, fmt.Errorf("decompressing it takes more than %d MiB of memory", maxDictionary>>20)
	}
	return int(n), nil
}

// endBlock reads what follows a block: zeros up to a multiple of four, and a checksum.
func (x *xz) endBlock() error {
	x.block = nil
	_, err := x.take(int(-x.in.n&3) + x.check)
	return err
}

func (x *xz) take(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(x.in, b); err != nil {
		return nil, errors.Join(errXZ, err)
	}
	return b, nil
}

// counting counts what was read. It is read by bytes, so that nothing is read ahead.
type counting struct {
	r *bufio.Reader
	n int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counting) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}
