package filter

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"
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
	names := &nameVisitor{seen: make(map[string]bool)}
	program, err := expr.Compile(text, expr.AllowUndefinedVariables(), expr.AsBool(), expr.Patch(names), expr.MaxNodes(1000))
	if err != nil {
		return nil, conditionError(text, strings.Join(strings.Fields(err.Error()), " "))
	}
	return &Condition{text: text, program: program, names: slices.Sorted(maps.Keys(names.seen))}, nil
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
