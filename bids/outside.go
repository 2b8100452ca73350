package bids

import (
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/bids/internal/layout"
	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// addOutside shows what lies outside the subject trees: root files, phenotype,
// and code, sourcedata and other directories where they were asked for.
func (sel *selector) addOutside() error {
	for i := range sel.Files {
		i := int32(i)
		if !sel.more(1) {
			return sel.err
		}
		f := &sel.Files[i]
		d := &sel.Dirs[f.Dir]
		if !sel.pipelineIn[d.Pipeline] || sel.unused[d.Root] {
			continue
		}
		switch f.Place {
		case layout.Root:
			sel.addRootFile(i)
		case layout.Phenotype:
			sel.add(i, ruleRoot, i)
		case layout.Code:
			sel.addIf(sel.s.Code, i)
		case layout.Sourcedata:
			sel.addIf(sel.s.Sourcedata && sel.inSubjects(d), i)
		case layout.Derivatives:
			sel.addIf(sel.s.AllDerivatives || len(sel.s.Derivatives) > 0, i)
		case layout.Stimuli:
			sel.addIf(sel.whole, i)
		case layout.Other:
			sel.addIf(sel.whole || d.Pipeline != 0, i)
		case layout.Subject:
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
	f := sel.Files[i]
	_, name := schema.SplitPath(sel.PathOf(i))
	table := strings.HasPrefix(name, "participants.") || strings.HasPrefix(name, "samples.")
	switch {
	case sel.IsEssential(i), table, sel.namesRootFile(i):
	case sel.Inherits(i):
		if !sel.whole {
			return
		}
	case sel.Dirs[f.Dir].Pipeline == 0 && !sel.wantsRootFile(name), !sel.namesAsked(f):
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
	f := &sel.Files[i]
	if f.Place != layout.Root || sel.Dirs[f.Dir].Pipeline != 0 {
		return false
	}
	_, name := schema.SplitPath(sel.PathOf(i))
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
		for i := range sel.Files {
			if f := &sel.Files[i]; f.Place == layout.Root && sel.Dirs[f.Dir].Pipeline == 0 {
				_, name := schema.SplitPath(sel.PathOf(int32(i)))
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
func (sel *selector) namesAsked(f layout.File) bool {
	for _, d := range sel.query.dims {
		if d.key == sel.KeySub || d.key == sel.KeyTpl {
			if w := sel.Value(f, d.key); w != 0 && !d.accept[w] && !d.any {
				return false
			}
		}
	}
	return true
}

// inSubjects reports whether a directory is within the filters on subject and
// session, as far as it names them.
func (sel *selector) inSubjects(d *layout.Dir) bool {
	for _, q := range sel.query.dims {
		var w layout.Word
		switch q.key {
		case 0:
			continue
		case d.SubKey:
			w = d.Sub
		case d.SesKey:
			w = d.Ses
		}
		if w != 0 && !q.accept[w] && !q.any {
			return false
		}
	}
	return true
}
