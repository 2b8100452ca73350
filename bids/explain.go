package bids

import (
	"fmt"
	"io/fs"
)

// Explain says in one sentence why a path is in the view of a selection, or
// why it is not. The error is that of Select, or wraps fs.ErrNotExist when the
// dataset has no such file.
func (c *Catalog) Explain(s Selection, read func(i int) ([]byte, error), path string) (shown bool, why string, err error) {
	i, ok := c.fileAt(path)
	if !ok {
		if i, _ = c.pathAt(path); i > 0 && c.files[i-1].recording && under(path, c.pathOf(i-1)) {
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
		return true, sel.reason(why), nil
	}
	if before != notShown {
		return false, "it lists or describes only files that are not shown", nil
	}
	return false, sel.absence(i), nil
}

func under(path, dir string) bool {
	return len(path) > len(dir) && path[:len(dir)] == dir && path[len(dir)] == '/'
}

func (sel *selector) reason(why cause) string {
	by := ""
	if why.rule > ruleOutside {
		by = sel.pathOf(why.by)
	}
	switch why.rule {
	case rulePrimary:
		return "the selection asks for it"
	case ruleRoot:
		return "it is about the dataset as a whole"
	case ruleOutside:
		return "it is outside the subjects, and nothing keeps it out"
	case ruleTable:
		return "it lists " + by
	case ruleSidecar:
		return "it describes " + by
	case ruleEvents:
		return "it has the events of " + by
	case rulePhysio:
		return "it was recorded together with " + by
	case ruleGradients:
		return "it has the gradients of " + by
	case ruleSensors, ruleHead:
		return "it describes the sensors or the head of " + by
	case ruleFormat:
		return "it is a part of the same recording as " + by
	case rulePerfusion:
		return by + " cannot be read without it"
	case ruleFieldmap:
		return "it is a part of the same fieldmap as " + by
	case ruleBlood:
		return "it has the blood samples of " + by
	case ruleReference:
		return "it is the reference image of " + by
	case ruleIntended:
		return "its IntendedFor names " + by
	case ruleTarget:
		return "IntendedFor names it, for " + by
	case ruleB0Field:
		return "it maps the B0 field of " + by
	case ruleEmptyRoom:
		return "it is the empty-room recording of " + by
	case ruleStimulus:
		return "it is a stimulus of " + by
	case rulePhoto:
		return "it shows the place of " + by
	}
	return "it explains the labels of " + by
}

// absence says why a file is not shown.
func (sel *selector) absence(i int32) string {
	f := &sel.files[i]
	switch {
	case f.place == hidden:
		return "names that begin with a dot are never shown"
	case sel.excluded(i):
		return "--exclude names it"
	case f.place == code:
		return "code is shown with --code"
	case f.place == sourcedata && !sel.s.Sourcedata:
		return "sourcedata is shown with --sourcedata"
	case f.place == derivatives || sel.dirs[f.dir].pipeline != 0 && !sel.pipelineIn[sel.dirs[f.dir].pipeline]:
		return "derivatives are shown with --derivatives"
	case f.place == stimuli:
		return "no shown table presents it"
	case f.place == root && !sel.inherits(i):
		return "--root-files does not name it"
	case f.place == root, f.place == subject && sel.isTable(f):
		return "it describes no file that is shown"
	case f.place == subject:
		for _, d := range sel.query.dims {
			if !d.match(sel.Catalog, i) {
				return "it is outside of " + describe([]*dimension{d}) + ", and no companion of what is shown"
			}
		}
	}
	return "it is outside the subjects that are selected"
}
