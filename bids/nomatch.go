package bids

import (
	"fmt"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/bids/internal/layout"
	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// NoMatchError says that a selection selects nothing: a value that nothing in
// the dataset has, or values that exclude each other.
type NoMatchError struct {
	Dimension string   // the flag without dashes: "sub"
	Value     string   // as it was given; the values, when they are several
	Nearest   []string // values that there are, closest first
	Emptied   bool     // the value is there, but not together with the others
	Others    string   // the filters it does not go together with: "--modality anat"
	Hints     []string // what may have been meant
	Unknown   string   // of --where: the name that no table and no sidecar has

	absent bool // no file has the entity
}

func (e *NoMatchError) Error() string {
	asked := "--" + e.Dimension + " " + e.Value
	switch {
	case e.Dimension == "":
		return "nothing matches: the dataset has no subject"
	case e.Unknown != "":
		return fmt.Sprintf("nothing matches %s: no table has the column %s, and no sidecar the field", asked, e.Unknown)
	case e.Emptied && e.Others == "":
		return "nothing matches " + asked
	case e.Emptied:
		return fmt.Sprintf("nothing matches: %s leaves no file of %s", asked, e.Others)
	case e.absent && filter.IsPseudo(e.Dimension):
		return fmt.Sprintf("nothing matches %s: no file has a %s", asked, e.Dimension)
	case e.absent:
		return fmt.Sprintf("nothing matches %s: no file name in the dataset has %s-", asked, e.Dimension)
	}
	return fmt.Sprintf("nothing matches %s: no such %s in the dataset", asked, longName(e.Dimension))
}

// Advice returns what to do about it, one sentence each.
func (e *NoMatchError) Advice() []string {
	advice := slices.Clone(e.Hints)
	switch n := strings.Join(e.Nearest, ", "); {
	case n == "":
	case e.Unknown != "":
		advice = slices.Insert(advice, 0, "nearest: "+n)
	case e.absent && !filter.IsPseudo(e.Dimension):
		advice = append(advice, "entities there are: "+n)
	case e.Emptied:
		advice = append(advice, "with the other filters, --"+e.Dimension+" can be: "+n)
	default:
		advice = append(advice, "nearest: "+n)
	}
	return advice
}

func longName(dimension string) string {
	switch e, known := schema.FindEntity(dimension); {
	case known:
		return e.Long
	case dimension == filter.Extension:
		return "extension"
	}
	return dimension
}

// unknown explains a value that nothing has.
func (c names) unknown(d *dimension, value string, have map[layout.Word]int, universe []int32) error {
	if len(universe) == 0 {
		return &NoMatchError{}
	}
	e := &NoMatchError{Dimension: d.name, Value: filter.Quoted(value), absent: len(have) == 0}
	switch {
	case !e.absent:
		e.Nearest = filter.Nearest(strings.TrimPrefix(value, d.name+"-"), c.Words.Sorted(have))
	case !filter.IsPseudo(d.name):
		e.Nearest = c.keysOf(universe)
	}
	e.Hints = c.elsewhere(d, value, universe)
	return e
}

// elsewhere finds the value in the other dimensions that people mean when
// they say modality.
func (c names) elsewhere(d *dimension, value string, universe []int32) (hints []string) {
	for _, name := range []string{filter.Datatype, filter.Suffix} {
		if name == d.name || !filter.IsPseudo(d.name) {
			continue
		}
		if _, there := c.lookup(name, value, universe); there {
			hints = append(hints, fmt.Sprintf("%s is a %s: --%s %s", value, map[string]string{filter.Datatype: "datatype", filter.Suffix: "suffix"}[name], name, value))
		}
	}
	if d.name == filter.Datatype && len(hints) == 0 {
		if w, there := c.lookup(filter.Suffix, value+"w", universe); there {
			hints = append(hints, fmt.Sprintf("%s is a suffix: --suffix %s", c.Words.Text[w], c.Words.Text[w]))
		}
	}
	return hints
}

// lookup finds a value of a dimension, whatever its case.
func (c names) lookup(name, value string, universe []int32) (layout.Word, bool) {
	for w := range c.count(&dimension{name: name}, universe) {
		if strings.EqualFold(c.Words.Text[w], value) {
			return w, true
		}
	}
	return 0, false
}

// keysOf returns the entities that file names have.
func (c names) keysOf(files []int32) []string {
	keys := make(map[layout.Word]int)
	for _, i := range files {
		for _, p := range c.Entities(c.Files[i]) {
			keys[p.Key]++
		}
	}
	list := c.Words.Sorted(keys)
	order := func(key string) int {
		if i := slices.IndexFunc(schema.Entities[:], func(e schema.Entity) bool { return e.Short == key }); i >= 0 {
			return i
		}
		return len(schema.Entities)
	}
	slices.SortStableFunc(list, func(a, b string) int { return order(a) - order(b) })
	return list
}

// emptied explains why no file matches: the first filter, in their order, that
// leaves nothing of those before it.
func (c names) emptied(q *query, universe []int32) error {
	left := universe
	for n, d := range q.dims {
		var next []int32
		for _, i := range left {
			if d.match(c, i) {
				next = append(next, i)
			}
		}
		if len(next) > 0 {
			left = next
			continue
		}
		e := &NoMatchError{Dimension: d.name, Value: strings.Join(d.values, ","), Emptied: true, Others: describe(q.dims[:n])}
		if d.isCondition() {
			return e
		}
		e.Nearest = filter.Nearest(strings.TrimPrefix(d.values[0], d.name+"-"), c.Words.Sorted(c.count(d, left)))
		if !filter.IsPseudo(d.name) && c.lacks(d, left) {
			e.Hints = append(e.Hints, orAbsent(d, "files without "+d.name+"- too"))
		}
		return e
	}
	return &NoMatchError{}
}

// lacks reports whether a file has nothing in the dimension.
func (c names) lacks(d *dimension, files []int32) bool {
	return slices.ContainsFunc(files, func(i int32) bool { return d.of(c, c.Files[i]) == 0 })
}

// orAbsent shows the form of a filter that keeps files without the entity.
func orAbsent(d *dimension, what string) string {
	return fmt.Sprintf("%s: --%s %s,%s", what, d.name, strings.Join(d.values, ","), filter.None)
}

// describe writes filters as flags.
func describe(dims []*dimension) string {
	var flags []string
	for _, d := range dims {
		flags = append(flags, "--"+d.name+" "+strings.Join(d.values, ","))
	}
	return strings.Join(flags, " ")
}

// lost tells of datatypes that were asked for by name and lost all their files
// to one filter on an entity that they do not have.
func (c names) lost(q *query, universe, primary []int32) (hints []string) {
	var datatype *dimension
	for _, d := range q.dims {
		if d.name == filter.Datatype {
			datatype = d
		}
	}
	if datatype == nil {
		return nil
	}
	have := c.count(datatype, primary)
	of := make(map[layout.Word][]int32)
	for _, i := range universe {
		if w := c.Dirs[c.Files[i].Dir].Datatype; w != 0 && have[w] == 0 && datatype.accept[w] {
			of[w] = append(of[w], i)
		}
	}
	for w, left := range of {
		if d := c.culprit(q, left); d != nil {
			hints = append(hints, orAbsent(d, fmt.Sprintf("no %s file has %s-; to keep them", c.Words.Text[w], d.name)))
		}
	}
	slices.Sort(hints)
	return hints
}

// culprit returns the one filter on an entity that files fail for lack of it.
func (c names) culprit(q *query, files []int32) *dimension {
	for _, d := range q.dims {
		if filter.IsPseudo(d.name) || d.isCondition() {
			continue
		}
		for _, i := range files {
			rest := func(o *dimension) bool { return o != d && !o.match(c, i) }
			if d.of(c, c.Files[i]) == 0 && !slices.ContainsFunc(q.dims, rest) {
				return d
			}
		}
	}
	return nil
}
