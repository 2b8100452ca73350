package filter

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/vm"
	"github.com/expr-lang/expr/vm/runtime"
)

// A Condition is what --where asks for: true or false of what names say. It
// belongs to one goroutine.
type Condition struct {
	text    string
	program *vm.Program
	names   []string
	vm      vm.VM
}

// ParseCondition checks a condition. The error is a *UsageError.
func ParseCondition(text string) (*Condition, error) {
	names := &nameVisitor{seen: make(map[string]bool), local: make(map[string]bool), bare: make(map[*ast.IdentifierNode]struct{})}
	program, err := expr.Compile(text, expr.AllowUndefinedVariables(), expr.AsBool(), expr.Patch(names), expr.MaxNodes(1000), expr.Function(addition, add))
	if err != nil {
		return nil, conditionError(text, strings.Join(strings.Fields(err.Error()), " "))
	}
	if names.builds != "" {
		return nil, conditionError(text, names.builds+" makes new values; a condition compares those that are there")
	}
	if len(names.bare) > 0 {
		return nil, conditionError(text, environment+` stands before a name in brackets, as in $env["age at scan"], and nowhere else`)
	}
	return &Condition{text: text, program: program, names: names.names()}, nil
}

func conditionError(text, why string) error {
	return &UsageError{Dimension: "where", Value: fmt.Sprintf("%q", text), Why: "is no condition (" + why + ")", Do: `for example: --where 'age > 30 and sex == "F"'`}
}

// Text returns the condition as it was given.
func (c *Condition) Text() string { return c.text }

// Names returns the names that the condition asks for, sorted.
func (c *Condition) Names() []string { return c.names }

// Holds reports whether the condition is true where the names say what is in
// said. A name that is not there, or nil, is not known: what compares it does
// not hold. The error is a *UsageError.
func (c *Condition) Holds(said map[string]any) (bool, error) {
	out, err := c.vm.Run(c.program, said)
	for _, name := range c.names {
		if said[name] == nil && err != nil {
			return false, nil // compared with what is not known
		}
	}
	holds, isBool := out.(bool)
	switch {
	case err != nil:
		return false, conditionError(c.text, strings.Join(strings.Fields(err.Error()), " "))
	case !isBool:
		return false, conditionError(c.text, fmt.Sprintf("it is %v, not true or false", out))
	}
	return holds, nil
}

// addition is what "+" calls: no name that a condition can have. Text is not
// added: twice itself, thirty times over, is more than there is memory for.
const addition = "+"

func add(terms ...any) (any, error) {
	for _, t := range terms {
		if text, isText := t.(string); isText {
			return nil, fmt.Errorf("numbers can be added, and %.20q is text", text)
		}
	}
	return runtime.Add(terms[0], terms[1]), nil
}

// environment is what the language calls all names together. It is allowed only
// in the form $env["age at scan"], for names that are no words.
const environment = "$env"

// nameVisitor collects the names of a condition, age or $env["age at scan"], and
// changes it: a name that the language has for a function or type is a name
// nevertheless, unless it is called; comparisons with nil, which would be errors,
// are false; and additions are ours.
type nameVisitor struct {
	seen  map[string]bool
	local map[string]bool                  // what the condition itself defines
	bare  map[*ast.IdentifierNode]struct{} // $env, not as above

	builds string // a function, if any, a few calls of which make gigabytes of a letter
}

// names returns the names that are asked for, sorted.
func (v *nameVisitor) names() []string {
	maps.DeleteFunc(v.seen, func(name string, _ bool) bool { return v.local[name] })
	return slices.Sorted(maps.Keys(v.seen))
}

func (v *nameVisitor) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if n.Value == environment {
			v.bare[n] = struct{}{}
			return
		}
		v.seen[n.Value] = true
		if _, taken := builtin.Index[n.Value]; taken {
			ast.Patch(node, &ast.MemberNode{Node: &ast.IdentifierNode{Value: environment}, Property: &ast.StringNode{Value: n.Value}})
		}
	case *ast.BuiltinNode:
		switch n.Name {
		case "concat", "flatten", "join", "reduce", "repeat", "replace", "toBase64", "toJSON":
			v.builds = n.Name
		}
	case *ast.VariableDeclaratorNode:
		v.local[n.Name] = true
	case *ast.MemberNode:
		base, isName := n.Node.(*ast.IdentifierNode)
		if key, isText := n.Property.(*ast.StringNode); isName && isText && base.Value == environment {
			v.seen[key.Value] = true
			delete(v.bare, base)
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "<", "<=", ">", ">=":
			known := &ast.BinaryNode{Operator: "and", Left: notNil(n.Left), Right: notNil(n.Right)}
			ast.Patch(node, &ast.ConditionalNode{Cond: known, Exp1: n, Exp2: &ast.BoolNode{}})
		case "+":
			ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: addition}, Arguments: []ast.Node{n.Left, n.Right}})
		}
	}
}

func notNil(n ast.Node) ast.Node {
	return &ast.BinaryNode{Operator: "!=", Left: n, Right: &ast.NilNode{}}
}
