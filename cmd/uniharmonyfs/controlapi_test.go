package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/commit"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/demo"
)

// saidTypes are the types that docs/control-api.md describes, by the names that
// it has for them.
var saidTypes = map[string]reflect.Type{
	"Event":          reflect.TypeFor[control.Event](),
	"Hello":          reflect.TypeFor[control.Hello](),
	"Dataset":        reflect.TypeFor[control.Dataset](),
	"MountRequest":   reflect.TypeFor[control.MountRequest](),
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

// Every example of docs/control-api.md is run as it stands there, in its order,
// and answers as it says.
func TestControlAPIExamples(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("skipped: no curl on this machine")
	}
	u := newUser(t)
	d, err := demo.Start(u.path("demo"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	requests, sections := readAPI(t)
	u.serveLong()
	for _, e := range sections["How it answers"].examples {
		answer := u.example(e)
		if len(answer) != 1 || answer[0]["fault"] == nil {
			t.Errorf("%s\nno fault: %v", e.command, answer)
		}
	}
	var waits chan []map[string]any // the answer of the request that waits for a mount's end
	for _, r := range requests {
		s := sections[r]
		for _, e := range s.examples {
			switch r {
			case "GET /v1/hello", "POST /v1/stop":
				u.serveLong()
				u.example(e)
				continue
			case "POST /v1/wait":
				waits = make(chan []map[string]any, 1)
				go func() { waits <- u.example(e) }()
				eventually(t, "it waits", func() bool { return u.asking("/v1/wait") })
				select {
				case answer := <-waits:
					t.Errorf("the mount's end is awaited, and the answer is there: %v", answer)
				case <-time.After(100 * time.Millisecond):
				}
				continue
			}
			u.serveLong()
			answer := u.example(e)
			checkAnswer(t, r, s, answer)
			if n := len(answer) - 1; n >= 0 && strings.Contains(fmt.Sprint(answer[n]), "cache_removed:true") {
				eventually(t, "the daemon goes with its cache", func() bool { return u.daemon() == 0 })
			}
		}
		if r == "POST /v1/unmount" {
			select {
			case answer := <-waits:
				checkAnswer(t, "POST /v1/wait", sections["POST /v1/wait"], answer)
			case <-time.After(time.Minute):
				t.Fatal("the mount is gone, and it waits")
			}
		}
	}
	eventually(t, "the daemon ends when it is told to stop", func() bool { return u.daemon() == 0 })
}

// asking reports whether a process of curl asks the user's daemon for a path.
func (u *user) asking(path string) bool {
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		cmd, _ := os.ReadFile(p)
		if at, err := os.Readlink(filepath.Join(filepath.Dir(p), "cwd")); err == nil && at == u.cache && bytes.HasPrefix(cmd, []byte("curl\x00")) && bytes.Contains(cmd, []byte(path)) {
			return true
		}
	}
	return false
}

// serveLong starts a daemon, if there is none, that stays while nothing is asked.
func (u *user) serveLong() {
	u.t.Helper()
	if u.daemon() != 0 {
		return
	}
	cmd := u.command(context.Background(), "daemon", "--cache", u.cache, "--grace", "5m")
	out, err := cmd.StdoutPipe()
	if err != nil {
		u.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	var ready [6]byte
	if _, err := io.ReadFull(out, ready[:]); err != nil || string(ready[:]) != "ready\n" {
		u.t.Fatalf("the daemon says %q, %v", ready, err)
	}
	go cmd.Wait()
}

// example runs an example and compares what it answers with what is printed. Of
// an answer that is no object it returns nothing.
func (u *user) example(e apiExample) []map[string]any {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+strings.ReplaceAll(e.command, "/home/you/", u.dir+"/"))
	cmd.Dir = u.cache
	cmd.Env = append(os.Environ(), "http_proxy=", "all_proxy=", "ALL_PROXY=")
	out, err := cmd.Output()
	if err != nil {
		u.t.Errorf("%s\n%v: %s", e.command, err, out)
		return nil
	}
	want, got := values(u.t, e.printed), values(u.t, string(out))
	if a, b := shapes(want), shapes(got); a != b {
		u.t.Errorf("%s\nis answered\n%s\n%s\nand the document says\n%s", e.command, out, b, a)
	}
	var answer []map[string]any
	for _, v := range got {
		if line, ok := v.(map[string]any); ok {
			answer = append(answer, line)
		}
	}
	return answer
}

// values reads JSON values; lines of three dots are left out.
func values(t testing.TB, text string) (list []any) {
	dec := json.NewDecoder(strings.NewReader(regexp.MustCompile(`(?m)^…$`).ReplaceAllString(text, "")))
	for {
		var v any
		if err := dec.Decode(&v); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Errorf("no JSON: %v\n%s", err, text)
			return list
		}
		list = append(list, v)
	}
}

// shapes are the shapes of the lines of an answer, each kind of line once: the
// document prints some of many.
func shapes(lines []any) string {
	var progress, others []any
	for _, v := range lines {
		if line, ok := v.(map[string]any); ok && line["progress"] != nil {
			progress = append(progress, line["progress"])
		} else {
			others = append(others, v)
		}
	}
	// Which optional fields of progress come is not the same every time.
	seen := make(map[string]bool)
	for _, p := range progress {
		seen[fmt.Sprint("progress of ", p.(map[string]any)["phase"])] = true
	}
	return fmt.Sprint(keys(seen), " ", shape("", merge(others)))
}

func keys(m map[string]bool) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// merge makes one object of several: with all of their fields, each the first
// one, or of lists and objects all.
func merge(list []any) any {
	all := make(map[string][]any)
	for _, v := range list {
		o, ok := v.(map[string]any)
		if !ok {
			return list[0]
		}
		for k, f := range o {
			all[k] = append(all[k], f)
		}
	}
	merged := make(map[string]any)
	for k, fields := range all {
		if _, ok := fields[0].(map[string]any); ok {
			merged[k] = merge(fields)
		} else {
			merged[k] = fields[0]
		}
	}
	return merged
}

// shape is what a value is made of. Words that mean something are told.
func shape(name string, v any) string {
	switch v := v.(type) {
	case map[string]any:
		var parts []string
		for k, f := range v {
			parts = append(parts, k+":"+shape(k, f))
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, " ") + "}"
	case []any:
		if len(v) == 0 {
			return "[]"
		}
		return "[" + shape(name, merge(v)) + "]"
	case string:
		if slices.Contains([]string{"kind", "phase"}, name) {
			return "text " + v
		}
		if _, err := time.Parse(time.RFC3339, v); err == nil {
			return "time"
		}
		return "text"
	case float64:
		if name == "" { // a status
			return fmt.Sprint(v)
		}
		return "number"
	}
	return fmt.Sprintf("%T", v)
}

// checkAnswer sees that an answer is made of what the section says, and that all
// of it went well.
func checkAnswer(t *testing.T, request string, s *apiSection, answer []map[string]any) {
	t.Helper()
	phases := listed(t, request, s.said["Progress"], control.Phases)
	as := func(of string, v any) {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		into := any(&struct{}{})
		if of != "nothing" {
			into = reflect.New(saidTypes[of]).Interface()
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(into); err != nil {
			t.Errorf("%s: it is no %s: %v\n%s", request, of, err, raw)
		}
	}
	items := 0
	for i, line := range answer {
		switch {
		case len(line) != 1:
			t.Errorf("%s: a line says %v", request, line)
		case line["progress"] != nil:
			as("Progress", line["progress"])
			if phase := fmt.Sprint(line["progress"].(map[string]any)["phase"]); !slices.Contains(phases, phase) {
				t.Errorf("%s: the phase %s is not documented there", request, phase)
			}
		case line["item"] != nil:
			items++
			as(s.said["Items"], line["item"])
		case line["result"] != nil:
			as(s.said["Out"], line["result"])
			if failed := line["result"].(map[string]any)["failed"]; failed != nil {
				t.Errorf("%s: failed: %v", request, failed)
			}
			if i != len(answer)-1 {
				t.Errorf("%s: there are lines after the result", request)
			}
			continue
		default:
			t.Errorf("%s: %v", request, line)
		}
		if i == len(answer)-1 {
			t.Errorf("%s: the last line is %v", request, line)
		}
	}
	if len(answer) == 0 {
		t.Errorf("%s: no answer", request)
	}
	if items > 0 && s.said["Items"] == "none" {
		t.Errorf("%s: %d items", request, items)
	}
}
