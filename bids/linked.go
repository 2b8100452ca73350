package bids

import (
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// linked adds what file i names, and what names it.
func (sel *selector) linked(i int32, suffix, ext, datatype string) {
	switch {
	case datatype == "meg" && suffix == "meg":
		for _, ref := range sel.merged(i).AssociatedEmptyRoom {
			if !sel.more(stepsOfFind) {
				return
			}
			if g, ok := sel.resolve(ref, i); ok {
				sel.add(g, ruleEmptyRoom, i)
			}
		}
	case suffix == "m0scan" && schema.IsNIfTI(ext):
		for _, ref := range sel.merged(i).IntendedFor {
			if !sel.more(stepsOfFind) {
				return
			}
			if g, ok := sel.resolve(ref, i); ok {
				sel.add(g, ruleTarget, i)
			}
		}
	case ext == ".tsv" && (suffix == "events" || suffix == "beh"):
		sel.stimuli(i)
	}
	if sel.s.Companions == Full && schema.IsNIfTI(ext) {
		sel.fieldmapsOf(i, datatype)
	}
}

// fieldmapsOf adds what maps the field of an image. Where a sidecar cannot be
// read that says it, every fieldmap of the session may.
func (sel *selector) fieldmapsOf(i int32, datatype string) {
	sub := sel.subjectOf(i)
	for _, g := range sub.namedBy(sel)[i] {
		if !sel.more(1) {
			return
		}
		if sel.withinFilters(g) {
			sel.add(g, ruleIntended, i)
		}
	}
	unsure := false
	if schema.IsMRI(datatype) {
		l := sel.merged(i)
		unsure = l.unknown
		for _, id := range l.B0FieldSource {
			for _, g := range sub.fields(sel)[id] {
				if !sel.more(1) {
					return
				}
				if sel.withinFilters(g) {
					sel.add(g, ruleB0Field, i)
				}
			}
		}
	}
	if sel.read == nil || datatype == "anat" {
		return
	}
	for _, m := range sub.maps {
		if !sel.more(1) {
			return
		}
		if (unsure && m.fieldmap || m.unknown) && sel.Dirs[sel.Files[m.file].Dir].Ses == sel.Dirs[sel.Files[i].Dir].Ses {
			sel.add(m.file, ruleMaybe, i)
		}
	}
}

// stimuli adds the files that a table presents.
func (sel *selector) stimuli(i int32) {
	names := sel.linksOf(i).Stimuli
	base := "stimuli/"
	if p := sel.Dirs[sel.Dirs[sel.Files[i].Dir].Root].Path; p != "" {
		base = p + "/" + base
	}
	for _, v := range names {
		if !sel.more(stepsOfFind) {
			return
		}
		if g, ok := sel.FileAt(base + strings.TrimPrefix(v, "/")); ok {
			sel.add(g, ruleStimulus, i)
		}
	}
}

// withinFilters reports whether a companion is within the filters on subject
// and session.
func (sel *selector) withinFilters(g int32) bool {
	return sel.inSubjects(&sel.Dirs[sel.Files[g].Dir])
}
