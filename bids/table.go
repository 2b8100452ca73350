package bids

import (
	"bytes"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// table is a TSV file: lines that keep all their bytes.
type table struct {
	head row
	rows []row
}

// row is a line with its end.
type row string

// parseTable splits a table into lines. Any bytes are a table.
func parseTable(data []byte) table {
	var t table
	for len(data) > 0 {
		n := bytes.IndexByte(data, '\n') + 1
		if n == 0 {
			n = len(data)
		}
		t.rows = append(t.rows, row(data[:n]))
		data = data[n:]
	}
	if len(t.rows) > 0 {
		t.head, t.rows = t.rows[0], t.rows[1:]
	}
	return t
}

// column returns the number of a column, or -1.
func (t table) column(name string) int {
	head := strings.TrimPrefix(t.head.text(), schema.BOM)
	for i, h := range strings.Split(head, "\t") {
		if strings.TrimSpace(h) == name {
			return i
		}
	}
	return -1
}

// text returns the line without its end.
func (r row) text() string {
	return strings.TrimSuffix(strings.TrimSuffix(string(r), "\n"), "\r")
}

// isBlank reports whether a line says nothing.
func (r row) isBlank() bool { return strings.TrimSpace(string(r)) == "" }

// cell returns the text of a column, without white space around it.
func (r row) cell(n int) string {
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
func (t table) filter(keep func(row) bool) (data []byte, n int) {
	var out strings.Builder
	out.WriteString(string(t.head))
	lastStays := true
	for _, r := range t.rows {
		lastStays = r.isBlank() || keep(r)
		if !lastStays {
			continue
		}
		if !r.isBlank() {
			n++
		}
		out.WriteString(string(r))
	}
	data = []byte(out.String())
	if !lastStays && !strings.HasSuffix(string(t.rows[len(t.rows)-1]), "\n") {
		data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	}
	return data, n
}
