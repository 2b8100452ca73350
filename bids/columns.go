package bids

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// columns are the cells of a table by column, with the types that pybids
// infers (it reads tables with pandas): a column of numbers is of numbers, one
// of True and False of booleans, any other of text. Missing cells are nil.
type columns struct {
	path  string // of the table; "": there is none
	names []string
	cells map[string][]any
	key   map[string]int // row of each value of the key column; the first counts
}

const (
	maxColumns = 100_000
	maxCells   = 1 << 24
)

// parseColumns reads a table whose rows the column key names. The key stays
// text. Of the other columns it keeps the cells of those that are wanted, and
// the names of all. The error says that there are too many.
func parseColumns(data []byte, key string, wanted func(name string) bool) (columns, error) {
	t := parseTable(data)
	c := columns{cells: make(map[string][]any), key: make(map[string]int)}
	if n := strings.Count(string(t.head), "\t") + 1; n > maxColumns {
		return columns{}, fmt.Errorf("has %d columns, more than %d", n, maxColumns)
	}
	rows := slices.DeleteFunc(slices.Clone(t.rows), row.isBlank)
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
		c.names = append(c.names, name)
		if name == key || wanted(name) {
			slots[len(slots)-1] = len(kept)
			kept = append(kept, name)
		}
	}
	if cells := len(rows) * len(kept); cells > maxCells {
		return columns{}, fmt.Errorf("has %d rows of %d columns, more than %d cells", len(rows), len(kept), maxCells)
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
		c.cells[name] = infer(texts[k], name == key)
		if name != key {
			continue
		}
		for i, label := range texts[k] {
			if _, twice := c.key[label]; !twice {
				c.key[label] = i
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
		if _, err := parseNumber(s); err != nil {
			numbers = false
		}
		bools = bools && (strings.EqualFold(s, "true") || strings.EqualFold(s, "false"))
	}
	bools = bools && !missing
	for i, s := range texts {
		switch {
		case isMissing(s):
		case numbers:
			cells[i], _ = parseNumber(s)
		case bools:
			cells[i] = strings.EqualFold(s, "true")
		default:
			cells[i] = s
		}
	}
	return cells
}

func parseNumber(s string) (float64, error) {
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
