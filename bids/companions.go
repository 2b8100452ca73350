package bids

import "github.com/uniharmony/uniharmonyfs/bids/internal/layout"

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
	ruleMaybe          // its IntendedFor may name a shown file, and cannot be read
	ruleTarget         // is named by an M0 scan's IntendedFor
	ruleB0Field        // its B0FieldIdentifier is a shown file's B0FieldSource
	ruleDirection      // has another phase encoding direction than a shown EPI fieldmap
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
	case rulePhysio, ruleReference, ruleIntended, ruleMaybe, ruleB0Field, ruleDirection, rulePhoto:
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
		f := sel.Files[i]
		if f.Place == layout.Subject {
			sel.addTables(i, f.Dir)
		}
		if sel.shown[i].rule == ruleTable || sel.s.Companions != NoCompanions {
			sel.companions(i)
		}
	}
}

// addTables shows the scans and sessions tables of the subject and session
// that a file is in.
func (sel *selector) addTables(by, d int32) {
	for ; sel.Dirs[d].Place == layout.Subject && !sel.tables[d]; d = sel.Dirs[d].Parent {
		sel.tables[d] = true
		if sel.Dirs[d].Datatype != 0 {
			continue
		}
		for _, g := range sel.FilesIn(d) {
			if sel.IsTable(&sel.Files[g]) {
				sel.add(g, ruleTable, by)
			}
		}
	}
}

// applicable adds the files that apply to file i by the inheritance principle:
// in its directory or above, with the suffix and extension, and no entity that
// differs from its own. extra are entities that may differ or be more.
func (sel *selector) applicable(i int32, suffix, ext string, r rule, extra ...string) {
	d := sel.Files[i].Dir
	for top := sel.Dirs[d].Root; sel.more(1); d = sel.Dirs[d].Parent {
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
		for _, g := range sel.candidates(sel.Files[i], d, suffix, ext, extra) {
			if !sel.more(1) {
				return
			}
			if g != i && sel.Applies(sel.Files[g], sel.Files[i], extra) {
				sel.add(g, r, i)
			}
		}
	}
}
