package partial

import (
	"encoding/binary"
	"slices"
	"sort"
)

// Interval is the bytes [Off, End) of a content.
type Interval struct{ Off, End int64 }

// Len returns the number of bytes; it is not negative.
func (i Interval) Len() int64 { return max(i.End-i.Off, 0) }

// Overlaps reports whether two intervals share a byte.
func (i Interval) Overlaps(j Interval) bool { return i.Off < j.End && j.Off < i.End }

// Ranges is a set of bytes: intervals in ascending order that neither overlap
// nor touch.
type Ranges []Interval

// find returns the index of the first interval that ends after off.
func (r Ranges) find(off int64) int {
	return sort.Search(len(r), func(i int) bool { return r[i].End > off })
}

// Add puts an interval into the set.
func (r *Ranges) Add(i Interval) {
	if i.Len() == 0 {
		return
	}
	s := *r
	from := sort.Search(len(s), func(k int) bool { return s[k].End >= i.Off })
	to := from
	for to < len(s) && s[to].Off <= i.End {
		i.Off, i.End = min(i.Off, s[to].Off), max(i.End, s[to].End)
		to++
	}
	*r = slices.Replace(s, from, to, i)
}

// Remove takes an interval out of the set.
func (r *Ranges) Remove(i Interval) {
	if i.Len() == 0 {
		return
	}
	var left Ranges
	for _, s := range *r {
		if !s.Overlaps(i) {
			left = append(left, s)
			continue
		}
		if s.Off < i.Off {
			left = append(left, Interval{s.Off, i.Off})
		}
		if s.End > i.End {
			left = append(left, Interval{i.End, s.End})
		}
	}
	*r = left
}

// Has reports whether all of an interval is in the set.
func (r Ranges) Has(i Interval) bool {
	if i.Len() == 0 {
		return true
	}
	k := r.find(i.Off)
	return k < len(r) && r[k].Off <= i.Off && i.End <= r[k].End
}

// Overlaps reports whether a byte of an interval is in the set.
func (r Ranges) Overlaps(i Interval) bool {
	k := r.find(i.Off)
	return i.Len() > 0 && k < len(r) && r[k].Off < i.End
}

// Gap returns the first part of an interval that is not in the set. It is
// empty when there is none.
func (r Ranges) Gap(i Interval) Interval {
	k := r.find(i.Off)
	if k < len(r) && r[k].Off <= i.Off {
		i.Off = r[k].End
		k++
	}
	if k < len(r) {
		i.End = min(i.End, r[k].Off)
	}
	i.End = max(i.End, i.Off)
	return i
}

// Sum returns how many bytes are in the set.
func (r Ranges) Sum() (n int64) {
	for _, i := range r {
		n += i.Len()
	}
	return n
}

// From returns the end of the bytes in the set that follow off without a gap,
// or off.
func (r Ranges) From(off int64) int64 {
	if k := r.find(off); k < len(r) && r[k].Off <= off {
		return r[k].End
	}
	return off
}

// appendTo encodes the set: the distances between its borders, as varints.
func (r Ranges) appendTo(b []byte) []byte {
	last := int64(0)
	for _, i := range r {
		b = binary.AppendUvarint(b, uint64(i.Off-last))
		b = binary.AppendUvarint(b, uint64(i.Len()))
		last = i.End
	}
	return b
}

// parseRanges is the reverse of appendTo, for a content of size bytes.
func parseRanges(b []byte, size int64) (Ranges, error) {
	var r Ranges
	last := int64(0)
	for len(b) > 0 {
		var step [2]int64
		for k := range step {
			v, n := binary.Uvarint(b)
			if n <= 0 || v > uint64(size) {
				return nil, ErrMap
			}
			step[k], b = int64(v), b[n:]
		}
		i := Interval{last + step[0], last + step[0] + step[1]}
		if step[1] == 0 || i.End > size || step[0] == 0 && len(r) > 0 {
			return nil, ErrMap
		}
		r = append(r, i)
		last = i.End
	}
	return r, nil
}
