package bids

import (
	"github.com/uniharmony/uniharmonyfs/bids/internal/layout"
	"github.com/uniharmony/uniharmonyfs/bids/schema"
	"github.com/uniharmony/uniharmonyfs/bids/sidecar"
)

// pruneLinks takes the files that are not shown out of IntendedFor in the
// shown JSON files: tools stop at a target that is not there.
func (sel *selector) pruneLinks() {
	sel.countShown()
	for i := range sel.shown {
		if !sel.more(1) {
			return
		}
		i := int32(i)
		f := &sel.Files[i]
		if sel.shown[i].rule == notShown || f.Place != layout.Subject || sel.Words.Text[f.Ext] != ".json" || !sel.mayIntend(f) {
			continue
		}
		if sel.linksOf(i).IntendedFor == nil {
			continue
		}
		data, ok := sel.content(i)
		if !ok {
			continue
		}
		pruned := sidecar.Prune(data, "IntendedFor", func(ref string) bool { return !sel.isGone(ref, i) })
		sel.replace(i, data, pruned, true)
	}
}

// mayIntend reports whether a JSON file is of a datatype of BIDS: those of
// others, often very many, are not read.
func (sel *selector) mayIntend(f *layout.File) bool {
	m := sel.Words.Text[sel.Dirs[f.Dir].Datatype]
	return m == "" || schema.IsDatatype(m)
}

// isGone reports whether a reference in file i names something of this dataset
// that is not shown.
func (sel *selector) isGone(ref string, i int32) bool {
	gone := false
	for _, p := range sel.references(ref, i) {
		there, shown := sel.at(p)
		if shown {
			return false
		}
		gone = gone || there
	}
	return gone
}
