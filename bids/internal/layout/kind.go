package layout

import (
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// IsTable reports whether a file lists others: scans and sessions tables and
// what describes them.
func (l *Layout) IsTable(f *File) bool {
	if l.Dirs[f.Dir].Datatype != 0 || f.Place != Subject {
		return false
	}
	suffix, ext := l.Words.Text[f.Suffix], l.Words.Text[f.Ext]
	return (suffix == "scans" || suffix == "sessions") && (ext == ".tsv" || ext == ".json")
}

// IsEssential reports whether file i is dataset_description.json of the dataset
// or a derivative, or the root .bidsignore.
func (l *Layout) IsEssential(i int32) bool {
	f := &l.Files[i]
	if f.Place != Root {
		return false
	}
	_, name := schema.SplitPath(l.PathOf(i))
	return name == "dataset_description.json" || name == bidsignore
}

// List returns the paths of files.
func (l *Layout) List(files []int32) []int {
	out := make([]int, 0, len(files))
	for _, i := range files {
		f := &l.Files[i]
		for k := range f.Count {
			out = append(out, int(f.First+k))
		}
	}
	return out
}

// Inherits reports whether a root file belongs to the files below that have
// its suffix and entities (the inheritance principle), and not to the dataset.
func (l *Layout) Inherits(i int32) bool {
	f := &l.Files[i]
	switch l.Words.Text[f.Ext] {
	case ".json", ".tsv", ".bval", ".bvec", ".tsv.gz":
	default:
		return false
	}
	_, name := schema.SplitPath(l.PathOf(i))
	if f.Suffix == 0 || strings.Count(name, "_") != int(f.EntityCount) {
		return false
	}
	if f.EntityCount > 0 {
		return true
	}
	return l.subjectSuffix[f.Suffix]
}
