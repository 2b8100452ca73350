package tsv

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const bom = "\xef\xbb\xbf"

func TestColumnsAndCells(t *testing.T) {
	table := Parse([]byte(bom + "participant_id\t age \tage\r\nsub-1\t 30 \r\n\nsub-2"))
	for name, want := range map[string]int{"participant_id": 0, "age": 1, "sex": -1, "": -1} {
		if got := table.Column(name); got != want {
			t.Errorf("column %q is %d, want %d", name, got, want)
		}
	}
	if len(table.Rows) != 3 || !table.Rows[1].IsBlank() || table.Rows[2].IsBlank() {
		t.Fatalf("%q", table.Rows)
	}
	for n, want := range []string{"sub-1", "30", ""} {
		if got := table.Rows[0].Cell(n); got != want {
			t.Errorf("cell %d is %q, want %q", n, got, want)
		}
	}
	if empty := Parse(nil); empty.Column("a") != -1 || len(empty.Rows) != 0 {
		t.Errorf("nothing is %q", empty)
	}
}

func TestFilterKeepsBytes(t *testing.T) {
	keep := func(cells []string) bool { return strings.HasPrefix(cells[0], "sub-1") }
	for name, c := range map[string]struct {
		table, want string
		rows        int
	}{
		"line ends":      {"id\tx\r\nsub-1\t a\r\nsub-2\tb\r\nsub-11\tc\r\n", "id\tx\r\nsub-1\t a\r\nsub-11\tc\r\n", 2},
		"no last end":    {"id\nsub-1\nsub-2", "id\nsub-1", 1},
		"last stays":     {"id\nsub-2\nsub-1", "id\nsub-1", 1},
		"blank rows":     {bom + "id\n\nsub-2\n\t\n", bom + "id\n\n\t\n", 0},
		"short row":      {"x\tid\nsub-1\ny\tsub-1\n", "x\tid\ny\tsub-1\n", 1},
		"only a header":  {"id", "id", 0},
		"nothing to say": {"id\nsub-3\n", "id\n", 0},
	} {
		got, rows, ok := Filter([]byte(c.table), []string{"id"}, keep)
		if string(got) != c.want || rows != c.rows || !ok {
			t.Errorf("%s: %q with %d rows, %v; want %q with %d", name, got, rows, ok, c.want, c.rows)
		}
		if !IsPart(got, []byte(c.table)) {
			t.Errorf("%s: what is left is no part", name)
		}
	}
	if got, _, ok := Filter([]byte("other\nsub-2\n"), []string{"id"}, keep); ok || string(got) != "other\nsub-2\n" {
		t.Errorf("without the column: %q, %v", got, ok)
	}
}

func TestIsPart(t *testing.T) {
	whole := "id\na\nb\nc\n"
	for part, want := range map[string]bool{"id\n": true, "id\na\nc\n": true, "id\r\na": true, "id\nc\na\n": false, "id\na\na\n": false, "id\nd\n": false, "ID\na\n": false, "": false} {
		if IsPart([]byte(part), []byte(whole)) != want {
			t.Errorf("%q: %v", part, !want)
		}
	}
}

func TestColumnsHaveTypes(t *testing.T) {
	table := "id\tn\tb\ts\tgap\tid\t\n01\t1\tTrue\ta\t\tx\ty\n02\tn/a\tfalse\t2\tTRUE\n02\t1e1\tTRUE\t\tfalse\tmore\tand\tmore\n"
	c, err := ParseColumns([]byte(table), "id", func(name string) bool { return name != "s" })
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]any{
		"id": {"01", "02", "02"}, "n": {1.0, nil, 10.0}, "b": {true, false, true},
		"gap": {nil, "TRUE", "false"}, // as pandas: a gap makes no boolean
	}
	if !reflect.DeepEqual(c.Cells, want) {
		t.Errorf("%v", c.Cells)
	}
	if fmt.Sprint(c.Names) != "[id n b s gap]" || fmt.Sprint(c.Key) != "map[01:0 02:1]" {
		t.Errorf("columns %v, rows %v", c.Names, c.Key)
	}
	for _, s := range []string{"0x10", "1p3", "", "1,5"} {
		if n, err := ParseNumber(s); err == nil {
			t.Errorf("%q is %v", s, n)
		}
	}
	wide := strings.Repeat("a\t", MaxColumns+1)
	if _, err := ParseColumns([]byte(wide), "id", func(string) bool { return true }); err == nil {
		t.Error("a table of any width is read")
	}
}

// FuzzTable: rows that stay are the source's, in its order; keeping all
// changes nothing but nothing.
func FuzzTable(f *testing.F) {
	f.Add([]byte(bom + "participant_id\tage\r\nsub-01\t3\r\n\nsub-02"))
	f.Add([]byte("age\t participant_id \n\"4\t0\tsub-1\n\t\n"))
	f.Add([]byte("participant_id"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all := func([]string) bool { return true }
		if out, _, _ := Filter(data, []string{"participant_id"}, all); !bytes.Equal(out, data) {
			t.Fatalf("%q became %q", data, out)
		}
		short := func(c []string) bool { return len(c[0])%2 == 0 }
		out, rows, ok := Filter(data, []string{"participant_id"}, short)
		if !ok {
			return
		}
		source := slices.Collect(strings.Lines(string(data)))
		n := 0
		for line := range strings.Lines(string(out)) {
			for n < len(source) && strings.TrimRight(source[n], "\r\n") != strings.TrimRight(line, "\r\n") {
				n++
			}
			if n == len(source) {
				t.Fatalf("%q became %q: %q is new", data, out, line)
			}
			n++
		}
		if again, n, _ := Filter(out, []string{"participant_id"}, short); n != rows || !bytes.Equal(again, out) {
			t.Fatalf("%q became %q, then %q", data, out, again)
		}
	})
}
