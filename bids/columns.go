package bids

import (
	"slices"
	"strconv"
	"strings"
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

// parseColumns reads a table whose rows the column key names. The key stays
// text.
func parseColumns(data []byte, key string) columns {
	t := parseTable(data)
	c := columns{cells: make(map[string][]any), key: make(map[string]int)}
	rows := slices.DeleteFunc(slices.Clone(t.rows), row.isBlank)
	for n, name := range strings.Split(strings.TrimPrefix(t.head.text(), bom), "\t") {
		name = strings.TrimSpace(name)
		if _, twice := c.cells[name]; name == "" || twice {
			continue
		}
		texts := make([]string, len(rows))
		for i, r := range rows {
			texts[i] = r.cell(n)
		}
		c.names = append(c.names, name)
		c.cells[name] = infer(texts, name == key)
	}
	if at := t.column(key); at >= 0 {
		for i, r := range rows {
			if _, twice := c.key[r.cell(at)]; !twice {
				c.key[r.cell(at)] = i
			}
		}
	}
	return c
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
