package bids

import (
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/bids/internal/layout"
)

// Reaches reports whether a selection may show files below a directory of which only
// the path is known, relative to the dataset's root: that of another dataset. What the
// files' own names say is not considered. Where said is nil, the dataset is taken for
// no study.
func (s Selection) Reaches(dir string, said Descriptions) bool {
	c := names{layout.New(1, func(int) string { return dir + "/file" }, rawDatasets(said, dir))}
	sel := &selector{names: c, asked: asked{s: s, whole: s.isWhole(), exclude: filter.CompileGlobs(s.Exclude)}}
	sel.query = c.compile(filter.Query{Entities: s.Entities})
	f := &c.Files[0]
	d := &c.Dirs[f.Dir]
	if d.Opaque >= 0 || sel.exclude != nil && (sel.exclude.Match(dir) || sel.exclude.Match(dir+"/file")) {
		return false
	}
	if d.Pipeline != 0 && !s.AllDerivatives && !slices.ContainsFunc(s.Derivatives, func(v string) bool {
		return v == filter.Any || filter.Matches(filter.Suffix, v, c.Words.Text[d.Pipeline])
	}) {
		return false
	}
	// Below the root of a derivative these are as at the dataset's own.
	within, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(d.Path, c.Dirs[d.Root].Path), "/"), "/")
	if d.Pipeline != 0 && (within == "sourcedata" && !s.Sourcedata || within == "code" && !s.Code) {
		return false
	}
	switch f.Place {
	case layout.Hidden:
		return false
	case layout.Subject:
		return sel.inSubjects(d)
	case layout.Sourcedata:
		return s.Sourcedata && sel.inSubjects(d)
	case layout.Code:
		return s.Code
	case layout.Derivatives:
		return s.AllDerivatives || len(s.Derivatives) > 0
	case layout.Stimuli:
		return sel.whole
	case layout.Other:
		return sel.whole || d.Pipeline != 0
	}
	return true // the root of a raw dataset or of a derivative, or phenotype
}

// IsWhole reports whether nothing narrows what is asked for, but perhaps Exclude.
func (s Selection) IsWhole() bool { return s.isWhole() }

// Within is the selection for another dataset that lies at a directory which it
// reaches: of the same files, wherever they are in there.
func (s Selection) Within() Selection {
	s.AllDerivatives = s.AllDerivatives || len(s.Derivatives) > 0
	s.Derivatives, s.RootFiles = nil, nil
	return s
}
