package commit

import (
	"encoding/json"
	"slices"
	"testing"
	"unicode/utf8"
)

// The names of files that are not shown are told and stored exactly.
func TestHiddenNamesAreExact(t *testing.T) {
	want := []Hidden{{"", ""}, {"a", "b"}, {"a\xff/\xfe", "b"}, {"\ufffd", "c"}}
	raw, err := json.Marshal(meta{Format: format, Hidden: want})
	if err != nil || !utf8.Valid(raw) {
		t.Fatalf("%s, %v", raw, err)
	}
	var got meta
	if err := json.Unmarshal(raw, &got); err != nil || !slices.Equal(got.Hidden, want) {
		t.Errorf("%q comes as %q: %s, %v", want, got.Hidden, raw, err)
	}
	var fields struct{ Hidden []map[string]any }
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatal(err)
	}
	for i, f := range fields.Hidden {
		if _, has := f["path_base64"]; has == utf8.ValidString(want[i].Path) {
			t.Errorf("%q is said as %v", want[i], f)
		}
	}
	// What was stored before has no second field.
	var old Hidden
	if err := json.Unmarshal([]byte(`{"path":"a","why":"b"}`), &old); err != nil || old != (Hidden{"a", "b"}) {
		t.Errorf("%q, %v", old, err)
	}
}
