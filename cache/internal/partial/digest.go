package partial

import (
	"crypto/sha256"
	"io"
)

// A Digest tells whether bytes that were thrown away come again.
type Digest struct {
	Interval
	sum [sha256.Size]byte
}

// Digests takes the digests of bytes that are there.
func (p *File) Digests(of Ranges) ([]Digest, error) {
	var all []Digest
	for _, i := range of {
		sum, err := sumOf(p, i)
		if err != nil {
			return nil, err
		}
		all = append(all, Digest{i, sum})
	}
	return all, nil
}

func sumOf(r io.ReaderAt, i Interval) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	n, err := io.Copy(h, io.NewSectionReader(r, i.Off, i.Len()))
	if err == nil && n < i.Len() {
		err = io.ErrUnexpectedEOF
	}
	return [sha256.Size]byte(h.Sum(nil)), err
}

// Agrees reports whether a content has the bytes that the digests are of.
func Agrees(r io.ReaderAt, all []Digest) bool {
	for _, d := range all {
		if sum, err := sumOf(r, d.Interval); err != nil || sum != d.sum {
			return false
		}
	}
	return true
}
