package tsv

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// Columns are the cells of a table by column, with the types that pybids
// infers (it reads tables with pandas): a column of numbers is of numbers, one
// of True and False of booleans, any other of text. Missing cells are nil.
type Columns struct {
	Path  string // of the table; "": there is none
	Names []string
	Cells map[string][]any
	Key   map[string]int // row of each value of the key column; the first counts
}

// Limits of a table, and of what is kept of one.
const (
	MaxColumns = 100_000
	maxCells   = 1 << 24
)

// ParseColumns reads a table whose rows the column key names. The key stays
// text. Of the other columns it keeps the cells of those that are wanted, and
// the names of all. The error says that there are too many.
func ParseColumns(data []byte, key string, wanted func(name string) bool) (Columns, error) {
	t := Parse(data)
	c := Columns{Cells: make(map[string][]any), Key: make(map[string]int)}
	if n := strings.Count(string(t.head), "\t") + 1; n > MaxColumns {
		return Columns{}, fmt.Errorf("has %d columns, more than %d", n, MaxColumns)
	}
	rows := slices.DeleteFunc(slices.Clone(t.Rows), Row.IsBlank)
	var kept []string
	var slots []int // of each column, its place in kept, or -1
	seen := make(map[string]bool)
	for name := range strings.SplitSeq(strings.TrimPrefix(t.head.text(), schema.BOM), "\t") {
		name = strings.TrimSpace(name)
		slots = append(slots, -1)
		if name == "" || seen[name] {
			continue
		}
		seen[name] = true
		c.Names = append(c.Names, name)
		if name == key || wanted(name) {
			slots[len(slots)-1] = len(kept)
			kept = append(kept, name)
		}
	}
	if cells := len(rows) * len(kept); cells > maxCells {
		return Columns{}, fmt.Errorf("has %d rows of %d columns, more than %d cells", len(rows), len(kept), maxCells)
	}
	texts := make([][]string, len(kept))
	for k := range texts {
		texts[k] = make([]string, len(rows))
	}
	for i, r := range rows {
		n := 0
		for cell := range strings.SplitSeq(r.text(), "\t") {
			if n == len(slots) {
				break
			}
			if k := slots[n]; k >= 0 {
				texts[k][i] = strings.TrimSpace(cell)
			}
			n++
		}
	}
	for k, name := range kept {
		c.Cells[name] = infer(texts[k], name == key)
		if name != key {
			continue
		}
		for i, label := range texts[k] {
			if _, twice := c.Key[label]; !twice {
				c.Key[label] = i
			}
		}
	}
	return c, nil
}

// infer gives the cells of a column their type.
func infer(texts []string, asText bool) []any {
	cells := make([]any, len(texts))
	numbers, bools, missing := !asText, !asText, false
	for _, s := range texts {
		if isMissing(s) {
			missing = true
			continue
		}
		if _, err := ParseNumber(s); err != nil {
			numbers = false
		}
		bools = bools && (strings.EqualFold(s, "true") || strings.EqualFold(s, "false"))
	}
	bools = bools && !missing
	for i, s := range texts {
		switch {
		case isMissing(s):
		case numbers:
			cells[i], _ = ParseNumber(s)
		case bools:
			cells[i] = strings.EqualFold(s, "true")
		default:
			cells[i] = s
		}
	}
	return cells
}

// ParseNumber reads a cell as the number that pandas would take it for.
func ParseNumber(s string) (float64, error) {
	if strings.ContainsAny(s, "xX_pP") { // Go's own forms
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(s, 64)
}

// isMissing reports whether a cell says nothing: n/a by BIDS, and what pandas
// takes for it.
func isMissing(s string) bool {
	switch s {
	case "", "n/a", "N/A", "NA", "#N/A", "NaN", "nan", "null", "NULL", "None", "<NA>":
		return true
	}
	return false
}
