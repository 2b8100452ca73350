package bids

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/bids/internal/layout"
)

// Read returns the content of the file with path(i). An error makes the rules
// that need it do without.
type Read func(i int) ([]byte, error)

// Result is what a selection selects. Numbers are indices of the catalog's
// paths, sorted.
type Result struct {
	Primary  []int          // the files that were asked for
	Files    []int          // the view: all files that are shown
	Replaced map[int][]byte // content of shown files that differs from the dataset's
	Root     []int          // those of Files at the root that RootFiles names
	Hints    []string       // what the user may have missed, one sentence each
}

// Select returns what a selection selects, with the companions of each file.
// It returns a *filter.UsageError when the selection means nothing, and a
// *NoMatchError when a value matches nothing or no file is left. read may be
// nil; rules that need content do nothing then.
//
// Where files of other selections are shown, too, tables and links also name
// those for which beside holds, which may be nil.
func (c *Catalog) Select(s Selection, read func(i int) ([]byte, error), beside func(path string) bool) (*Result, error) {
	sel, err := c.selectFiles(s, read)
	if err != nil {
		return nil, err
	}
	for i := range sel.shown {
		if !sel.more(1) {
			break
		}
		if f := &sel.Files[i]; beside != nil && sel.shown[i].rule == notShown && f.Place == layout.Subject && beside(sel.PathOf(int32(i))) {
			sel.shown[i].rule = ruleBeside
		}
	}
	sel.agree()
	for i := range sel.shown {
		if sel.shown[i].rule == ruleBeside {
			sel.shown[i] = cause{}
		}
	}
	sel.tellUnread()
	if sel.err != nil {
		return nil, sel.err
	}
	return sel.result(), nil
}

// tellUnread says what could not be known. Tables have been told of.
func (sel *selector) tellUnread() {
	var paths []string
	for _, i := range slices.Sorted(maps.Keys(sel.unread)) {
		if f := &sel.Files[i]; sel.Words.Text[f.Ext] == ".json" || f.Place == layout.Subject && !sel.IsTable(f) {
			paths = append(paths, sel.PathOf(i))
		}
	}
	if len(paths) > 0 {
		sel.hints = append(sel.hints, fmt.Sprintf("%s cannot be read now, so it is not known which files belong together by it (IntendedFor, B0FieldSource, stim_file …)", list(paths)))
	}
}

// agree makes tables and links agree with what is shown.
func (sel *selector) agree() {
	if sel.whole && len(sel.s.Exclude) == 0 {
		return
	}
	sel.filterTables()
	if !sel.s.IntendedForKeep {
		sel.pruneLinks()
	}
}

// selector is one run of Select.
type selector struct {
	names
	work
	asked
	contents
	outcome
}

// asked is what the selection says, understood.
type asked struct {
	s          Selection
	query      *query
	whole      bool // nothing narrows it
	exclude    filter.Globs
	pipelineIn []bool // by the word of a directory below derivatives
}

// contents is what files say, as far as it was looked at.
type contents struct {
	read     Read
	memory   Memory
	links    map[int32]*links        // of JSON files and tables
	unread   map[int32]bool          // files that were needed and could not be read
	subjects map[int32]*subjectLinks // by directory
	groups   map[group]*groupIndex
	datasets map[int32]map[string]string // DatasetLinks, by the root of a dataset
}

// outcome is what is shown, as far as it is known.
type outcome struct {
	primary  []int32
	shown    []cause        // of each file
	before   []int32        // how many of the files before it are shown; see countShown
	queue    []int32        // shown, its companions not yet
	tables   []bool         // of each directory: its tables are shown
	unused   []bool         // of each directory: it is the root of a raw dataset of which nothing is shown
	replaced map[int][]byte // new content by path
	hints    []string
}

// cause is why a file is shown; the zero value: it is not.
type cause struct {
	rule rule
	by   int32 // the file that it is a companion of
}

func (c *Catalog) selectFiles(s Selection, read func(i int) ([]byte, error)) (*selector, error) {
	sel, err := c.choosePrimary(s, read)
	if err != nil {
		return nil, err
	}
	for _, i := range slices.Backward(sel.primary) { // the last in the queue is the first out
		sel.add(i, rulePrimary, i)
	}
	sel.close()
	sel.findUnused()
	if err := sel.addOutside(); err != nil {
		return nil, err
	}
	sel.close()
	return sel, sel.err
}

// choosePrimary begins a run: it finds the files that are asked for.
func (c *Catalog) choosePrimary(s Selection, read Read) (*selector, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	sel := &selector{
		names: c.names, work: c.newWork(),
		asked: asked{s: s, whole: s.isWhole(), exclude: filter.CompileGlobs(s.Exclude)},
		contents: contents{read: read, memory: c.memory, links: make(map[int32]*links), unread: make(map[int32]bool),
			subjects: make(map[int32]*subjectLinks), groups: make(map[group]*groupIndex), datasets: make(map[int32]map[string]string)},
		outcome: outcome{shown: make([]cause, len(c.names.Files)), tables: make([]bool, len(c.names.Dirs)), replaced: make(map[int][]byte)},
	}
	var err error
	if sel.pipelineIn, err = sel.pipelines(); err != nil {
		return nil, err
	}
	return sel, sel.selectPrimary(sel.universe())
}

// pipelines returns, by word, the derivatives that were asked for. The word 0,
// the dataset itself, is always in.
func (sel *selector) pipelines() ([]bool, error) {
	in := make([]bool, len(sel.Words.Text))
	in[0] = true
	have := make(map[layout.Word]int)
	for i := range sel.Dirs {
		if p := sel.Dirs[i].Pipeline; p != 0 {
			have[p]++
			in[p] = sel.s.AllDerivatives
		}
	}
	for _, v := range sel.s.Derivatives {
		found := false
		for w := range have {
			if filter.Matches(filter.Suffix, v, sel.Words.Text[w]) || v == filter.Any {
				in[w], found = true, true
			}
		}
		if !found {
			return nil, &NoMatchError{Dimension: "derivatives", Value: filter.Quoted(v), Nearest: filter.Nearest(v, sel.Words.Sorted(have))}
		}
	}
	return in, nil
}

// universe returns the files that can be primary.
func (sel *selector) universe() []int32 {
	list := make([]int32, 0, len(sel.Files))
	for i := range sel.Files {
		if f := &sel.Files[i]; f.Place == layout.Subject && sel.pipelineIn[sel.Dirs[f.Dir].Pipeline] && !sel.IsTable(f) {
			list = append(list, int32(i))
		}
	}
	return list
}

func (sel *selector) selectPrimary(universe []int32) error {
	s := &sel.s
	q := sel.compile(filter.Query{Entities: s.Entities, Datatype: s.Datatype, Suffix: s.Suffix, Ext: s.Ext})
	if err := sel.check(q, universe); err != nil {
		return err
	}
	if len(s.AnyOf) > 0 {
		d := &dimension{name: "bids-filter-file"}
		for _, alternative := range s.AnyOf {
			d.groups = append(d.groups, sel.compile(alternative))
			d.values = append(d.values, alternative.Name)
		}
		q.dims = append(q.dims, d)
	}
	if len(s.Include) > 0 {
		q.dims = append(q.dims, &dimension{name: "include", values: s.Include, paths: filter.CompileGlobs(s.Include)})
	}
	var condition *where
	if s.Where != "" {
		var err error
		if condition, err = sel.newWhere(s.Where); err != nil {
			return err
		}
		q.dims = append(q.dims, &dimension{name: "where", values: []string{s.Where}, where: condition})
	}
	sel.query = q
	for _, i := range universe {
		if !sel.more(1 + len(q.dims)) {
			return sel.err
		}
		if q.match(sel.names, i) && !sel.excluded(i) {
			sel.primary = append(sel.primary, i)
		}
	}
	if condition != nil {
		if err := condition.check(); err != nil {
			return err
		}
	}
	switch {
	case len(sel.primary) == 0 && (!sel.whole || len(universe) > 0):
		return sel.nothing(universe)
	case len(s.Entities) > 0:
		sel.hints = append(sel.hints, sel.lost(q, universe, sel.primary)...)
	}
	sel.tellIdle(q)
	return nil
}

// tellIdle names the queries of a filter file that select nothing.
func (sel *selector) tellIdle(q *query) {
	for _, d := range q.dims {
		for _, alternative := range d.groups {
			if !slices.ContainsFunc(sel.primary, func(i int32) bool { return alternative.match(sel.names, i) }) {
				sel.hints = append(sel.hints, fmt.Sprintf("the query %q of the filter file selects nothing", alternative.name))
			}
		}
	}
}

// nothing explains an empty selection.
func (sel *selector) nothing(universe []int32) error {
	if len(sel.s.Exclude) > 0 && slices.ContainsFunc(universe, func(i int32) bool { return sel.query.match(sel.names, i) }) {
		return &NoMatchError{Dimension: "exclude", Value: strings.Join(sel.s.Exclude, ","), Emptied: true, Others: describe(sel.query.dims)}
	}
	return sel.emptied(sel.query, universe)
}

// excluded reports whether --exclude names a file. What makes a dataset a
// dataset cannot be excluded.
func (sel *selector) excluded(i int32) bool {
	return sel.exclude != nil && !sel.IsEssential(i) && sel.exclude.Match(sel.PathOf(i))
}

// add shows a file, if it is not shown already.
func (sel *selector) add(i int32, r rule, by int32) {
	if sel.shown[i].rule != 0 || sel.Files[i].Place == layout.Hidden || sel.excluded(i) {
		return
	}
	sel.shown[i] = cause{r, by}
	sel.queue = append(sel.queue, i)
}

// result lists what is shown.
func (sel *selector) result() *Result {
	r := &Result{Hints: sel.hints, Primary: sel.List(sel.primary), Replaced: sel.replaced}
	var files []int32
	var named []int32
	for i := range sel.shown {
		if sel.shown[i].rule == notShown {
			continue
		}
		files = append(files, int32(i))
		if sel.namesRootFile(int32(i)) {
			named = append(named, int32(i))
		}
	}
	r.Files, r.Root = sel.List(files), sel.List(named)
	return r
}
