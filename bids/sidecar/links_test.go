package sidecar

import (
	"reflect"
	"testing"
)

// FuzzDecodeLinks: whatever the index has kept is links or an error.
func FuzzDecodeLinks(f *testing.F) {
	f.Add(Links{IntendedFor: []string{"a", ""}, Stimuli: []string{"\xff"}}.Encode())
	f.Add([]byte("3"))
	f.Add([]byte(`1{"i":["a"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if l, err := Decode(data); err == nil {
			if again, err := Decode(l.Encode()); err != nil || !reflect.DeepEqual(again, l) {
				t.Errorf("%+v comes back as %+v, %v", l, again, err)
			}
		}
	})
}

func TestEncodeLinks(t *testing.T) {
	for _, l := range []Links{{}, {IntendedFor: []string{"a", "b"}}, {B0FieldSource: []string{"s"}, B0FieldIdentifier: []string{"i"}, AssociatedEmptyRoom: []string{"e"}, Stimuli: []string{"t", "ž"}}} {
		got, err := Decode(l.Encode())
		if err != nil || !reflect.DeepEqual(got, l) {
			t.Errorf("%+v became %+v, %v", l, got, err)
		}
	}
	for _, bad := range []string{"", "1", "3{", "2", "4", "3\x00\x00", "3\x01\x05a", "3\x00\x00\x00\x00\x00x", "3\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		if l, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%q is %+v", bad, l)
		}
	}
}

func TestLinksOfSidecarsAndTables(t *testing.T) {
	for text, want := range map[string]Links{
		`{}`:                   {},
		`{"IntendedFor": "a"}`: {IntendedFor: []string{"a"}},
		"\xef\xbb\xbf" + `{"IntendedFor": ["a", 1, null, "b"]}`: {IntendedFor: []string{"a", "b"}},
		`{"IntendedFor": ["a"], "IntendedFor": ["b"]}`:          {IntendedFor: []string{"b"}},
		`{"B0FieldSource": "s", "B0FieldIdentifier": ["i"]}`:    {B0FieldSource: []string{"s"}, B0FieldIdentifier: []string{"i"}},
		`{"IntendedFor": null, "B0FieldSource": null}`:          {},
		`{"IntendedFor": [null], "AssociatedEmptyRoom": ""}`:    {AssociatedEmptyRoom: []string{""}},
		`{"IntendedFor": "a", "IntendedFor": null}`:             {},
		`{"AssociatedEmptyRoom": "e", "IntendedFor": {}}`:       {AssociatedEmptyRoom: []string{"e"}},
		`["IntendedFor"]`:      {},
		`{"IntendedFor": "a"`:  {},
		`{"a": "IntendedFor"}`: {},
		``:                     {},
	} {
		if got := Of([]byte(text)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
	for text, want := range map[string][]string{
		"onset\tstim_file\n1\ta.png\n2\tn/a\n3\ta.png\n4\t\n5\tb.png": {"a.png", "b.png"},
		"onset\n1\n": nil,
		"":           nil,
	} {
		if got := OfTable([]byte(text)).Stimuli; !reflect.DeepEqual(got, want) {
			t.Errorf("%q presents %q, want %q", text, got, want)
		}
	}
}

// A part is what Prune may have left.
func TestIsPart(t *testing.T) {
	const whole = `{"a": 1, "IntendedFor": ["x", "y", 2]}`
	for part, want := range map[string]bool{
		whole: true, `{"IntendedFor":["y"],"a":1}`: true, `{"a": 1}`: true, `{"a": 1, "IntendedFor": "x"}`: true, `{"a": 1, "IntendedFor": [2]}`: true,
		`{"a": 2}`: false, `{}`: false, `{"a": 1, "IntendedFor": ["z"]}`: false, `{"a": 1, "b": 1}`: false, `[]`: false, ``: false,
	} {
		if IsPart([]byte(part), []byte(whole)) != want {
			t.Errorf("%s: %v", part, !want)
		}
	}
}
