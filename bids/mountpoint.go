package bids

import (
	"fmt"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// MountpointHint warns of a directory that must not hold a dataset: pybids
// searches a file's whole path for entities and datatypes, and takes the first
// that it finds. It is "" for other directories.
func MountpointHint(path string) string {
	var taken []string
	for part := range strings.SplitSeq(path, "/") {
		if schema.IsDatatype(part) {
			taken = append(taken, part)
		}
		for word := range strings.SplitSeq(part, "_") {
			key, label, isPair := strings.Cut(word, "-")
			label, _, _ = strings.Cut(label, ".")
			if e, known := schema.FindEntity(key); isPair && known && e.Short == key && schema.IsLabel(label) {
				taken = append(taken, word)
			}
		}
	}
	if len(taken) == 0 {
		return ""
	}
	return fmt.Sprintf("pybids, and what is built on it, will take %s in the path of the mount for what every file is of: mount elsewhere for these", strings.Join(taken, " and "))
}
