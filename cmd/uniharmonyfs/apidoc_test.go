package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/commit"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/place"
)

// saidTypes are the types that docs/control-api.md describes, by the names that
// it has for them.
var saidTypes = map[string]reflect.Type{
	"Event":          reflect.TypeFor[control.Event](),
	"Hello":          reflect.TypeFor[control.Hello](),
	"Place":          reflect.TypeFor[place.Place](),
	"LendRequest":    reflect.TypeFor[control.LendRequest](),
	"LendResult":     reflect.TypeFor[control.LendResult](),
	"FileID":         reflect.TypeFor[cache.FileID](),
	"Dataset":        reflect.TypeFor[control.Dataset](),
	"MountRequest":   reflect.TypeFor[control.MountRequest](),
	"HoldRequest":    reflect.TypeFor[control.HoldRequest](),
	"MountInfo":      reflect.TypeFor[control.MountInfo](),
	"UnmountRequest": reflect.TypeFor[control.UnmountRequest](),
	"UnmountResult":  reflect.TypeFor[control.UnmountResult](),
	"ListRequest":    reflect.TypeFor[control.ListRequest](),
	"ListResult":     reflect.TypeFor[control.ListResult](),
	"Explanation":    reflect.TypeFor[control.Explanation](),
	"File":           reflect.TypeFor[control.File](),
	"FilesRequest":   reflect.TypeFor[control.FilesRequest](),
	"FilesResult":    reflect.TypeFor[control.FilesResult](),
	"FileFailed":     reflect.TypeFor[control.FileFailed](),
	"GetRequest":     reflect.TypeFor[control.GetRequest](),
	"GetResult":      reflect.TypeFor[control.GetResult](),
	"Plan":           reflect.TypeFor[control.Plan](),
	"CleanRequest":   reflect.TypeFor[control.CleanRequest](),
	"CleanResult":    reflect.TypeFor[control.CleanResult](),
	"StatusRequest":  reflect.TypeFor[control.StatusRequest](),
	"Status":         reflect.TypeFor[control.Status](),
	"Clone":          reflect.TypeFor[control.CloneInfo](),
	"PathStatus":     reflect.TypeFor[control.PathStatus](),
	"Progress":       reflect.TypeFor[control.Progress](),
	"Fault":          reflect.TypeFor[advice.Error](),
	"Selection":      reflect.TypeFor[bids.Selection](),
	"Query":          reflect.TypeFor[filter.Query](),
	"Facet":          reflect.TypeFor[bids.Facet](),
	"FacetValue":     reflect.TypeFor[bids.FacetValue](),
	"Hidden":         reflect.TypeFor[commit.Hidden](),
	"OpenedPart":     reflect.TypeFor[control.OpenedPart](),
	"Store":          reflect.TypeFor[cache.Status](),
	"StoreError":     reflect.TypeFor[cache.Event](),
	"Transfer":       reflect.TypeFor[cache.TransferStatus](),
	"Reader":         reflect.TypeFor[cache.ReaderStatus](),
}

// saidWords are the types that are one of some words.
var saidWords = map[string]reflect.Type{
	"Phase":     reflect.TypeFor[control.Phase](),
	"FileState": reflect.TypeFor[control.FileState](),
	"Action":    reflect.TypeFor[control.Action](),
	"Kind":      reflect.TypeFor[advice.Kind](),
}

func nameOf(types map[string]reflect.Type, t reflect.Type) string {
	for name, u := range types {
		if u == t {
			return name
		}
	}
	return ""
}

// saidField is a row of a table: what is said of a field.
type saidField struct{ name, kind string }

// fieldsOf returns the rows that a type's table must have.
func fieldsOf(t *testing.T, of reflect.Type) (rows []saidField) {
	t.Helper()
	for i := range of.NumField() {
		f := of.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			rows = append(rows, saidField{"all of " + nameOf(saidTypes, f.Type), ""})
			continue
		case !f.IsExported() || name == "-":
			continue
		case name == "":
			name = f.Name
		}
		kind := kindOf(t, f.Type)
		if strings.Contains(options, "omit") {
			kind += ", optional"
		}
		rows = append(rows, saidField{"`" + name + "`", kind})
	}
	// Those that say a second field by themselves.
	if of.Implements(reflect.TypeFor[json.Marshaler]()) {
		v := reflect.New(of).Elem()
		v.FieldByName("Path").SetString("\xff")
		var said map[string]any
		if raw, err := json.Marshal(v.Interface()); err != nil {
			t.Error(err)
		} else if err := json.Unmarshal(raw, &said); err != nil {
			t.Error(err)
		}
		for name := range said {
			if !slices.ContainsFunc(rows, func(f saidField) bool { return f.name == "`"+name+"`" }) {
				rows = append(rows, saidField{"`" + name + "`", "base64, optional"})
			}
		}
	}
	return rows
}

func kindOf(t *testing.T, of reflect.Type) string {
	t.Helper()
	switch of {
	case reflect.TypeFor[time.Time]():
		return "time"
	case reflect.TypeFor[time.Duration]():
		return "nanoseconds"
	case reflect.TypeFor[json.RawMessage]():
		return "any"
	case reflect.TypeFor[[]byte]():
		return "base64"
	case reflect.TypeFor[map[string][]string]():
		return "lists of text by name"
	}
	if name := nameOf(saidWords, of) + nameOf(saidTypes, of); name != "" {
		return name
	}
	switch of.Kind() {
	case reflect.Pointer:
		return kindOf(t, of.Elem())
	case reflect.Slice:
		return "list of " + kindOf(t, of.Elem())
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "text"
	case reflect.Int, reflect.Int64, reflect.Uint8, reflect.Uint32, reflect.Uint64, reflect.Float64:
		return "number"
	}
	t.Errorf("docs/control-api.md has no word for %v", of)
	return ""
}

// apiExample is a command of the document, and what it prints there.
type apiExample struct{ command, printed string }

// apiSection is what stands below a heading of the document.
type apiSection struct {
	said     map[string]string // "In", "Items", "Out", "Progress", "Faults"
	rows     []saidField       // of its table
	words    []string          // of its table, if it is one of words
	examples []apiExample
}

// readAPI reads the document: its requests, in order, its types, and the
// examples that stand before the requests.
func readAPI(t *testing.T) (requests []string, sections map[string]*apiSection) {
	t.Helper()
	text, err := os.ReadFile("../../docs/control-api.md")
	if err != nil {
		t.Fatal(err)
	}
	heading := regexp.MustCompile(`^#{2,4} (.+)$`)
	point := regexp.MustCompile(`^- (In|Items|Out|Progress|Faults): (.+)$`)
	sections = make(map[string]*apiSection)
	var request, part *apiSection // the part is a type's, within a request or not
	var table string
	add := func(name string) *apiSection {
		if sections[name] != nil {
			t.Errorf("there are two sections %s", name)
		}
		sections[name] = &apiSection{said: make(map[string]string)}
		return sections[name]
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if m := heading.FindStringSubmatch(line); m != nil {
			part = add(m[1])
			if !strings.HasPrefix(line, "####") || request == nil {
				request = part
			}
			if strings.HasPrefix(m[1], "GET ") || strings.HasPrefix(m[1], "POST ") {
				requests = append(requests, m[1])
			}
			continue
		}
		if part == nil {
			continue
		}
		if m := point.FindStringSubmatch(line); m != nil {
			part.said[m[1]] = m[2]
		}
		switch cells := strings.Split(strings.Trim(line, "|"), "|"); {
		case !strings.HasPrefix(line, "|"):
			table = ""
		case table == "":
			table = strings.TrimSpace(cells[0])
		case strings.HasPrefix(line, "|--"):
		case table == "word":
			part.words = append(part.words, strings.Trim(strings.TrimSpace(cells[0]), "`"))
		case table == "field" && len(cells) == 3:
			part.rows = append(part.rows, saidField{strings.TrimSpace(cells[0]), strings.TrimSpace(cells[1])})
		default:
			t.Errorf("a row that is not understood: %s", line)
		}
		code, is := strings.CutPrefix(line, "    ")
		if !is {
			continue
		}
		if command, is := strings.CutPrefix(code, "$ "); is {
			request.examples = append(request.examples, apiExample{command: command})
			continue
		}
		e := &request.examples[len(request.examples)-1]
		if strings.Count(e.command, "'")%2 == 1 { // the request goes on
			e.command += "\n" + code
		} else {
			e.printed += code + "\n"
		}
	}
	return requests, sections
}

// servedRequests are the requests of the daemon's routes, with the Go names of
// what goes in and out.
func servedRequests(t *testing.T) map[string][2]string {
	t.Helper()
	files, err := filepath.Glob("../../internal/daemon/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	types := make(map[string][2]string) // by name of a method
	route := regexp.MustCompile(`HandleFunc\("((?:GET|POST) /[^"]+)", (?:answer\(d, [^,]+, d\.(\w+)\)|d\.(\w+))\)`)
	served := make(map[string][2]string)
	handlers := make(map[string]string)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range route.FindAllStringSubmatch(string(source), -1) {
			handlers[m[1]] = m[2]
		}
		if n := bytes.Count(source, []byte("mux.Handle")); n != len(route.FindAll(source, -1)) {
			t.Errorf("%s: of %d routes some are not understood", name, n)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil || len(f.Type.Params.List) != 3 || f.Type.Results == nil {
				continue
			}
			of := func(e ast.Expr) string {
				if s, ok := e.(*ast.SelectorExpr); ok && fmt.Sprint(s.X) == "control" {
					return s.Sel.Name
				}
				return "nothing"
			}
			types[f.Name.Name] = [2]string{of(f.Type.Params.List[1].Type), of(f.Type.Results.List[0].Type)}
		}
	}
	for r, method := range handlers {
		is, found := types[method]
		switch {
		case r == "GET /v1/hello":
			is = [2]string{"nothing", "Hello"}
		case method == "":
			is = [2]string{"nothing", "nothing"}
		case !found:
			t.Errorf("%s: what does %s take?", r, method)
		}
		served[r] = is
	}
	return served
}
