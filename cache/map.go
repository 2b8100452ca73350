package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strings"
	"sync"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// saveMap writes what is there behind the content's end. The bytes themselves
// were written before; whether they also reached the disk is told by the boot
// in whose course they were written.
func (p *part) saveMap(have ranges) error {
	p.mapped.Lock()
	defer p.mapped.Unlock()
	_, err := p.f.WriteAt(encodeMap(have, false), p.size)
	return err
}

// A map is a mark, the boot or zeros, and length and checksum of the ranges
// that follow.
const mapMark = "uhfsmap1"

const mapHead = len(mapMark) + 16 + 4 + 4

// encodeMap encodes a map; flushed says that the bytes reached the disk.
func encodeMap(have ranges, flushed bool) []byte {
	b := append(make([]byte, 0, mapHead+20*len(have)), mapMark...)
	boot := bootID()
	if flushed {
		boot = [16]byte{}
	}
	b = append(b, boot[:]...)
	b = have.appendTo(append(b, make([]byte, 8)...))
	body := b[mapHead:]
	binary.LittleEndian.PutUint32(b[mapHead-8:], uint32(len(body)))
	binary.LittleEndian.PutUint32(b[mapHead-4:], mapSum(b))
	return b
}

func mapSum(b []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(b[:mapHead-4], table), table, b[mapHead:])
}

// readMap returns what is in a partial file of a content of size bytes.
func readMap(f *os.File, size int64) (ranges, error) {
	head := make([]byte, mapHead)
	if _, err := f.ReadAt(head, size); err != nil {
		return nil, errors.Join(errMap, err)
	}
	n := int64(binary.LittleEndian.Uint32(head[mapHead-8:]))
	if string(head[:len(mapMark)]) != mapMark || n > size/block*4+64 {
		return nil, errMap
	}
	all := append(head, make([]byte, n)...)
	if _, err := f.ReadAt(all[mapHead:], size+int64(mapHead)); err != nil {
		return nil, errors.Join(errMap, err)
	}
	boot, none := bootID(), [16]byte{}
	if b := all[len(mapMark):][:16]; !bytes.Equal(b, boot[:]) && !bytes.Equal(b, none[:]) {
		return nil, fmt.Errorf("%w: it is of before a restart of the machine", errMap)
	}
	if mapSum(all) != binary.LittleEndian.Uint32(all[mapHead-4:]) {
		return nil, errMap
	}
	return parseRanges(all[mapHead:], size)
}

// bootID tells one run of the kernel from another.
var bootID = sync.OnceValue(func() (id [16]byte) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	raw, hexErr := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "-", ""))
	if err != nil || hexErr != nil || len(raw) != len(id) {
		// Unknown: nothing of another process is believed.
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %d", os.Getpid(), os.Getppid()))
		copy(id[:], sum[:])
		return id
	}
	return [16]byte(raw)
})

// flushPart makes a partial file that nobody writes survive a power cut.
func (s store) flushPart(key annex.Key, size int64) error {
	f, _, err := openFile(s.partial(key), os.O_RDWR)
	if err != nil {
		return err
	}
	defer f.Close()
	have, err := readMap(f, size)
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	_, err = f.WriteAt(encodeMap(have, true), size)
	return err
}
