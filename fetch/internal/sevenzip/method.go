package sevenzip

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// method is how a block was compressed, by its number in the archive.
type method string

const (
	stored   method = "\x00"
	lzma1    method = "\x03\x01\x01"
	lzma2    method = "\x21"
	deflate  method = "\x04\x01\x08"
	bzip2ed  method = "\x04\x02\x02"
	aes      method = "\x06\xf1\x07\x01"
	maxProps        = 5
)

// maxDictionary bounds the memory for decompressing, in bytes: what 7-Zip takes for
// up to -mx7, and for anything that is no larger itself.
const maxDictionary = 128 << 20

var (
	errEncrypted  = errors.New("it is encrypted")
	errDictionary = fmt.Errorf("decompressing it takes more than %d MiB of memory", maxDictionary>>20)
)

// check returns why blocks of this method cannot be read.
func (m method) check(props []byte) error {
	switch {
	case m == lzma1 && len(props) == maxProps && props[0] < 9*5*5, m == lzma2 && len(props) == 1 && props[0] <= 40:
		return nil
	case m == stored, m == deflate, m == bzip2ed:
		return nil
	case m == lzma1, m == lzma2:
		return errDamaged
	}
	return fmt.Errorf("it is compressed by a method that is not read here (%x)", string(m))
}

// dictionary returns how much memory it takes to decompress a block, in bytes.
func (b *block) dictionary() (int, error) {
	var n int64
	switch b.method {
	case lzma1:
		n = int64(binary.LittleEndian.Uint32(b.props[1:]))
	case lzma2:
		n = int64(2|b.props[0]&1) << (b.props[0]/2 + 11)
	}
	// Nothing looks back further than the block is long.
	n = max(min(n, b.size), lzma.MinDictCap)
	if n > maxDictionary {
		return 0, errDictionary
	}
	return int(n), nil
}

// reader returns what a block decompresses to.
func (b *block) reader(packed io.Reader) (io.Reader, error) {
	dictionary, err := b.dictionary()
	if err != nil {
		return nil, err
	}
	switch b.method {
	case lzma1:
		head := append(b.props[:1:1], make([]byte, 12)...)
		binary.LittleEndian.PutUint32(head[1:], uint32(dictionary))
		binary.LittleEndian.PutUint64(head[5:], uint64(b.size))
		return lzma.ReaderConfig{DictCap: dictionary}.NewReader(bufio.NewReader(io.MultiReader(bytes.NewReader(head), packed)))
	case lzma2:
		return lzma.Reader2Config{DictCap: dictionary}.NewReader2(bufio.NewReader(packed))
	case deflate:
		return flate.NewReader(packed), nil
	case bzip2ed:
		return bzip2.NewReader(packed), nil
	}
	return packed, nil
}

// unpack writes n bytes from off on of what a block decompresses to. Nothing is
// written any more when it has returned.
func (b *block) unpack(ctx context.Context, from Bytes, off, n int64, w io.Writer) error {
	fetching, cancel := context.WithCancel(ctx)
	defer cancel()
	packed, sender := io.Pipe()
	defer packed.CloseWithError(errEnough) // also after a panic
	fetched := make(chan error, 1)
	go func() {
		err := from.Fetch(fetching, b.off, b.packed, sender)
		sender.CloseWithError(err) // nil: the end
		fetched <- err
	}()
	out := &passing{ctx: ctx, w: w}
	err := b.copy(packed, off, n, out)
	packed.CloseWithError(errEnough) // what is left is not wanted
	cancel()
	sent := <-fetched
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case out.err != nil || err == nil:
		return out.err
	case sent != nil && !errors.Is(sent, errEnough) && !errors.Is(sent, context.Canceled):
		return sent
	}
	return fmt.Errorf("it cannot be decompressed: %w", err)
}

var errEnough = errors.New("enough")

func (b *block) copy(packed io.Reader, off, n int64, w *passing) error {
	r, err := b.reader(packed)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(&passing{ctx: w.ctx, w: io.Discard}, r, off); err != nil {
		return short(err)
	}
	_, err = io.CopyN(w, r, n)
	return short(err)
}

func short(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// passing passes on what is decompressed, until ctx ends. It keeps the error of
// whoever takes it.
type passing struct {
	ctx context.Context
	w   io.Writer
	err error
}

func (p *passing) Write(b []byte) (int, error) {
	if p.err = p.ctx.Err(); p.err != nil {
		return 0, p.err
	}
	var n int
	n, p.err = p.w.Write(b)
	return n, p.err
}
