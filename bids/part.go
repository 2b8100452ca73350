package bids

import (
	"path"

	"github.com/uniharmony/uniharmonyfs/bids/internal/tsv"
	"github.com/uniharmony/uniharmonyfs/bids/sidecar"
)

// IsPart reports whether part is what a selection may have made of a table or
// JSON file of the dataset: some of its rows, or less in its IntendedFor.
func IsPart(name string, part, whole []byte) bool {
	switch path.Ext(name) {
	case ".tsv":
		return tsv.IsPart(part, whole)
	case ".json":
		return sidecar.IsPart(part, whole)
	}
	return false
}
