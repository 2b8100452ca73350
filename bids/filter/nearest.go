package filter

import (
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// maxNearest is how many values an error names.
const maxNearest = 5

// maxCompared is how many values are looked at for the nearest.
const maxCompared = 50_000

// longestName is that of a file, in bytes: nothing longer is like what is there.
const longestName = 255

// Nearest returns the values most like the one asked for, closest first.
func Nearest(value string, have []string) []string {
	type scored struct {
		text  string
		score int
	}
	value = value[:min(len(value), longestName)]
	have = have[:min(len(have), maxCompared)]
	list := make([]scored, len(have))
	for i, h := range have {
		list[i] = scored{h, unlike(value, h)}
	}
	slices.SortStableFunc(list, func(a, b scored) int {
		if a.score != b.score {
			return a.score - b.score
		}
		return schema.CompareLabels(a.text, b.text)
	})
	list = list[:min(len(list), maxNearest)]
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = s.text
	}
	return out
}

// unlike says how far two labels are apart: 0 when they differ in case or
// leading zeros only, then what begins or ends alike, then edit distance.
func unlike(a, b string) int {
	la, lb := strings.ToLower(strings.Trim(a, ".*?")), strings.ToLower(strings.Trim(b, "."))
	if la == lb || schema.Number(la) == schema.Number(lb) {
		return 0
	}
	d := 128 * distance(la, lb)
	short, long := la, lb
	if len(short) > len(long) {
		short, long = long, short
	}
	switch {
	case short == "":
	case strings.HasPrefix(long, short), strings.HasSuffix(long, short):
		return min(d, 64+len(long)-len(short))
	case len(short) > 2 && strings.Contains(long, short):
		return min(d, 96+len(long)-len(short))
	}
	// What has nothing in common is ordered by how much it begins alike.
	return d - min(common(la, lb), 64)
}

func common(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// distance is the number of letters to change, add, remove or swap with their
// neighbour.
func distance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	var before, last, row [65]int
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
