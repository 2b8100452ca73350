package bids

import (
	"fmt"
	"io/fs"

	"github.com/uniharmony/uniharmonyfs/bids/internal/layout"
	"github.com/uniharmony/uniharmonyfs/bids/internal/tsv"
)

// Explain says in one sentence why a path is in the view of a selection, or
// why it is not. The error is that of Select, or wraps fs.ErrNotExist when the
// dataset has no such file.
func (c *Catalog) Explain(s Selection, read func(i int) ([]byte, error), path string) (shown bool, why string, err error) {
	i, ok := c.names.FileAt(path)
	if !ok {
		if i, _ = c.names.PathAt(path); i > 0 && c.names.Files[i-1].Opaque && under(path, c.names.PathOf(i-1)) {
			i--
		} else {
			return false, "", fmt.Errorf("%s: %w in this version of the dataset", path, fs.ErrNotExist)
		}
	}
	sel, err := c.selectFiles(s, read)
	if err != nil {
		return false, "", err
	}
	before := sel.shown[i].rule
	sel.agree()
	if why := sel.shown[i]; why.rule != notShown {
		return true, sel.reason(i, why) + sel.change(i), nil
	}
	if before != notShown {
		return false, "it lists or describes only files that are not shown", nil
	}
	return false, sel.absence(i), nil
}

func under(path, dir string) bool {
	return len(path) > len(dir) && path[:len(dir)] == dir && path[len(dir)] == '/'
}

func (sel *selector) reason(i int32, why cause) string {
	switch why.rule {
	case rulePrimary:
		text := "the selection asks for it"
		if len(sel.query.dims) > 0 {
			text += ": " + describe(sel.query.dims)
		}
		if w := sel.query.condition(); w != nil {
			text += " (" + w.evidence(i) + ")"
		}
		return text
	case ruleRoot:
		return "it is about the dataset as a whole"
	case ruleOutside:
		return "it is outside the subjects, and nothing keeps it out"
	}
	return fmt.Sprintf(why.rule.format(), sel.PathOf(why.by))
}

// change says what of a shown file is left out.
func (sel *selector) change(i int32) string {
	first := int(sel.Files[i].First)
	new, changed := sel.replaced[first]
	switch {
	case !changed:
		return ""
	case sel.Words.Text[sel.Files[i].Ext] == ".json":
		return "; its IntendedFor names only what is shown"
	}
	old, _ := sel.content(i)
	count := func(data []byte) (n int) {
		for _, r := range tsv.Parse(data).Rows {
			if !r.IsBlank() {
				n++
			}
		}
		return n
	}
	return fmt.Sprintf("; it has the %d of %d rows that are about what is shown", count(new), count(old))
}

// format is why a companion is shown; %s is the file that it belongs to.
func (r rule) format() string {
	return [...]string{
		ruleTable:     "it lists %s",
		ruleSidecar:   "it describes %s",
		ruleEvents:    "it has the events of %s",
		rulePhysio:    "it was recorded together with %s",
		ruleGradients: "it has the gradients of %s",
		ruleSensors:   "it describes the sensors of %s",
		ruleHead:      "it belongs to the head or the device of %s",
		ruleFormat:    "it is a part of the same recording as %s",
		rulePerfusion: "%s cannot be read without it",
		ruleFieldmap:  "it is a part of the same fieldmap as %s",
		ruleBlood:     "it has the blood samples of %s",
		ruleReference: "it is the reference image of %s",
		ruleIntended:  "its IntendedFor names %s",
		ruleMaybe:     "it may map the field of %s: a sidecar that would tell cannot be read",
		ruleTarget:    "IntendedFor names it, for %s",
		ruleB0Field:   "it maps the B0 field of %s",
		ruleDirection: "it has another phase encoding direction than %s",
		ruleEmptyRoom: "it is the empty-room recording of %s",
		ruleStimulus:  "it is a stimulus of %s",
		rulePhoto:     "it shows the place of %s",
		ruleAtlas:     "it explains the labels of %s",
		ruleBeside:    "%s is shown by another selection",
	}[r]
}

// absence says why a file is not shown.
func (sel *selector) absence(i int32) string {
	f := &sel.Files[i]
	switch {
	case f.Place == layout.Hidden:
		return "names that begin with a dot are never shown"
	case sel.excluded(i):
		return "--exclude names it"
	case f.Place == layout.Code:
		return "code is shown with --code"
	case f.Place == layout.Sourcedata && !sel.s.Sourcedata:
		return "sourcedata is shown with --sourcedata"
	case f.Place == layout.Derivatives || sel.Dirs[f.Dir].Pipeline != 0 && !sel.pipelineIn[sel.Dirs[f.Dir].Pipeline]:
		return "derivatives are shown with --derivatives"
	case sel.unused[sel.Dirs[f.Dir].Root] && f.Place != layout.Subject:
		return "nothing else of its dataset is shown"
	case f.Place == layout.Stimuli:
		return "no shown table presents it"
	case f.Place == layout.Root && !sel.Inherits(i):
		return "--root-files does not name it"
	case f.Place == layout.Root, f.Place == layout.Subject && sel.IsTable(f):
		return "it describes no file that is shown"
	case f.Place == layout.Subject:
		for _, d := range sel.query.dims {
			if d.match(sel.names, i) {
				continue
			}
			text := "it is outside of " + describe([]*dimension{d})
			if d.where != nil {
				text += " (" + d.where.evidence(i) + ")"
			}
			return text + ", and no companion of what is shown"
		}
	}
	return "it is outside the subjects that are selected"
}
