package bids

import (
	"slices"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// companions adds what file i cannot do without, or is best seen with.
func (sel *selector) companions(i int32) {
	f := sel.files[i]
	if r := sel.shown[i].rule; r == ruleRoot || r == ruleOutside || f.place == stimuli {
		return
	}
	suffix, ext := sel.words.text[f.suffix], sel.words.text[f.ext]
	if ext == ".json" {
		return
	}
	sel.applicable(i, suffix, ".json", ruleSidecar)
	if sel.isTable(&f) {
		return
	}
	modality := sel.words.text[sel.dirs[f.dir].modality]
	sel.ofAny(i, suffix, modality)
	switch modality {
	case "eeg", "emg", "ieeg", "meg", "nirs", "motion":
		sel.ofSensors(i, suffix, modality)
	case "micr":
		sel.beside(i, f.dir, "photo", "", rulePhoto, "acq")
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
		sel.beside(i, f.dir, "m0scan", "", rulePerfusion, "dir")
		sel.beside(i, f.dir, "asllabeling", "", rulePerfusion)
	case "pet":
		sel.applicable(i, "blood", ".tsv", ruleBlood, "recording")
		sel.applicable(i, "blood", ".json", ruleBlood, "recording")
	case "dseg", "probseg":
		sel.applicable(i, suffix, ".tsv", ruleAtlas)
	}
	switch suffix {
	case "bold", "cbv", "dwi":
		sel.beside(i, f.dir, "sbref", "", ruleReference)
	}
	sel.linked(i, suffix, ext, modality)
}

// ofAny adds what any file may have.
func (sel *selector) ofAny(i int32, suffix, modality string) {
	f := sel.files[i]
	if suffix != "events" {
		switch modality {
		case "emg":
			sel.applicable(i, "events", ".tsv", ruleEvents, "recording")
		case "motion":
			sel.applicable(i, "events", ".tsv", ruleEvents, "tracksys")
		default:
			sel.applicable(i, "events", ".tsv", ruleEvents)
		}
	}
	for _, s := range [...]string{"physio", "stim", "physioevents"} {
		sel.beside(i, f.dir, s, ".tsv.gz", rulePhysio, "recording")
	}
	if key, ok := sel.words.find("split"); ok && sel.value(f, key) != 0 {
		sel.likeIt(i, suffix, "split", ruleFormat, func(g file) bool { return g.ext == f.ext })
	}
	if set := schema.FormatOf(sel.words.text[f.ext]); set != nil {
		sel.likeIt(i, suffix, "", ruleFormat, func(g file) bool { return slices.Contains(set, sel.words.text[g.ext]) })
	}
	if key, ok := sel.words.find("atlas"); ok && sel.value(f, key) != 0 {
		sel.applicable(i, "description", ".json", ruleAtlas)
	}
}

// likeIt adds files of the same directory with a suffix and the entities of
// file i, but for one.
func (sel *selector) likeIt(i int32, suffix, but string, r rule, also func(file) bool) {
	f := sel.files[i]
	if !r.required() && sel.s.Companions != Full {
		return
	}
	for _, g := range sel.candidates(f, f.dir, suffix, "", []string{but}) {
		if g != i && also(sel.files[g]) && sel.equal(sel.files[g], f, but) {
			sel.add(g, r, i)
		}
	}
}

// ofSensors adds what describes the sensors of a recording, and where they
// were.
func (sel *selector) ofSensors(i int32, suffix, modality string) {
	f := sel.files[i]
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
	if modality == "meg" && suffix == "meg" {
		sel.beside(i, f.dir, "headshape", "", ruleHead, "acq", "space")
		sel.beside(i, f.dir, "markers", "", ruleHead, "acq", "space")
		sel.calibration(i)
	}
	if modality != "emg" && modality != "motion" {
		sel.beside(i, f.dir, "photo", "", rulePhoto, "acq")
	}
}

// calibration adds the files that Elekta/MEGIN recordings have in common.
func (sel *selector) calibration(i int32) {
	acq, ok := sel.words.find("acq")
	if !ok {
		return
	}
	for _, g := range sel.named(sel.files[i].dir, "meg", "") {
		h := sel.files[g]
		switch sel.words.text[sel.value(h, acq)] + sel.words.text[h.ext] {
		case "calibration.dat", "crosstalk.fif":
			sel.add(g, ruleHead, i)
		}
	}
}

// ofFieldmap adds the other images of a fieldmap.
func (sel *selector) ofFieldmap(i int32, suffix string) {
	groups := [...][]string{{"phasediff", "phase1", "phase2", "magnitude1", "magnitude2"}, {"fieldmap", "magnitude"}}
	for _, group := range groups {
		if slices.Contains(group, suffix) {
			for _, s := range group {
				sel.likeIt(i, s, "", ruleFieldmap, sel.isImage)
			}
		}
	}
	if suffix == "epi" {
		sel.likeIt(i, "epi", "dir", ruleB0Field, sel.isImage)
	}
}

func (sel *selector) isImage(f file) bool { return schema.IsNIfTI(sel.words.text[f.ext]) }
