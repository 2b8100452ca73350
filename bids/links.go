package bids

import (
	"bytes"
	"encoding/json"
	"strings"
)

// links are the fields of a JSON sidecar that name other files.
type links struct {
	intendedFor, b0Source, b0Identifier, emptyRoom []string
	unknown                                        bool // the file cannot be read
}

// linksOf returns the links of one JSON file.
func (sel *selector) linksOf(g int32) *links {
	if l, done := sel.links[g]; done {
		return l
	}
	data, ok := sel.content(g)
	l := &links{unknown: !ok}
	if hasLinks(data) {
		var fields struct {
			IntendedFor, B0FieldSource, B0FieldIdentifier, AssociatedEmptyRoom oneOrMany
		}
		// What cannot be read has no links; it is shown as it is.
		if json.Unmarshal(bytes.TrimPrefix(data, []byte(bom)), &fields) == nil {
			l = &links{fields.IntendedFor, fields.B0FieldSource, fields.B0FieldIdentifier, fields.AssociatedEmptyRoom, false}
		}
	}
	sel.links[g] = l
	return l
}

// hasLinks spares parsing the many files that have none.
func hasLinks(data []byte) bool {
	for _, field := range [...]string{"IntendedFor", "B0Field", "AssociatedEmptyRoom"} {
		if bytes.Contains(data, []byte(field)) {
			return true
		}
	}
	return false
}

const bom = "\xef\xbb\xbf"

// oneOrMany is a string or a list of strings. Anything else is none.
type oneOrMany []string

func (o *oneOrMany) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*o = oneOrMany{one}
		return nil
	}
	var many []any
	if json.Unmarshal(data, &many) == nil {
		for _, v := range many {
			if s, ok := v.(string); ok {
				*o = append(*o, s)
			}
		}
	}
	return nil
}

// content reads a file of the dataset; ok is false when it cannot be had.
func (sel *selector) content(i int32) (data []byte, ok bool) {
	if sel.read == nil || sel.files[i].recording {
		return nil, false
	}
	data, err := sel.read(int(sel.files[i].first))
	return data, err == nil
}

// merged returns the links of a file's sidecars: of each field the nearest.
func (sel *selector) merged(i int32) (l links) {
	f := sel.files[i]
	for d := f.dir; d >= 0; d = sel.dirs[d].parent {
		for _, g := range sel.candidates(f, d, sel.words.text[f.suffix], ".json", nil) {
			if !sel.applies(sel.files[g], f, nil) {
				continue
			}
			one := sel.linksOf(g)
			l.unknown = l.unknown || one.unknown
			l.intendedFor = nearer(l.intendedFor, one.intendedFor)
			l.b0Source = nearer(l.b0Source, one.b0Source)
			l.b0Identifier = nearer(l.b0Identifier, one.b0Identifier)
			l.emptyRoom = nearer(l.emptyRoom, one.emptyRoom)
		}
		if d == sel.dirs[f.dir].root {
			break
		}
	}
	return l
}

func nearer(have, next []string) []string {
	if have != nil {
		return have
	}
	return next
}

// linked adds what file i names, and what names it.
func (sel *selector) linked(i int32, suffix, ext, modality string) {
	switch {
	case modality == "meg" && suffix == "meg":
		for _, ref := range sel.merged(i).emptyRoom {
			if g, ok := sel.resolve(ref, i); ok {
				sel.add(g, ruleEmptyRoom, i)
			}
		}
	case suffix == "m0scan" && isNIfTI(ext):
		for _, ref := range sel.merged(i).intendedFor {
			if g, ok := sel.resolve(ref, i); ok {
				sel.add(g, ruleTarget, i)
			}
		}
	case ext == ".tsv" && (suffix == "events" || suffix == "beh"):
		sel.stimuli(i)
	}
	if sel.s.Companions != Full || !isNIfTI(ext) {
		return
	}
	sub := sel.subjectOf(i)
	for _, g := range sub.namedBy(sel)[i] {
		if sel.withinFilters(g) {
			sel.add(g, ruleIntended, i)
		}
	}
	for _, g := range sub.unknown {
		if sel.read != nil && modality != "anat" && sel.dirs[sel.files[g].dir].ses == sel.dirs[sel.files[i].dir].ses {
			sel.add(g, ruleIntended, i)
		}
	}
	if isMRI(modality) {
		for _, id := range sel.merged(i).b0Source {
			for _, g := range sub.fields(sel)[id] {
				if sel.withinFilters(g) {
					sel.add(g, ruleB0Field, i)
				}
			}
		}
	}
}

// stimuli adds the files that a table presents.
func (sel *selector) stimuli(i int32) {
	data, _ := sel.content(i)
	t := parseTable(data)
	col := t.column("stim_file")
	if col < 0 {
		return
	}
	base := "stimuli/"
	if p := sel.dirs[sel.dirs[sel.files[i].dir].root].path; p != "" {
		base = p + "/" + base
	}
	seen := make(map[string]bool)
	for _, row := range t.rows {
		if v := row.cell(col); v != "" && v != "n/a" && !seen[v] {
			seen[v] = true
			if g, ok := sel.fileAt(base + strings.TrimPrefix(v, "/")); ok {
				sel.add(g, ruleStimulus, i)
			}
		}
	}
}

// withinFilters reports whether a companion is within the filters on subject
// and session.
func (sel *selector) withinFilters(g int32) bool {
	return sel.inSubjects(&sel.dirs[sel.files[g].dir])
}
