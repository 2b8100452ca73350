package bids

import (
	"context"

	"github.com/uniharmony/uniharmonyfs/bids/internal/layout"
)

// Catalog is what there is to select from: the names of one dataset. It is
// immutable and safe for concurrent use.
type Catalog struct {
	names  names
	memory Memory          // may be nil
	ctx    context.Context // of the one who asks; may be nil
	steps  int             // that a selection may take; see work
}

// NewCatalog parses the names of one dataset: n paths relative to its root, in
// byte order, path(i) being one of them. path is called again by Select. Where said is
// nil, the dataset is taken for no study.
func NewCatalog(n int, path func(i int) string, said Descriptions) *Catalog {
	return &Catalog{names: names{layout.New(n, path, rawDatasets(said, ""))}, steps: stepsAtAll}
}

// names are what a selection is made from.
type names struct{ *layout.Layout }
