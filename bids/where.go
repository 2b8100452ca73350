package bids

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"
)

// where is a condition on what tables and sidecars say of a file: the columns
// of scans.tsv, sessions.tsv and participants.tsv, and the fields of its merged
// JSON sidecars. A name that several of them have means the first. What they do
// not say, or say is n/a, is nil; a comparison with it does not hold.
type where struct {
	sel     *selector
	text    string
	program *vm.Program
	names   []string // that the condition uses

	participants map[int32]columns // by root directory
	sessions     map[int32]columns // by directory of the subject
	scans        map[int32]columns // by directory
	sidecars     map[string]bool   // fields that sidecars have been found to have
	known        map[string]bool   // columns that tables have
	used         bool              // for at least one file
	err          error
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
	return &where{sel: sel, text: text, program: program, names: names,
		participants: make(map[int32]columns), sessions: make(map[int32]columns), scans: make(map[int32]columns),
		sidecars: make(map[string]bool), known: make(map[string]bool)}, nil
}

// match reports whether the condition holds for a file. It keeps the first
// error and holds for nothing then.
func (w *where) match(i int32) bool {
	if w.err != nil {
		return false
	}
	w.used = true
	env := w.env(i)
	out, err := vm.Run(w.program, env)
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

// env returns the values of the names that the condition uses.
func (w *where) env(i int32) map[string]any {
	f := &w.sel.files[i]
	env := make(map[string]any, len(w.names))
	var left []string
	for _, name := range w.names {
		v, known := w.cell(i, f, name)
		if v != nil {
			env[name] = v
		} else if !known {
			left = append(left, name)
		}
	}
	if len(left) > 0 {
		for name, v := range w.sel.metadata(i, left) {
			env[name], w.sidecars[name] = v, true
		}
	}
	return env
}

// cell returns what the tables say of a file; known: one of them has the
// column.
func (w *where) cell(i int32, f *file, name string) (v any, known bool) {
	d := &w.sel.dirs[f.dir]
	for at := f.dir; w.sel.dirs[at].place == subject; at = w.sel.dirs[at].parent {
		scans := w.table(w.scans, at, "scans", "filename")
		if p := w.sel.pathOf(i); v == nil {
			v = scans.get(strings.TrimPrefix(p, w.sel.dirs[at].path+"/"), name)
		}
	}
	if v == nil {
		v = w.table(w.sessions, w.sel.subjectDir(f.dir), "sessions", "session_id").get("ses-"+w.sel.words.text[d.ses], name)
	}
	if v == nil {
		v = w.table(w.participants, d.root, "participants", "participant_id").get("sub-"+w.sel.words.text[d.sub], name)
	}
	return v, w.known[name]
}

// table reads the table with a suffix in a directory, once.
func (w *where) table(read map[int32]columns, d int32, suffix, key string) columns {
	t, done := read[d]
	if done {
		return t
	}
	for _, g := range w.sel.named(d, suffix, ".tsv") {
		data, ok := w.sel.content(g)
		if !ok {
			w.err = fmt.Errorf("--where needs %s, which cannot be read", w.sel.pathOf(g))
			continue
		}
		t = parseColumns(data, key)
		for _, name := range t.names {
			w.known[name] = true
		}
	}
	read[d] = t
	return t
}

// check returns an error when the condition could not be evaluated, or uses
// names that neither a table nor a sidecar has.
func (w *where) check() error {
	if w.err != nil || !w.used {
		return w.err
	}
	for _, name := range w.names {
		if !w.known[name] && !w.sidecars[name] {
			have := slices.Sorted(maps.Keys(w.known))
			e := &NoMatchError{Dimension: "where", Value: w.text, Unknown: name, Nearest: nearest(name, have)}
			e.Hints = []string{"columns there are: " + strings.Join(have, ", ") + "; and the fields of JSON sidecars"}
			return e
		}
	}
	return nil
}

// metadata returns fields of a file's merged sidecars: of each field the
// nearest.
func (sel *selector) metadata(i int32, names []string) map[string]any {
	found := make(map[string]any)
	f := sel.files[i]
	for d := f.dir; d >= 0; d = sel.dirs[d].parent {
		for _, g := range sel.candidates(f, d, sel.words.text[f.suffix], ".json", nil) {
			if !sel.applies(sel.files[g], f, nil) {
				continue
			}
			fields := sel.fieldsOf(g)
			for _, name := range names {
				if v, ok := fields[name]; ok && found[name] == nil && v != nil {
					found[name] = v
				}
			}
		}
		if d == sel.dirs[f.dir].root {
			break
		}
	}
	return found
}

// fieldsOf returns the fields of a JSON file; of one that cannot be read, none.
func (sel *selector) fieldsOf(g int32) (fields map[string]any) {
	if known, done := sel.fields[g]; done {
		return known
	}
	if data, ok := sel.content(g); ok && json.Unmarshal([]byte(strings.TrimPrefix(string(data), bom)), &fields) != nil {
		fields = nil
	}
	// Files below read theirs in turn; those above are asked for again.
	if sel.dirs[sel.files[g].dir].modality == 0 {
		sel.fields[g] = fields
	}
	return fields
}
