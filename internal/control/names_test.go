package control

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestExactIsForWhatJSONCannotSay(t *testing.T) {
	for path, want := range map[string]bool{"": false, "a/ž\ufffd": false, "a\x00\n": false, "a\xff": true, "\xc3\x28": true, "\xed\xa0\x80": true} {
		exact := Exact(path)
		if (exact != nil) != want {
			t.Errorf("%q: exactly %q", path, exact)
		}
		said, err := json.Marshal(path)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if err := json.Unmarshal(said, &got); err != nil {
			t.Fatal(err)
		}
		restore(&got, exact)
		if got != path {
			t.Errorf("%q comes as %q", path, got)
		}
		if isLossy(said) != want {
			t.Errorf("%q is said as %s: lossy is %v", path, said, !want)
		}
	}
}

// A backslash of the text is not the one of an escape.
func TestLossyIsOnlyWhatWasReplaced(t *testing.T) {
	for text, want := range map[string]bool{
		`\ufffd`: false, `\\ufffd`: false, "\ufffd": false, "\\\xff": true, "\\\\\xff": true, "\xff\xff": true, "x\xff": true, "\n\xff": true,
	} {
		said, _ := json.Marshal([]string{"before", text, "after"})
		if isLossy(said) != want {
			t.Errorf("%q is said as %s: lossy is %v", text, said, !want)
		}
	}
}

func TestExactRequests(t *testing.T) {
	for said, want := range map[string]bool{
		``:                      true,
		`"ž"`:                   true,
		`"\u017e\n\\\""`:        true,
		`"\ufffd"`:              true,
		`"\ud83e\udde0"`:        true,
		`"\ud83e\udde0\ud83e"`:  false,
		`"\ud83e"`:              false,
		`"\uD83E\u0041"`:        false,
		`"\ud83e\n"`:            false,
		`"\ud83e \udde0"`:       false,
		`"\ud83e\\udde0"`:       false,
		`"\udde0\ud83e"`:        false,
		`"\udde0"`:              false,
		`"\\ud83e"`:             true,
		`"\\\ud83e"`:            false,
		"\"\xff\"":              false,
		"\"\xed\xa0\xbe\"":      false,
		`"\`:                    true, // no JSON: the decoder says so
		`"\u`:                   true,
		`"\ud83`:                true,
		`"\ud83e\`:              false,
		`"\ud83e\u`:             false,
		`"\uzzzz\ud83e"`:        false,
		`{"\udde0":1}`:          false,
		`["\ud83e\udde0","\u"]`: true,
	} {
		if isExact([]byte(said)) != want {
			t.Errorf("%s: exact is %v", said, !want)
		}
	}
}

// FuzzExact sees that what is called exact is read without a replacement.
func FuzzExact(f *testing.F) {
	f.Add(`"\ud83e\udde0"`)
	f.Add(`"\ud83e"`)
	f.Add("\"\xff\"")
	f.Add(`"\\ud83e\u0041"`)
	f.Fuzz(func(t *testing.T, said string) {
		var got string
		if json.Unmarshal([]byte(said), &got) != nil {
			return
		}
		replaced := 0
		for _, r := range got {
			if r == utf8.RuneError {
				replaced++
			}
		}
		if replaced == 0 && !isExact([]byte(said)) {
			t.Errorf("%q is exact: %q", said, got)
		}
		own := strings.Count(said, "\ufffd") + strings.Count(strings.ToLower(said), `\ufffd`)
		if isExact([]byte(said)) && replaced > own {
			t.Errorf("%q is called exact and is read as %q", said, got)
		}
	})
}

func TestFailedFilesAreExact(t *testing.T) {
	for _, f := range []FileFailed{{}, {"a", "b"}, {"a\xff", "b"}, {"\ufffd", "\xff"}} {
		said, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var got FileFailed
		if err := json.Unmarshal(said, &got); err != nil || got.Path != f.Path {
			t.Errorf("%q comes as %q: %s, %v", f, got, said, err)
		}
		var fields map[string]any
		json.Unmarshal(said, &fields)
		if _, has := fields["path_base64"]; has == utf8.ValidString(f.Path) || !utf8.Valid(said) {
			t.Errorf("%q is said as %s", f, said)
		}
	}
	if err := json.Unmarshal([]byte(`{"path":1}`), new(FileFailed)); err == nil {
		t.Error("a number is a path")
	}
}

func TestHere(t *testing.T) {
	got := map[FileState]bool{}
	for _, s := range append(FileStates, "") {
		got[s] = File{State: s}.Here()
	}
	if want := map[FileState]bool{"git": true, "cached": true, "local": true, "partial": false, "subdataset": false, "missing": false, "": false}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
}
