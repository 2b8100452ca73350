package bids

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"

	"github.com/uniharmony/uniharmonyfs/bids/internal/tsv"
)

// where is a condition on what tables and sidecars say of a file: the columns
// of scans.tsv, sessions.tsv and participants.tsv, and the fields of its merged
// JSON sidecars. A name that several of them have means the first. What they do
// not say, or say is n/a, is nil; a comparison with it does not hold.
type where struct {
	sel     *selector
	text    string
	program *vm.Program
	vm      vm.VM
	names   []string // that the condition uses

	participants map[int32]tsv.Columns // by root directory
	sessions     map[int32]tsv.Columns // by directory of the subject
	scans        map[int32]tsv.Columns // by directory
	columns      [3]nameList           // that tables of these kinds have: scans, sessions, participants
	everything   bool                  // the cells of all columns are needed

	sidecars map[int32]map[string]any // of JSON files, the fields that the condition uses
	fields   map[string]bool          // that sidecars have been found to have
	kept     int                      // bytes that sidecars holds

	used     bool // for at least one file
	err      error
	tooLarge error // of a table
}

// compileWhere checks a condition. The error is a *UsageError.
func compileWhere(text string) (*vm.Program, []string, error) {
	names := &nameVisitor{seen: make(map[string]bool)}
	program, err := expr.Compile(text, expr.AllowUndefinedVariables(), expr.AsBool(), expr.Patch(names), expr.MaxNodes(1000))
	if err != nil {
		return nil, nil, whereError(text, strings.Join(strings.Fields(err.Error()), " "))
	}
	return program, slices.Sorted(maps.Keys(names.seen)), nil
}

func whereError(text, why string) error {
	return &UsageError{Dimension: "where", Value: fmt.Sprintf("%q", text), Why: "is no condition (" + why + ")", Do: `for example: --where 'age > 30 and sex == "F"'`}
}

// nameVisitor collects the names of a condition: age, or $env["age at scan"];
// and makes comparisons with nil false, which would be errors.
type nameVisitor struct{ seen map[string]bool }

func (v *nameVisitor) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if n.Value != "$env" {
			v.seen[n.Value] = true
		}
	case *ast.MemberNode:
		base, isName := n.Node.(*ast.IdentifierNode)
		if key, isText := n.Property.(*ast.StringNode); isName && isText && base.Value == "$env" {
			v.seen[key.Value] = true
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "<", "<=", ">", ">=":
			known := &ast.BinaryNode{Operator: "and", Left: notNil(n.Left), Right: notNil(n.Right)}
			ast.Patch(node, &ast.ConditionalNode{Cond: known, Exp1: n, Exp2: &ast.BoolNode{}})
		}
	}
}

func notNil(n ast.Node) ast.Node {
	return &ast.BinaryNode{Operator: "!=", Left: n, Right: &ast.NilNode{}}
}

func (sel *selector) newWhere(text string) (*where, error) {
	program, names, err := compileWhere(text)
	if err != nil {
		return nil, err
	}
	w := sel.tablesOnly()
	w.text, w.program, w.names, w.fields = text, program, names, make(map[string]bool)
	w.everything = false
	return w, nil
}

// match reports whether the condition holds for a file. It keeps the first
// error and holds for nothing then.
func (w *where) match(i int32) bool {
	if w.err != nil || !w.sel.more(1+len(w.names)) {
		return false
	}
	w.used = true
	env := make(map[string]any, len(w.names))
	for _, name := range w.names {
		if v := w.value(i, name); v.is != nil {
			env[name] = v.is
		}
	}
	out, err := w.vm.Run(w.program, env)
	for _, name := range w.names {
		if env[name] == nil && err != nil {
			return false // compared with what is not known
		}
	}
	holds, isBool := out.(bool)
	switch {
	case err != nil:
		w.err = whereError(w.text, strings.Join(strings.Fields(err.Error()), " "))
	case !isBool:
		w.err = whereError(w.text, fmt.Sprintf("it is %v, not true or false", out))
	}
	return holds && w.err == nil
}

// evidence says what the condition's names are for a file, and where that is
// written.
func (w *where) evidence(i int32) string {
	var said []string
	for _, name := range w.names {
		v := w.value(i, name)
		switch {
		case v.is == nil && v.from == "":
			said = append(said, name+" is said nowhere")
		case v.is == nil:
			said = append(said, fmt.Sprintf("%s is n/a in %s", name, v.from))
		default:
			said = append(said, fmt.Sprintf("%s is %v in %s", name, v.is, v.from))
		}
	}
	return strings.Join(said, ", ")
}

// check returns an error when the condition could not be evaluated, or uses
// names that neither a table nor a sidecar has.
func (w *where) check() error {
	if err := cmp.Or(w.sel.err, w.err); err != nil || !w.used {
		return err
	}
	for _, name := range w.names {
		if !w.fields[name] && !w.hasColumn(name) {
			have := slices.Sorted(maps.Keys(w.fields))
			all := slices.Sorted(slices.Values(slices.Concat(have, slices.Concat(w.columns[0].list, w.columns[1].list, w.columns[2].list))))
			e := &NoMatchError{Dimension: "where", Value: w.text, Unknown: name, Nearest: nearest(name, slices.Compact(all))}
			for kind := len(tableKinds) - 1; kind >= 0; kind-- {
				if columns := w.columns[kind].list; len(columns) > 0 {
					e.Hints = append(e.Hints, fmt.Sprintf("columns of %s.tsv: %s", tableKinds[kind], some(columns, "; list --facets names all")))
				}
			}
			if len(have) > 0 {
				e.Hints = append(e.Hints, "fields of sidecars: "+some(have, ""))
			}
			return e
		}
	}
	return nil
}

// some names the first of many for people.
func some(names []string, rest string) string {
	const most = 25
	if n := len(names) - most; n > 1 {
		return fmt.Sprintf("%s and %d more%s", strings.Join(names[:most], ", "), n, rest)
	}
	return strings.Join(names, ", ")
}
