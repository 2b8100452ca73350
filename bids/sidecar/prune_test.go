package sidecar

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

func TestPruneJSON(t *testing.T) {
	not := func(s string) bool { return !strings.HasPrefix(s, "x") }
	for in, want := range map[string]string{
		`{"I":"x"}`:                             `{}`,
		`{"I":"a"}`:                             `{"I":"a"}`,
		`{ "I" : "x" , "b" : 1 }`:               `{ "b" : 1 }`,
		`{"a":1,"I":"x"}`:                       `{"a":1}`,
		`{"a":1,"I":["x1","x2"],"b":2}`:         `{"a":1,"b":2}`,
		`{"I":["x1","a","x2"]}`:                 `{"I":["a"]}`,
		`{"I":["a", "x1", "x2" ]}`:              `{"I":["a" ]}`,
		`{"I":[]}`:                              `{"I":[]}`,
		`{"I":["\u0078y", 1, null, {"I":"x"}]}`: `{"I":[1, null, {"I":"x"}]}`,
		`{"\u0049":"x"}`:                        `{}`,
		`{"I":["a"],"I":["x"],"b":1}`:           `{"b":1}`,
		`{"I":"x","I":["a","x"]}`:               `{"I":["a"]}`,
		`[{"I":"x"}]`:                           `[{"I":"x"}]`,
		`{"I":"x"`:                              `{"I":"x"`,
		"\xef\xbb\xbf{\"I\":\"x\"}":             "\xef\xbb\xbf{}",
		``:                                      ``,
	} {
		if got := string(Prune([]byte(in), "I", not)); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

// FuzzPruneJSON: the result is as valid as the source, keeps all other members,
// and pruning again changes nothing.
func FuzzPruneJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"I":"x"}],"I":["x","b"],"c":{}}`))
	f.Add([]byte("\xef\xbb\xbf{\"I\":\"x\"}"))
	f.Add([]byte(`{"I":["x"],"\u0049":"b", "a":"\\\"}"}`))
	f.Add([]byte(" [1] "))
	f.Fuzz(func(t *testing.T, data []byte) {
		keep := func(s string) bool { return len(s)%2 == 0 }
		in := bytes.Clone(data)
		out := Prune(data, "I", keep)
		if !bytes.Equal(in, data) {
			t.Fatal("the source was changed")
		}
		var before, after map[string]json.RawMessage
		trim := func(b []byte) []byte { return bytes.TrimPrefix(b, []byte(schema.BOM)) }
		if json.Unmarshal(trim(in), &before) != nil {
			if !bytes.Equal(in, out) {
				t.Fatalf("%q is no object, but became %q", in, out)
			}
			return
		}
		if err := json.Unmarshal(trim(out), &after); err != nil {
			t.Fatalf("%q became %q: %v", in, out, err)
		}
		for k, v := range before {
			if k != "I" && !bytes.Equal(v, after[k]) {
				t.Fatalf("%q became %q: %s differs", in, out, k)
			}
		}
		if again := Prune(out, "I", keep); !bytes.Equal(again, out) {
			t.Fatalf("%q became %q, then %q", in, out, again)
		}
	})
}
