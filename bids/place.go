package bids

import (
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// place is what a directory is for (specification, "Filesystem structure"),
// or why a file in it is shown.
type place uint8

const (
	root        place = iota // the root of the dataset or of a derivative dataset
	subject                  // below sub-* or tpl-*
	phenotype                // the root directory phenotype
	stimuli                  // the root directory stimuli
	derivatives              // the root directory derivatives, but no pipeline
	sourcedata               // below the root directory sourcedata
	code                     // below the root directory code
	other                    // any other directory
	hidden                   // dotfiles and what is in dot directories
)

const bidsignore = ".bidsignore"

// dir is a directory of the dataset.
type dir struct {
	path      string // "" is the top
	parent    int32  // -1 for the top
	root      int32  // the root of the dataset it belongs to: 0, or a derivative's
	recording int32  // the file that it and all below it are one with, or -1
	place     place
	pipeline  word // the directory below derivatives

	// The subject (or template) and session (or cohort) that the path names.
	subKey, sub word
	sesKey, ses word
	modality    word // the directory below these: the datatype
}

// dir returns the directory of a path, adding it and those above it. first is
// the index of the first path in it.
func (b *builder) dir(path string, first int) int32 {
	if d, ok := b.known[path]; ok {
		return d
	}
	up, name := schema.SplitPath(path)
	parent := b.dir(up, first)
	d := b.dirs[parent]
	d.path, d.parent = strings.Clone(path), parent
	id := int32(len(b.dirs))
	switch {
	case d.recording >= 0: // all one
	case d.place == subject && schema.IsOpaque(name) && d.sub != 0:
		d.recording = int32(len(b.files))
		b.addFile(file{first: int32(first), dir: parent, recording: true}, name)
	case strings.HasPrefix(name, "."):
		d.place = hidden
	default:
		b.locate(&d, name, id)
	}
	b.dirs = append(b.dirs, d)
	b.known[d.path] = id
	return id
}

// locate says what a directory is for; d is still its parent's.
func (b *builder) locate(d *dir, name string, id int32) {
	key, label, isPair := strings.Cut(name, "-")
	isSubject := isPair && label != "" && (key == "sub" || key == "tpl")
	switch {
	case d.place == subject:
		b.locateInSubject(d, name)
	case isSubject && (d.place == root || d.place == derivatives || d.place == other && d.pipeline != 0):
		if d.place != root {
			d.root = d.parent
		}
		if d.place == derivatives { // of a pipeline without a directory
			d.pipeline = b.words.intern("derivatives")
		}
		d.place, d.subKey, d.sub = subject, b.words.intern(key), b.words.intern(label)
	case d.place == derivatives:
		d.place, d.root, d.pipeline = root, id, b.words.intern(name)
	case d.place == root && d.parent == 0 && d.pipeline == 0:
		d.place = topPlace(name)
	case d.place == root:
		d.place = other
	case d.place == sourcedata:
		b.locateInSource(d, key, label)
	}
}

func topPlace(name string) place {
	switch name {
	case "phenotype":
		return phenotype
	case "stimuli":
		return stimuli
	case "derivatives":
		return derivatives
	case "sourcedata":
		return sourcedata
	case "code":
		return code
	}
	return other
}

// locateInSubject: sub-X/[ses-Y/]datatype, tpl-X/[cohort-Y/]datatype.
func (b *builder) locateInSubject(d *dir, name string) {
	if d.modality != 0 {
		return
	}
	key, label, _ := strings.Cut(name, "-")
	isSession := d.subKey == b.keySub && key == "ses" || d.subKey == b.keyTpl && key == "cohort"
	if d.ses == 0 && isSession && label != "" {
		d.sesKey, d.ses = b.words.intern(key), b.words.intern(label)
		return
	}
	d.modality = b.words.intern(name)
}

// locateInSource: raw data is in any order there, but often below sub-X/ses-Y.
func (b *builder) locateInSource(d *dir, key, label string) {
	switch key {
	case "sub":
		d.subKey, d.sub = b.keySub, b.words.intern(label)
	case "ses":
		d.sesKey, d.ses = b.keySes, b.words.intern(label)
	}
}
