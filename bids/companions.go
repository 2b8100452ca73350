package bids

import (
	"slices"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// rule says why a file is in the view.
type rule uint8

const (
	notShown      rule = iota
	rulePrimary        // it was asked for
	ruleRoot           // a file about the dataset as a whole
	ruleOutside        // outside the subject trees
	ruleTable          // lists what is shown
	ruleSidecar        // describes a shown file
	ruleEvents         // what happened meanwhile
	rulePhysio         // was recorded meanwhile
	ruleGradients      // bval and bvec
	ruleSensors        // channels, electrodes, optodes and their coordinates
	ruleHead           // head shape, markers, calibration of an MEG recording
	ruleFormat         // another part of the same recording
	rulePerfusion      // context, labels and M0 scan of ASL
	ruleFieldmap       // another part of the same fieldmap
	ruleBlood          // blood samples of a PET scan
	ruleReference      // the single-band reference
	ruleIntended       // its IntendedFor names a shown file
	ruleTarget         // is named by an M0 scan's IntendedFor
	ruleB0Field        // its B0FieldIdentifier is a shown file's B0FieldSource
	ruleEmptyRoom      // AssociatedEmptyRoom of a shown recording
	ruleStimulus       // stim_file of a shown table
	rulePhoto          // photo of the same place
	ruleAtlas          // describes an atlas, or the labels of a segmentation
	ruleBeside         // not shown, but of another selection that is
)

// required reports whether data cannot be read, or is invalid, without the
// companions of a rule.
func (r rule) required() bool {
	switch r {
	case rulePhysio, ruleReference, ruleIntended, ruleB0Field, rulePhoto:
		return false
	}
	return true
}

// close adds companions until nothing is added.
func (sel *selector) close() {
	for len(sel.queue) > 0 && sel.more(1) {
		i := sel.queue[len(sel.queue)-1]
		sel.queue = sel.queue[:len(sel.queue)-1]
		if sel.whole {
			continue
		}
		f := sel.files[i]
		if f.place == subject {
			sel.addTables(i, f.dir)
		}
		if sel.shown[i].rule == ruleTable || sel.s.Companions != NoCompanions {
			sel.companions(i)
		}
	}
}

// addTables shows the scans and sessions tables of the subject and session
// that a file is in.
func (sel *selector) addTables(by, d int32) {
	for ; sel.dirs[d].place == subject && !sel.tables[d]; d = sel.dirs[d].parent {
		sel.tables[d] = true
		if sel.dirs[d].modality != 0 {
			continue
		}
		for _, g := range sel.filesIn(d) {
			if sel.isTable(&sel.files[g]) {
				sel.add(g, ruleTable, by)
			}
		}
	}
}

// applicable adds the files that apply to file i by the inheritance principle:
// in its directory or above, with the suffix and extension, and no entity that
// differs from its own. extra are entities that may differ or be more.
func (sel *selector) applicable(i int32, suffix, ext string, r rule, extra ...string) {
	d := sel.files[i].dir
	for top := sel.dirs[d].root; sel.more(1); d = sel.dirs[d].parent {
		sel.beside(i, d, suffix, ext, r, extra...)
		if d == top || d < 0 {
			return
		}
	}
}

// beside adds the files of directory d that apply to file i, with any
// extension when ext is empty.
func (sel *selector) beside(i, d int32, suffix, ext string, r rule, extra ...string) {
	if r.required() || sel.s.Companions == Full {
		for _, g := range sel.candidates(sel.files[i], d, suffix, ext, extra) {
			if !sel.more(1) {
				return
			}
			if g != i && sel.applies(sel.files[g], sel.files[i], extra) {
				sel.add(g, r, i)
			}
		}
	}
}

// named returns the files of a directory with a suffix and, if it is given, an
// extension.
func (c *Catalog) named(d int32, suffix, ext string) []int32 {
	s, ok := c.words.find(suffix)
	if !ok {
		return nil
	}
	if ext == "" {
		return c.find(d, s, 0, noWord)
	}
	if e, ok := c.words.find(ext); ok {
		return c.find(d, s, e, e)
	}
	return nil
}

// applies reports whether no entity of g is absent from f or differs there.
func (c *Catalog) applies(g, f file, extra []string) bool {
	for _, p := range c.entities(g) {
		v := c.value(f, p.key)
		if v != p.value && (v == 0 || !c.sameIndex(p.key, v, p.value)) && !slices.Contains(extra, c.words.text[p.key]) {
			return false
		}
	}
	return true
}

// equal reports whether two files have the same entities, but for one.
func (c *Catalog) equal(g, f file, but string) bool {
	extra := []string{but}
	return c.applies(g, f, extra) && c.applies(f, g, extra)
}

// sameIndex reports whether two values of an index entity are the same number.
func (c *Catalog) sameIndex(key, a, b word) bool {
	return c.words.number[a] == c.words.number[b] && schema.IsIndex(c.words.text[key])
}
