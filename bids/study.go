package bids

import (
	"encoding/json"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/internal/layout"
	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// Descriptions are what datasets say of themselves: the one at hand, whose directory is
// "", and those within it. A study keeps its raw datasets below sourcedata
// (specification, "Study dataset"); only descriptions tell that it is one.
type Descriptions interface {
	// Has reports whether a directory has a dataset_description.json.
	Has(dir string) bool
	// Type is the DatasetType that it says; "" if none can be known.
	Type(dir string) string
}

// DatasetType is what the content of a dataset_description.json says is the type of its
// dataset; "" if it says none.
func DatasetType(description []byte) string {
	var d struct{ DatasetType string }
	if json.Unmarshal([]byte(strings.TrimPrefix(string(description), schema.BOM)), &d) != nil {
		return ""
	}
	return d.DatasetType
}

// rawDatasets returns what reports whether a directory of a dataset's sourcedata is a raw
// dataset: the dataset is a study, and the directory has a description that does not
// call it a derivative, or is the one that nothing is known of.
func rawDatasets(said Descriptions, unknown string) func(dir string) bool {
	if said == nil {
		return nil
	}
	return func(dir string) bool {
		// Of what is plain source data nothing is read.
		if dir != unknown && !said.Has(dir) {
			return false
		}
		sourcedata, _ := schema.SplitPath(dir)
		study, _ := schema.SplitPath(sourcedata)
		return said.Type(study) == "study" && (dir == unknown || said.Type(dir) != "derivative")
	}
}

// findUnused takes note of the raw datasets of a study of which nothing is shown: what
// is about them as a whole is not shown either. Where nothing narrows the selection, all
// are shown.
func (sel *selector) findUnused() {
	sel.unused = make([]bool, len(sel.Dirs))
	if sel.whole {
		return
	}
	sel.countShown()
	for d := range sel.Dirs[1:] {
		d := int32(d + 1)
		if sel.isRawRoot(d) && sel.more(stepsOfFind) {
			first, end := sel.FilesBelow(sel.Dirs[d].Path)
			sel.unused[d] = sel.before[end] == sel.before[first]
		}
	}
}

// isRawRoot reports whether a directory is the root of a raw dataset of a study.
func (c names) isRawRoot(d int32) bool {
	return d > 0 && c.Dirs[d].Root == d && c.Dirs[d].Place == layout.Root && c.Dirs[d].Pipeline == 0
}

// studyOf returns the root of the study that a raw dataset's root belongs to, or -1 if
// it belongs to none.
func (c names) studyOf(root int32) int32 {
	if !c.isRawRoot(root) {
		return -1
	}
	return c.Dirs[c.Dirs[root].Parent].Root
}
