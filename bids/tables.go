package bids

import (
	"fmt"
	"path"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/internal/layout"
	"github.com/uniharmony/uniharmonyfs/bids/internal/tsv"
)

// place of what is shown, by the words that tables use for it.
type presence struct {
	subjects map[[2]layout.Word]bool // root directory, subject
	sessions map[[2]layout.Word]bool // directory of the subject, session
	samples  map[[3]layout.Word]bool // root directory, subject, sample
}

func (sel *selector) presence() presence {
	p := presence{make(map[[2]layout.Word]bool), make(map[[2]layout.Word]bool), make(map[[3]layout.Word]bool)}
	sample, _ := sel.Words.Find("sample")
	last := int32(-1)
	for i := range sel.shown {
		f := &sel.Files[i]
		d := &sel.Dirs[f.Dir]
		if sel.shown[i].rule == notShown || d.Place != layout.Subject || d.SubKey != sel.KeySub {
			continue
		}
		s := sel.Value(*f, sample)
		hasSample := sample != 0 && s != 0
		if f.Dir == last && !hasSample {
			continue
		}
		last = f.Dir
		p.sessions[[2]layout.Word{layout.Word(sel.SubjectDir(f.Dir)), d.Ses}] = true
		// The tables of a study are about the subjects of its raw datasets, too.
		for root := d.Root; root >= 0 && sel.more(1); root = sel.studyOf(root) {
			p.subjects[[2]layout.Word{layout.Word(root), d.Sub}] = true
			if hasSample {
				p.samples[[3]layout.Word{layout.Word(root), d.Sub, s}] = true
			}
		}
	}
	return p
}

// tableRule returns which rows of a shown table stay: those whose cells in the
// columns name what is shown. A file that is no such table has no columns.
func (sel *selector) tableRule(i int32, p presence) (columns []string, keep func(cells []string) bool) {
	f := &sel.Files[i]
	if sel.Words.Text[f.Ext] != ".tsv" {
		return nil, nil
	}
	d := &sel.Dirs[f.Dir]
	label := func(key, cell string) layout.Word {
		w, ok := sel.Words.Find(strings.TrimPrefix(cell, key+"-"))
		if !ok {
			return layout.NoWord
		}
		return w
	}
	bySubject := func(c []string) bool { return p.subjects[[2]layout.Word{layout.Word(d.Root), label("sub", c[0])}] }
	suffix := sel.Words.Text[f.Suffix]
	switch {
	case f.Place == layout.Phenotype, f.Place == layout.Root && suffix == "participants" && f.EntityCount == 0:
		return []string{"participant_id"}, bySubject
	case f.Place == layout.Root && suffix == "samples" && f.EntityCount == 0:
		return []string{"participant_id", "sample_id"}, func(c []string) bool {
			return p.samples[[3]layout.Word{layout.Word(d.Root), label("sub", c[0]), label("sample", c[1])}]
		}
	case !sel.IsTable(f):
		return nil, nil
	case suffix == "sessions":
		sub := layout.Word(sel.SubjectDir(f.Dir))
		return []string{"session_id"}, func(c []string) bool { return p.sessions[[2]layout.Word{sub, label("ses", c[0])}] }
	}
	return []string{"filename"}, func(c []string) bool {
		there, shown := sel.at(path.Join(d.Path, c[0]))
		return there && shown
	}
}

// at reports whether a path (of a file, of a directory, or of what is in an
// opaque directory) is in the dataset, and whether it is shown.
func (sel *selector) at(p string) (there, shown bool) {
	if !sel.more(stepsOfFind) {
		return false, false
	}
	i, found := sel.PathAt(p)
	if found {
		return true, sel.shown[i].rule != notShown
	}
	if i > 0 && sel.Files[i-1].Opaque && strings.HasPrefix(p, sel.PathOf(i-1)+"/") {
		return true, sel.shown[i-1].rule != notShown
	}
	if !sel.GoesOn(i, p) {
		return false, false
	}
	first, end := sel.FilesBelow(p)
	return first < end, sel.before[end] > sel.before[first]
}

// countShown takes note of what is shown, for at.
func (sel *selector) countShown() {
	sel.before = make([]int32, len(sel.shown)+1)
	for i := range sel.shown {
		sel.before[i+1] = sel.before[i]
		if sel.shown[i].rule != notShown {
			sel.before[i+1]++
		}
	}
}

// filterTables makes the tables list only what is shown. A table without rows
// is left out, and with it what then describes no table.
func (sel *selector) filterTables() {
	sel.countShown()
	p := sel.presence()
	var unread []string
	var left, out []int32
	for i := range sel.shown {
		i := int32(i)
		if sel.shown[i].rule == notShown {
			continue
		}
		if !sel.more(1) {
			return
		}
		columns, keep := sel.tableRule(i, p)
		if columns == nil {
			continue
		}
		data, readable := sel.content(i)
		if !readable {
			if sel.read != nil {
				unread = append(unread, sel.PathOf(i))
			}
			left = append(left, i)
			continue
		}
		if new, n, ok := tsv.Filter(data, columns, keep); ok && n == 0 {
			sel.shown[i] = cause{}
			out = append(out, i)
		} else {
			left = append(left, i)
			sel.replace(i, data, new, ok)
		}
	}
	sel.dropDescriptions(out, left)
	if len(unread) > 0 {
		sel.hints = append(sel.hints, fmt.Sprintf("%s cannot be read now, so it lists all there is, not what is shown", list(unread)))
	}
}

func (sel *selector) replace(i int32, old, new []byte, ok bool) {
	if ok && string(old) != string(new) {
		sel.replaced[int(sel.Files[i].First)] = new
	}
}

// dropDescriptions hides the JSON files of tables that were left out, unless
// they describe another one that is shown.
func (sel *selector) dropDescriptions(out, left []int32) {
	if len(out) == 0 {
		return
	}
	needed := make(map[int32]bool)
	for _, t := range left {
		for _, g := range sel.descriptions(t) {
			needed[g] = true
		}
	}
	for _, t := range out {
		for _, g := range sel.descriptions(t) {
			if !needed[g] {
				sel.shown[g] = cause{}
			}
		}
	}
}

// descriptions returns the JSON files that describe table t.
func (sel *selector) descriptions(t int32) (list []int32) {
	f := sel.Files[t]
	if f.Place == layout.Phenotype {
		if g, ok := sel.FileAt(withoutExt(sel.PathOf(t)) + ".json"); ok && sel.describes(g, t) {
			list = append(list, g)
		}
	}
	top := sel.Dirs[f.Dir].Root
	for d := f.Dir; d >= 0 && sel.more(1); d = sel.Dirs[d].Parent {
		if sel.Dirs[d].Place == layout.Phenotype {
			continue // done
		}
		for _, g := range sel.candidates(f, d, sel.Words.Text[f.Suffix], ".json", nil) {
			if !sel.more(1) {
				return nil
			}
			if sel.describes(g, t) {
				list = append(list, g)
			}
		}
		if d == top {
			break
		}
	}
	return list
}

// describes reports whether JSON file g describes table t.
func (c names) describes(g, t int32) bool {
	a, b := &c.Files[g], &c.Files[t]
	if a.Suffix != b.Suffix || a.Place == layout.Phenotype && !sameStem(c.PathOf(g), c.PathOf(t)) {
		return false
	}
	for d := b.Dir; d >= 0; d = c.Dirs[d].Parent {
		if d == a.Dir {
			return c.Applies(*a, *b, nil)
		}
	}
	return false
}

func sameStem(a, b string) bool { return withoutExt(a) == withoutExt(b) }

func withoutExt(p string) string { return strings.TrimSuffix(p, path.Ext(p)) }

// list names a few of many for people.
func list(names []string) string {
	if n := len(names); n > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:2], ", "), n-2)
	}
	return strings.Join(names, ", ")
}
