package schema

import "strings"

// CompareLabels orders labels: numbers by value, and before others. It returns
// -1, 0 or 1, or another number of that sign.
func CompareLabels(a, b string) int {
	da, db := IsDigits(a), IsDigits(b)
	switch {
	case da && db:
		na, nb := Number(a), Number(b)
		if len(na) != len(nb) {
			return len(na) - len(nb)
		}
		if na != nb {
			return strings.Compare(na, nb)
		}
	case da != db:
		if da {
			return -1
		}
		return 1
	}
	return strings.Compare(a, b)
}

// IsDigits reports whether s is a number without sign.
func IsDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// Number is the form of an index that 1, 01 and 001 have in common. What is
// no number stands for itself.
func Number(s string) string {
	if !IsDigits(s) {
		return s
	}
	if n := strings.TrimLeft(s, "0"); n != "" {
		return n
	}
	return "0"
}

// IsLabel reports whether s can be the value of an entity.
func IsLabel(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '+':
		default:
			return false
		}
	}
	return s != ""
}
