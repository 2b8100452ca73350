package main_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// Every request and every field is in docs/control-api.md, and there is nothing
// in it that is not.
func TestControlAPIIsDocumented(t *testing.T) {
	requests, sections := readAPI(t)
	served := servedRequests(t)
	if len(served) < 11 {
		t.Errorf("only %d requests are served: %v", len(served), served)
	}
	used := map[string]bool{"Event": true, "Progress": true, "Fault": true}
	for r, is := range served {
		s := sections[r]
		if s == nil {
			t.Errorf("%s is not documented", r)
			continue
		}
		if in, out := s.said["In"], s.said["Out"]; in != is[0] || out != is[1] {
			t.Errorf("%s: In %s, Out %s; it takes %v", r, in, out, is)
		}
		for _, what := range []string{"In", "Out", "Items"} {
			said := s.said[what]
			if said == "nothing" || said == "none" {
				continue
			}
			if saidTypes[said] == nil {
				t.Errorf("%s: %s: there is no %s", r, what, said)
			}
			used[said] = true
		}
		listed(t, r+": Progress", s.said["Progress"], control.Phases)
		listed(t, r+": Faults", s.said["Faults"], kinds(t))
		if len(s.examples) == 0 {
			t.Errorf("%s has no example", r)
		}
		for _, e := range s.examples {
			_, path, _ := strings.Cut(r, " ")
			if !regexp.MustCompile(`http://cache` + path + `\b`).MatchString(e.command) {
				t.Errorf("%s: its example is %s", r, e.command)
			}
		}
	}
	for _, r := range requests {
		if _, is := served[r]; !is {
			t.Errorf("%s is documented and not served", r)
		}
	}
	// What the types that are used are made of is used.
	var use func(of reflect.Type)
	use = func(of reflect.Type) {
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		if name := nameOf(saidTypes, of); name != "" {
			used[name] = true
		} else if word := nameOf(saidWords, of); word != "" {
			used[word] = true
			return
		} else if of.Kind() != reflect.Struct || of == reflect.TypeFor[time.Time]() {
			return
		} else {
			t.Errorf("%v is said, and has no name in the document", of)
		}
		for i := range of.NumField() {
			if f := of.Field(i); (f.IsExported() || f.Anonymous) && f.Tag.Get("json") != "-" {
				use(f.Type)
			}
		}
	}
	for name := range used {
		if of := saidTypes[name]; of != nil {
			use(of)
		}
	}
	for name, s := range sections {
		isType, isWord := saidTypes[name], saidWords[name]
		if (len(s.rows) > 0) != (isType != nil) || (len(s.words) > 0) != (isWord != nil) {
			t.Errorf("%s: a table of what?", name)
		}
	}
	for name, of := range saidTypes {
		s := sections[name]
		if s == nil || !used[name] {
			t.Errorf("%s: documented %v, used %v", name, s != nil, used[name])
			continue
		}
		want := fieldsOf(t, of)
		order := func(a, b saidField) int { return strings.Compare(a.name, b.name) }
		got := slices.Clone(s.rows)
		slices.SortFunc(got, order)
		slices.SortFunc(want, order)
		if !slices.Equal(got, want) {
			for _, f := range want {
				if !slices.Contains(got, f) {
					t.Errorf("%s: not documented: %s, %s", name, f.name, f.kind)
				}
			}
			for _, f := range got {
				if !slices.Contains(want, f) {
					t.Errorf("%s: only documented: %s, %s", name, f.name, f.kind)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%s: %d rows, %d fields", name, len(got), len(want))
			}
		}
	}
	for name, want := range map[string][]string{"Phase": texts(control.Phases), "FileState": texts(control.FileStates), "Action": texts(control.Actions), "Kind": texts(kinds(t))} {
		s := sections[name]
		if s == nil || !used[name] {
			t.Errorf("%s: documented %v, used %v", name, s != nil, used[name])
			continue
		}
		got := slices.Sorted(slices.Values(s.words))
		if !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("%s: documented are %q, there are %q", name, got, want)
		}
	}
}

func texts[S ~string](words []S) (list []string) {
	for _, w := range words {
		list = append(list, string(w))
	}
	return list
}

// listed sees that a line of the document names some of the words, or none.
func listed[S ~string](t *testing.T, where, said string, words []S) (names []string) {
	t.Helper()
	if said == "none" {
		return nil
	}
	for _, w := range strings.Split(said, ", ") {
		w = strings.Trim(w, "`")
		if !slices.Contains(words, S(w)) {
			t.Errorf("%s: there is no %q", where, w)
		}
		names = append(names, w)
	}
	return names
}

// kinds are those of faults, as they are declared.
func kinds(t *testing.T) (list []advice.Kind) {
	t.Helper()
	files, err := filepath.Glob("../../internal/advice/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && v.Type != nil && fmt.Sprint(v.Type) == "Kind" {
				word, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, advice.Kind(word))
			}
			return true
		})
	}
	if len(list) < 8 {
		t.Errorf("only the kinds %q", list)
	}
	return list
}
