package partial

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// ErrMap says that the map of a partial file cannot be believed.
var ErrMap = errors.New("the map of a partial file is damaged")

// Ident says what a partial file is of.
type Ident struct {
	Key     annex.Key
	Dataset string // whose sources sent the bytes
}

// Name returns the name of the file.
func (i Ident) Name() string {
	sum := sha256.Sum256([]byte(i.Dataset + "\x00" + i.Key.String()))
	return hex.EncodeToString(sum[:])
}

// Provenance is the bytes that one source sent.
type Provenance struct {
	Source string
	Exact  bool // the source names the exact version of the content
	Ranges Ranges
}

// Stock is which bytes are there, and who sent them. The zero value is empty.
// It is not safe for concurrent use.
type Stock struct {
	Have  Ranges // all
	Exact Ranges // of them, those of exact sources
	From  []Provenance
}

// maxSources bounds who is told apart in one file; maxText a name, in bytes.
const maxSources, maxText = 64, 4096

// Add takes note of bytes that were written.
func (s *Stock) Add(i Interval, source string, exact bool) {
	s.Have.Add(i)
	if exact {
		s.Exact.Add(i)
	}
	source = source[:min(len(source), maxText)]
	p := s.of(source, exact)
	if p == nil && len(s.From) >= maxSources-1 {
		source, exact = "others", false
		s.Exact.Remove(i)
		p = s.of(source, exact)
	}
	if p == nil {
		s.From = append(s.From, Provenance{Source: source, Exact: exact})
		p = &s.From[len(s.From)-1]
	}
	p.Ranges.Add(i)
}

// of returns what is known of a sender, or nil.
func (s *Stock) of(source string, exact bool) *Provenance {
	for k := range s.From {
		if p := &s.From[k]; p.Source == source && p.Exact == exact {
			return p
		}
	}
	return nil
}

// HasInexact reports whether a byte of an interval is there that came from a
// source without a version.
func (s *Stock) HasInexact(i Interval) bool {
	for k := s.Have.find(i.Off); k < len(s.Have) && s.Have[k].Off < i.End; k++ {
		if !s.Exact.Has(Interval{max(i.Off, s.Have[k].Off), min(i.End, s.Have[k].End)}) {
			return true
		}
	}
	return false
}

// Remove forgets bytes.
func (s *Stock) Remove(i Interval) {
	s.Have.Remove(i)
	s.Exact.Remove(i)
	for k := range s.From {
		s.From[k].Ranges.Remove(i)
	}
	s.From = slices.DeleteFunc(s.From, func(p Provenance) bool { return len(p.Ranges) == 0 })
}

// Sources returns the names of those who sent bytes that are there.
func (s *Stock) Sources() (names []string) {
	for _, p := range s.From {
		if len(p.Ranges) > 0 {
			names = append(names, p.Source)
		}
	}
	return names
}

// Clone returns a copy that shares nothing with s.
func (s *Stock) Clone() Stock {
	c := Stock{Have: append(Ranges(nil), s.Have...), Exact: append(Ranges(nil), s.Exact...)}
	for _, p := range s.From {
		p.Ranges = append(Ranges(nil), p.Ranges...)
		c.From = append(c.From, p)
	}
	return c
}

const (
	mapMark = "uhfsmap2"
	mapHead = len(mapMark) + 16 + 4 + 4
)

// encode encodes a map in the course of a boot; flushed says that the bytes reached the disk.
func (s *Stock) encode(of Ident, boot [16]byte, flushed bool) []byte {
	b := append(make([]byte, 0, mapHead+256), mapMark...)
	if flushed {
		boot = [16]byte{}
	}
	b = append(b, boot[:]...)
	b = append(b, make([]byte, 8)...)
	text := func(t string) { b = append(binary.AppendUvarint(b, uint64(len(t))), t...) }
	text(of.Key.String())
	text(of.Dataset)
	for _, p := range s.From {
		if len(p.Ranges) == 0 {
			continue
		}
		text(p.Source)
		exact := byte(0)
		if p.Exact {
			exact = 1
		}
		b = append(b, exact)
		text(string(p.Ranges.appendTo(nil)))
	}
	binary.LittleEndian.PutUint32(b[mapHead-8:], uint32(len(b)-mapHead))
	binary.LittleEndian.PutUint32(b[mapHead-4:], mapSum(b))
	return b
}

func mapSum(b []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(b[:mapHead-4], table), table, b[mapHead:])
}

// maxMap bounds a map, in bytes.
const maxMap = 16 << 20

// decode is the reverse of encode; what follows the map is ignored.
func decode(b []byte, boot [16]byte) (of Ident, s Stock, err error) {
	if len(b) < mapHead || string(b[:len(mapMark)]) != mapMark {
		return of, s, ErrMap
	}
	n := int64(binary.LittleEndian.Uint32(b[mapHead-8:]))
	if n > int64(len(b)-mapHead) {
		return of, s, ErrMap
	}
	b = b[:int64(mapHead)+n]
	none := [16]byte{}
	if id := b[len(mapMark):][:16]; !bytes.Equal(id, boot[:]) && !bytes.Equal(id, none[:]) {
		return of, s, fmt.Errorf("%w: it is of before a restart of the machine", ErrMap)
	}
	if mapSum(b) != binary.LittleEndian.Uint32(b[mapHead-4:]) {
		return of, s, ErrMap
	}
	b = b[mapHead:]
	text := func() string {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > uint64(len(b)-k) {
			b, err = nil, ErrMap
			return ""
		}
		t := string(b[k:][:n])
		b = b[k+int(n):]
		return t
	}
	name := text()
	of.Dataset = text()
	if err != nil {
		return of, s, err
	}
	if of.Key, err = annex.ParseKey(name); err != nil {
		return of, s, errors.Join(ErrMap, err)
	}
	size, ok := of.Key.Size()
	if !ok {
		return of, s, ErrMap
	}
	for len(b) > 0 && err == nil {
		source := text()
		if err != nil || len(b) == 0 || len(s.From) >= maxSources {
			return of, Stock{}, ErrMap
		}
		exact := b[0] == 1
		b = b[1:]
		r, rangesErr := parseRanges([]byte(text()), size)
		if err = errors.Join(err, rangesErr); err != nil {
			return of, Stock{}, err
		}
		for _, i := range r {
			if s.Have.Overlaps(i) { // no byte has two senders
				return of, Stock{}, ErrMap
			}
		}
		for _, i := range r {
			s.Add(i, source, exact)
		}
	}
	return of, s, err
}
