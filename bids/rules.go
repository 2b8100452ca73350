package bids

import (
	"slices"

	"github.com/uniharmony/uniharmonyfs/bids/internal/layout"
	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// companions adds what file i cannot do without, or is best seen with.
func (sel *selector) companions(i int32) {
	f := sel.Files[i]
	if r := sel.shown[i].rule; r == ruleRoot || r == ruleOutside || f.Place == layout.Stimuli {
		return
	}
	suffix, ext := sel.Words.Text[f.Suffix], sel.Words.Text[f.Ext]
	if ext == ".json" {
		return
	}
	sel.applicable(i, suffix, ".json", ruleSidecar)
	if sel.IsTable(&f) {
		return
	}
	datatype := sel.Words.Text[sel.Dirs[f.Dir].Datatype]
	sel.ofAny(i, suffix, datatype)
	switch datatype {
	case "eeg", "emg", "ieeg", "meg", "nirs", "motion":
		sel.ofSensors(i, suffix, datatype)
	case "micr":
		sel.beside(i, f.Dir, "photo", "", rulePhoto, "acq")
	case "fmap":
		sel.ofFieldmap(i, suffix)
	}
	switch suffix {
	case "dwi", "epi":
		if schema.IsNIfTI(ext) {
			sel.applicable(i, suffix, ".bval", ruleGradients)
			sel.applicable(i, suffix, ".bvec", ruleGradients)
		}
	case "asl":
		sel.applicable(i, "aslcontext", ".tsv", rulePerfusion)
		sel.beside(i, f.Dir, "m0scan", "", rulePerfusion, "dir")
		sel.beside(i, f.Dir, "asllabeling", "", rulePerfusion)
	case "pet":
		sel.applicable(i, "blood", ".tsv", ruleBlood, "recording")
		sel.applicable(i, "blood", ".json", ruleBlood, "recording")
	case "dseg", "probseg":
		sel.applicable(i, suffix, ".tsv", ruleAtlas)
	}
	switch suffix {
	case "bold", "cbv", "dwi":
		sel.beside(i, f.Dir, "sbref", "", ruleReference)
	}
	sel.linked(i, suffix, ext, datatype)
}

// ofAny adds what any file may have.
func (sel *selector) ofAny(i int32, suffix, datatype string) {
	f := sel.Files[i]
	if suffix != "events" {
		switch datatype {
		case "emg":
			sel.applicable(i, "events", ".tsv", ruleEvents, "recording")
		case "motion":
			sel.applicable(i, "events", ".tsv", ruleEvents, "tracksys")
		default:
			sel.applicable(i, "events", ".tsv", ruleEvents)
		}
	}
	for _, s := range [...]string{"physio", "stim", "physioevents"} {
		sel.beside(i, f.Dir, s, ".tsv.gz", rulePhysio, "recording")
	}
	if key, ok := sel.Words.Find("split"); ok && sel.Value(f, key) != 0 {
		sel.likeIt(i, suffix, "split", ruleFormat, func(g layout.File) bool { return g.Ext == f.Ext })
	}
	if set := schema.FormatOf(sel.Words.Text[f.Ext]); set != nil {
		sel.likeIt(i, suffix, "", ruleFormat, func(g layout.File) bool { return slices.Contains(set, sel.Words.Text[g.Ext]) })
	}
	if key, ok := sel.Words.Find("atlas"); ok && sel.Value(f, key) != 0 {
		sel.applicable(i, "description", ".json", ruleAtlas)
	}
}

// likeIt adds files of the same directory with a suffix and the entities of
// file i, but for one.
func (sel *selector) likeIt(i int32, suffix, but string, r rule, also func(layout.File) bool) {
	f := sel.Files[i]
	if !r.required() && sel.s.Companions != Full {
		return
	}
	for _, g := range sel.candidates(f, f.Dir, suffix, "", []string{but}) {
		if g != i && also(sel.Files[g]) && sel.Equal(sel.Files[g], f, but) {
			sel.add(g, r, i)
		}
	}
}

// ofSensors adds what describes the sensors of a recording, and where they
// were.
func (sel *selector) ofSensors(i int32, suffix, datatype string) {
	f := sel.Files[i]
	switch suffix {
	case "electrodes", "optodes":
		sel.applicable(i, "coordsystem", ".json", ruleSensors)
		return
	case "channels", "events", "coordsystem", "photo", "headshape", "markers":
		return
	}
	sel.applicable(i, "channels", ".tsv", ruleSensors)
	sel.applicable(i, "electrodes", ".tsv", ruleSensors, "space")
	sel.applicable(i, "optodes", ".tsv", ruleSensors)
	sel.applicable(i, "coordsystem", ".json", ruleSensors, "space")
	if datatype == "meg" && suffix == "meg" {
		sel.beside(i, f.Dir, "headshape", "", ruleHead, "acq", "space")
		sel.beside(i, f.Dir, "markers", "", ruleHead, "acq", "space")
		sel.calibration(i)
	}
	if datatype != "emg" && datatype != "motion" {
		sel.beside(i, f.Dir, "photo", "", rulePhoto, "acq")
	}
}

// calibration adds the files that Elekta/MEGIN recordings have in common.
func (sel *selector) calibration(i int32) {
	acq, ok := sel.Words.Find("acq")
	if !ok {
		return
	}
	for _, g := range sel.Named(sel.Files[i].Dir, "meg", "") {
		h := sel.Files[g]
		switch sel.Words.Text[sel.Value(h, acq)] + sel.Words.Text[h.Ext] {
		case "calibration.dat", "crosstalk.fif":
			sel.add(g, ruleHead, i)
		}
	}
}

// ofFieldmap adds the other images of a fieldmap.
func (sel *selector) ofFieldmap(i int32, suffix string) {
	for _, s := range schema.FieldmapOf(suffix) {
		sel.likeIt(i, s, "", ruleFieldmap, sel.isImage)
	}
	if suffix == "epi" {
		sel.likeIt(i, "epi", "dir", ruleDirection, sel.isImage)
	}
}

func (sel *selector) isImage(f layout.File) bool { return schema.IsNIfTI(sel.Words.Text[f.Ext]) }
