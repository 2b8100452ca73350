package cache

import (
	"encoding/binary"
	"errors"
	"slices"
	"sort"
)

// interval is the bytes [off, end) of a content.
type interval struct{ off, end int64 }

func (i interval) len() int64 { return i.end - i.off }

// ranges is a set of bytes: intervals in ascending order that neither overlap
// nor touch.
type ranges []interval

// find returns the index of the first interval that ends after off.
func (r ranges) find(off int64) int {
	return sort.Search(len(r), func(i int) bool { return r[i].end > off })
}

// add puts an interval into the set.
func (r *ranges) add(i interval) {
	if i.len() <= 0 {
		return
	}
	s := *r
	from := sort.Search(len(s), func(k int) bool { return s[k].end >= i.off })
	to := from
	for to < len(s) && s[to].off <= i.end {
		i.off, i.end = min(i.off, s[to].off), max(i.end, s[to].end)
		to++
	}
	*r = slices.Replace(s, from, to, i)
}

// has reports whether all of an interval is in the set.
func (r ranges) has(i interval) bool {
	if i.len() <= 0 {
		return true
	}
	k := r.find(i.off)
	return k < len(r) && r[k].off <= i.off && i.end <= r[k].end
}

// gap returns the first part of an interval that is not in the set. It is
// empty when there is none.
func (r ranges) gap(i interval) interval {
	k := r.find(i.off)
	if k < len(r) && r[k].off <= i.off {
		i.off = r[k].end
		k++
	}
	if k < len(r) {
		i.end = min(i.end, r[k].off)
	}
	i.end = max(i.end, i.off)
	return i
}

// sum returns how many bytes are in the set.
func (r ranges) sum() (n int64) {
	for _, i := range r {
		n += i.len()
	}
	return n
}

// prefix returns how many bytes from the start are in the set.
func (r ranges) prefix() int64 {
	if len(r) == 0 || r[0].off > 0 {
		return 0
	}
	return r[0].end
}

// appendTo encodes the set: the distances between its borders, as varints.
func (r ranges) appendTo(b []byte) []byte {
	last := int64(0)
	for _, i := range r {
		b = binary.AppendUvarint(b, uint64(i.off-last))
		b = binary.AppendUvarint(b, uint64(i.len()))
		last = i.end
	}
	return b
}

// parseRanges is the reverse of appendTo, for a content of size bytes.
func parseRanges(b []byte, size int64) (ranges, error) {
	var r ranges
	last := int64(0)
	for len(b) > 0 {
		var step [2]int64
		for k := range step {
			v, n := binary.Uvarint(b)
			if n <= 0 || v > uint64(size) {
				return nil, errMap
			}
			step[k], b = int64(v), b[n:]
		}
		i := interval{last + step[0], last + step[0] + step[1]}
		if step[1] == 0 || i.end > size || step[0] == 0 && len(r) > 0 {
			return nil, errMap
		}
		r = append(r, i)
		last = i.end
	}
	return r, nil
}

var errMap = errors.New("the map of a partial file is damaged")
