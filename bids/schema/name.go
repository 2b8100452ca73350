package schema

import "strings"

// ParseName parses a file name: its entities in order, its suffix (the last
// part, if it has no "-") and its extension (from the first dot, so that
// .nii.gz is one). fn may be called with the same key twice; the first counts.
func ParseName(name string, fn func(key, value string)) (suffix, ext string) {
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

// IsOpaque reports whether a directory of this name is opaque, one file to
// BIDS: CTF (.ds), MEF3 (.mefd), Zarr, or BTi/4D (suffix meg without extension).
func IsOpaque(name string) bool {
	pairs := 0
	suffix, ext := ParseName(name, func(_, _ string) { pairs++ })
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

// SplitPath returns a path's directory ("" at the top) and name.
func SplitPath(path string) (dir, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}
