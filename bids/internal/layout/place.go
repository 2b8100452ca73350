package layout

import (
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// Place is what a directory is for (specification, "Filesystem structure"),
// or that a file is hidden.
type Place uint8

// What directories are for.
const (
	Root        Place = iota // the root of the dataset, of a raw one within it, or of a derivative
	Subject                  // below sub-* or tpl-*
	Phenotype                // phenotype in a root, as these, but not in that of a derivative
	Stimuli                  // stimuli
	Derivatives              // derivatives, but no pipeline
	Sourcedata               // below sourcedata, but no raw dataset of a study
	Code                     // below code
	Other                    // any other directory
	Hidden                   // dotfiles and what is in dot directories
)

const bidsignore = ".bidsignore"

// Dir is a directory of the dataset.
type Dir struct {
	Path     string // "" is the top
	Parent   int32  // -1 for the top
	Root     int32  // the root of the dataset it belongs to
	Opaque   int32  // the file that it and all below it are one with, or -1
	Place    Place
	Pipeline Word // the directory below derivatives

	// The subject (or template) and session (or cohort) that the path names.
	SubKey, Sub Word
	SesKey, Ses Word
	Datatype    Word // the directory below these: the datatype
}

// dir returns the directory of a path, adding it and those above it. first is
// the index of the first path in it.
func (b *builder) dir(path string, first int) int32 {
	if d, ok := b.known[path]; ok {
		return d
	}
	up, name := schema.SplitPath(path)
	parent := b.dir(up, first)
	d := b.Dirs[parent]
	d.Path, d.Parent = strings.Clone(path), parent
	id := int32(len(b.Dirs))
	switch {
	case d.Opaque >= 0: // all one
	case d.Place == Subject && schema.IsOpaque(name) && d.Sub != 0:
		d.Opaque = int32(len(b.Files))
		b.addFile(File{First: int32(first), Dir: parent, Opaque: true}, name)
	case strings.HasPrefix(name, "."):
		d.Place = Hidden
	default:
		b.locate(&d, name, id)
	}
	b.Dirs = append(b.Dirs, d)
	b.known[d.Path] = id
	return id
}

// locate says what a directory is for; d is still its parent's.
func (b *builder) locate(d *Dir, name string, id int32) {
	key, label, isPair := strings.Cut(name, "-")
	isSubject := isPair && label != "" && (key == "sub" || key == "tpl")
	switch {
	case d.Place == Subject:
		b.locateInSubject(d, name)
	case isSubject && (d.Place == Root || d.Place == Derivatives || d.Place == Other && d.Pipeline != 0):
		if d.Place != Root {
			d.Root = d.Parent
		}
		if d.Place == Derivatives { // of a pipeline without a directory
			d.Pipeline = b.Words.intern("derivatives")
		}
		d.Place, d.SubKey, d.Sub = Subject, b.Words.intern(key), b.Words.intern(label)
	case d.Place == Derivatives:
		d.Place, d.Root, d.Pipeline = Root, id, b.Words.intern(name)
	case d.Place == Root && d.Pipeline == 0:
		d.Place = topPlace(name)
	case d.Place == Root:
		d.Place = Other
	case d.Place == Sourcedata:
		b.locateInSource(d, key, label, id)
	}
}

func topPlace(name string) Place {
	switch name {
	case "phenotype":
		return Phenotype
	case "stimuli":
		return Stimuli
	case "derivatives":
		return Derivatives
	case "sourcedata":
		return Sourcedata
	case "code":
		return Code
	}
	return Other
}

// locateInSubject: sub-X/[ses-Y/]datatype, tpl-X/[cohort-Y/]datatype.
func (b *builder) locateInSubject(d *Dir, name string) {
	if d.Datatype != 0 {
		return
	}
	key, label, _ := strings.Cut(name, "-")
	isSession := d.SubKey == b.KeySub && key == "ses" || d.SubKey == b.KeyTpl && key == "cohort"
	if d.Ses == 0 && isSession && label != "" {
		d.SesKey, d.Ses = b.Words.intern(key), b.Words.intern(label)
		return
	}
	d.Datatype = b.Words.intern(name)
}

// locateInSource: raw data is in any order there, but often below sub-X/ses-Y. In a
// study, its raw datasets are directly below sourcedata.
func (b *builder) locateInSource(d *Dir, key, label string, id int32) {
	switch {
	case key == "sub":
		d.SubKey, d.Sub = b.KeySub, b.Words.intern(label)
	case key == "ses":
		d.SesKey, d.Ses = b.keySes, b.Words.intern(label)
	case b.isRaw != nil && b.Dirs[b.Dirs[d.Parent].Parent].Place == Root && b.isRaw(d.Path):
		d.Place, d.Root = Root, id
	}
}
