package bids

import "strings"

// splitName parses a file name: its entities in order, its suffix (the last
// part, if it has no "-") and its extension (from the first dot, so that
// .nii.gz is one). fn may be called with the same key twice; the first counts.
func splitName(name string, fn func(key, value string)) (suffix, ext string) {
	stem := name
	if i := strings.IndexByte(name, '.'); i >= 0 {
		stem, ext = name[:i], name[i:]
	}
	for {
		part, rest, more := strings.Cut(stem, "_")
		key, value, isPair := strings.Cut(part, "-")
		switch {
		case isPair && key != "" && value != "":
			fn(key, value)
		case !more && !isPair:
			suffix = part
		}
		if !more {
			return suffix, ext
		}
		stem = rest
	}
}

// isRecording reports whether a directory of this name is one recording: CTF
// (.ds), MEF3 (.mefd), Zarr, or BTi/4D (suffix meg without extension).
func isRecording(name string) bool {
	pairs := 0
	suffix, ext := splitName(name, func(_, _ string) { pairs++ })
	if suffix == "" || pairs == 0 {
		return false
	}
	switch ext {
	case ".ds", ".mefd", ".zarr", ".ome.zarr":
		return true
	case "":
		return suffix == "meg"
	}
	return false
}

// isDigits reports whether s is a number without sign.
func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// number is the form of an index that 1, 01 and 001 have in common. What is
// no number stands for itself.
func number(s string) string {
	if !isDigits(s) {
		return s
	}
	if n := strings.TrimLeft(s, "0"); n != "" {
		return n
	}
	return "0"
}

// splitPath returns a path's directory ("" at the top) and name.
func splitPath(path string) (dir, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

// isLabel reports whether s can be the value of an entity.
func isLabel(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '+':
		default:
			return false
		}
	}
	return s != ""
}
