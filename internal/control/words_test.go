package control

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"
)

// The words cross the socket as they always did, and the lists have them all.
func TestWordsOfTheProtocol(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "words.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string][]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && v.Type != nil {
			word, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			of := v.Type.(*ast.Ident).Name
			declared[of] = append(declared[of], word)
		}
		return true
	})
	for kind, c := range map[string]struct {
		list any
		want string
	}{
		"Phase":     {Phases, `["wait","clone","snapshot","fetch","plan","get"]`},
		"FileState": {FileStates, `["git","cached","local","partial","subdataset","missing"]`},
		"Action":    {Actions, `["pin","unpin","prefetch","evict","verify"]`},
	} {
		if got := string(raw(t, c.list)); got != c.want {
			t.Errorf("%s: %s, want %s", kind, got, c.want)
		}
		if got := string(raw(t, declared[kind])); got != c.want {
			t.Errorf("%s: declared are %s", kind, got)
		}
	}
	for v, want := range map[any]string{
		Progress{Phase: PhaseGet}:                 `{"phase":"get","done":0}`,
		FileFailed{Path: "a", Why: "b"}:           `{"path":"a","why":"b"}`,
		Explanation{Path: "a", Why: "b"}:          `{"path":"a","shown":false,"why":"b"}`,
		UnmountRequest{Target: "/t", Clean: true}: `{"target":"/t","clean":true}`,
	} {
		if got := string(raw(t, v)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	file1, _ := json.Marshal(File{Path: "a", Size: 1, State: Local, Key: "k"})
	if want := `{"path":"a","size":1,"state":"local","key":"k"}`; string(file1) != want {
		t.Errorf("%s, want %s", file1, want)
	}
}
