package bids

import (
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// addOutside shows what lies outside the subject trees: root files, phenotype,
// and code, sourcedata and other directories where they were asked for.
func (sel *selector) addOutside() error {
	for i := range sel.files {
		i := int32(i)
		if !sel.more(1) {
			return sel.err
		}
		f := &sel.files[i]
		d := &sel.dirs[f.dir]
		if !sel.pipelineIn[d.pipeline] {
			continue
		}
		switch f.place {
		case root:
			sel.addRootFile(i)
		case phenotype:
			sel.add(i, ruleRoot, i)
		case code:
			sel.addIf(sel.s.Code, i)
		case sourcedata:
			sel.addIf(sel.s.Sourcedata && sel.inSubjects(d), i)
		case derivatives:
			sel.addIf(sel.s.AllDerivatives || len(sel.s.Derivatives) > 0, i)
		case stimuli:
			sel.addIf(sel.whole, i)
		case other:
			sel.addIf(sel.whole || d.pipeline != 0, i)
		case subject:
			sel.addIf(sel.whole, i) // the tables
		}
	}
	return sel.checkRootFiles()
}

func (sel *selector) addIf(wanted bool, i int32) {
	if wanted {
		sel.add(i, ruleOutside, i)
	}
}

// addRootFile shows a standalone file of a dataset's root, such as README. One
// that names a subject that was not asked for is not shown.
func (sel *selector) addRootFile(i int32) {
	f := sel.files[i]
	_, name := schema.SplitPath(sel.pathOf(i))
	table := strings.HasPrefix(name, "participants.") || strings.HasPrefix(name, "samples.")
	switch {
	case sel.isEssential(i), table, sel.namesRootFile(i):
	case sel.inherits(i):
		if !sel.whole {
			return
		}
	case sel.dirs[f.dir].pipeline == 0 && !sel.wantsRootFile(name), !sel.namesAsked(f):
		return
	}
	sel.add(i, ruleRoot, i)
}

// wantsRootFile reports whether --root-files lets a file pass.
func (sel *selector) wantsRootFile(name string) bool {
	list := sel.s.RootFiles
	return len(list) == 0 || slices.Contains(list, "all") || slices.ContainsFunc(list, func(v string) bool { return isRootFile(v, name) })
}

// isRootFile reports whether a value of --root-files names a file.
func isRootFile(value, name string) bool {
	return value != "none" && value != "all" && filter.Matches(filter.Suffix, value, name)
}

// namesRootFile reports whether file i is one at the root that --root-files
// names. It is then shown whatever else is selected.
func (sel *selector) namesRootFile(i int32) bool {
	f := &sel.files[i]
	if f.place != root || sel.dirs[f.dir].pipeline != 0 {
		return false
	}
	_, name := schema.SplitPath(sel.pathOf(i))
	return slices.ContainsFunc(sel.s.RootFiles, func(v string) bool { return isRootFile(v, name) })
}

// checkRootFiles returns an error when a value of --root-files names nothing.
func (sel *selector) checkRootFiles() error {
	for _, v := range sel.s.RootFiles {
		if v == "all" || v == "none" {
			continue
		}
		found := false
		var names []string
		for i := range sel.files {
			if f := &sel.files[i]; f.place == root && sel.dirs[f.dir].pipeline == 0 {
				_, name := schema.SplitPath(sel.pathOf(int32(i)))
				found = found || isRootFile(v, name)
				names = append(names, name)
			}
		}
		if !found {
			return &NoMatchError{Dimension: "root-files", Value: filter.Quoted(v), Nearest: filter.Nearest(v, names)}
		}
	}
	return nil
}

// namesAsked reports whether a file that names a subject names one that was
// asked for.
func (sel *selector) namesAsked(f file) bool {
	for _, d := range sel.query.dims {
		if d.key == sel.keySub || d.key == sel.keyTpl {
			if w := sel.value(f, d.key); w != 0 && !d.accept[w] && !d.any {
				return false
			}
		}
	}
	return true
}

// inSubjects reports whether a directory is within the filters on subject and
// session, as far as it names them.
func (sel *selector) inSubjects(d *dir) bool {
	for _, q := range sel.query.dims {
		var w word
		switch q.key {
		case 0:
			continue
		case d.subKey:
			w = d.sub
		case d.sesKey:
			w = d.ses
		}
		if w != 0 && !q.accept[w] && !q.any {
			return false
		}
	}
	return true
}

// inherits reports whether a root file belongs to the files below that have
// its suffix and entities (the inheritance principle), and not to the dataset.
func (c *Catalog) inherits(i int32) bool {
	f := &c.files[i]
	switch c.words.text[f.ext] {
	case ".json", ".tsv", ".bval", ".bvec", ".tsv.gz":
	default:
		return false
	}
	_, name := schema.SplitPath(c.pathOf(i))
	if f.suffix == 0 || strings.Count(name, "_") != int(f.npairs) {
		return false
	}
	if f.npairs > 0 {
		return true
	}
	return c.subjectSuffix[f.suffix]
}
