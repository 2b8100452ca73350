package tsv

import (
	"bytes"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// Table is a TSV file: lines that keep all their bytes.
type Table struct {
	head Row
	Rows []Row
}

// Row is a line with its end.
type Row string

// Parse splits a table into lines. Any bytes are a table.
func Parse(data []byte) Table {
	var t Table
	for len(data) > 0 {
		n := bytes.IndexByte(data, '\n') + 1
		if n == 0 {
			n = len(data)
		}
		t.Rows = append(t.Rows, Row(data[:n]))
		data = data[n:]
	}
	if len(t.Rows) > 0 {
		t.head, t.Rows = t.Rows[0], t.Rows[1:]
	}
	return t
}

// Column returns the number of a column, or -1 if the table has none of the name.
func (t Table) Column(name string) int {
	head := strings.TrimPrefix(t.head.text(), schema.BOM)
	for i, h := range strings.Split(head, "\t") {
		if strings.TrimSpace(h) == name {
			return i
		}
	}
	return -1
}

// text returns the line without its end.
func (r Row) text() string {
	return strings.TrimSuffix(strings.TrimSuffix(string(r), "\n"), "\r")
}

// IsBlank reports whether a line says nothing.
func (r Row) IsBlank() bool { return strings.TrimSpace(string(r)) == "" }

// Cell returns the text of the n-th column, without white space around it; ""
// where the row is too short.
func (r Row) Cell(n int) string {
	rest := r.text()
	for ; n > 0; n-- {
		_, after, ok := strings.Cut(rest, "\t")
		if !ok {
			return ""
		}
		rest = after
	}
	v, _, _ := strings.Cut(rest, "\t")
	return strings.TrimSpace(v)
}

// filter returns the table with the rows that keep accepts, and how many they
// are. Every byte of the header and of these rows stays; the last row ends as
// the table did.
func (t Table) filter(keep func(Row) bool) (data []byte, n int) {
	var out strings.Builder
	out.WriteString(string(t.head))
	lastStays := true
	for _, r := range t.Rows {
		lastStays = r.IsBlank() || keep(r)
		if !lastStays {
			continue
		}
		if !r.IsBlank() {
			n++
		}
		out.WriteString(string(r))
	}
	data = []byte(out.String())
	if !lastStays && !strings.HasSuffix(string(t.Rows[len(t.Rows)-1]), "\n") {
		data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	}
	return data, n
}

// Filter returns the table with the rows that keep accepts, and their number
// without blank ones. keep gets a row's cells of the columns, and must not hold
// them. ok is false when the table lacks one of the columns.
func Filter(data []byte, columns []string, keep func(cells []string) bool) (filtered []byte, rows int, ok bool) {
	t := Parse(data)
	at := make([]int, len(columns))
	for k, name := range columns {
		if at[k] = t.Column(name); at[k] < 0 {
			return data, 0, false
		}
	}
	cells := make([]string, len(columns))
	filtered, rows = t.filter(func(r Row) bool {
		for k := range at {
			cells[k] = r.Cell(at[k])
		}
		return keep(cells)
	})
	return filtered, rows, true
}

// IsPart reports whether a table has the header of another and some of its rows,
// in order.
func IsPart(some, all []byte) bool {
	part, whole := Parse(some), Parse(all)
	if part.head.text() != whole.head.text() {
		return false
	}
	next := 0
	for _, r := range part.Rows {
		for next < len(whole.Rows) && whole.Rows[next].text() != r.text() {
			next++
		}
		if next == len(whole.Rows) {
			return false
		}
		next++
	}
	return true
}
