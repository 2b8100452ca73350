package filter

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A condition is a line of text that may come from anywhere. None of these makes
// more of itself than the daemon has memory for.
func TestConditionsThatWouldTakeAllMemory(t *testing.T) {
	var let strings.Builder
	let.WriteString(`let a0 = sex + sex; `)
	for n := range 60 {
		fmt.Fprintf(&let, "let a%d = a%d + a%d; ", n+1, n, n)
	}
	for _, text := range []string{
		let.String() + "len(a60) > 1",
		`len(reduce(1..60, #acc + #acc, sex)) > 1`, `reduce(1..3, #acc + #, 0) > 1`,
		`len(["a"] | map(# + #)) > 1`, `"a" + sex == "aF"`, `sex + 1 == 2`,
		`len(repeat(sex, 1000000)) > 1`, `len(replace(sex, "", sex)) > 1`, `len(join(codes, sex)) > 1`,
		`len(toJSON(codes)) > 1`, `len(toBase64(sex)) > 1`, `len(flatten([codes, codes])) > 1`, `len(concat(codes, codes)) > 1`,
		`len(map(1..1000000, # + 1)) > 1`, `all(1..1000, all(1..1000, # > 0))`,
		strings.Repeat("(", 5000) + "true", strings.Repeat("not ", 5000) + "true", strings.Repeat("1 + ", 5000) + "1 == 1",
	} {
		c, err := ParseCondition(text)
		if err == nil {
			_, err = c.Holds(map[string]any{"sex": "F", "codes": []any{"A", "B"}})
		}
		var usage *UsageError
		if !errors.As(err, &usage) {
			t.Errorf("%.60s: %v, want a usage error", text, err)
		}
	}
	// Numbers are added as ever, and what is not known makes nothing hold.
	for text, want := range map[string]bool{`age + 1 == 42`: true, `age + 0.5 > 41`: true, `1 + age + 1 == 43`: true, `gone + 1 == 2`: false, `1 + gone > 0`: false, `date("2020-01-01") + duration("24h") == date("2020-01-02")`: true} {
		c := holds(t, text, map[string]any{"age": 41.0}, want)
		if slices.Contains(c.Names(), addition) {
			t.Errorf("%s asks for %q", text, c.Names())
		}
	}
}

// Of a filter file that says two things, neither is taken.
func TestFilterFilesThatSayTwoThings(t *testing.T) {
	for text, says := range map[string]string{
		`{"a": {"run": 1}} {"a": {"run": 2}}`:         "after its end",
		`{"a": {"run": 1}} x`:                         "after its end",
		`{"a": {"run": 1}}}`:                          "after its end",
		`{"a": {"run": 1}}]`:                          "after its end",
		`{"a": {"subject": "01", "sub": "02"}}`:       "another name of sub",
		`{"a": {"acq": "x", "acquisition": null}}`:    "another name of acq",
		`{"a": {"modality": "x", "mod": "y"}}`:        "another name of mod",
		`{"a": ` + strings.Repeat("[", 100_000) + `}`: "not an object of queries",
		`{"a": {"sub": ` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}}`: "is an object",
		"{\"a\": {\"task\": \"re\x1b[31mst\"}}":                                         "not an object of queries", // raw control characters are no JSON
		`{"a": {"suffix": "bold\u0000"}}`:                                               "is no word",
		`{"a": {"run": 1e400}}`:                                                         "is not a number",
		`{"a": {"run": -1}}`:                                                            "is not a number",
	} {
		got, err := ParseFile([]byte(text))
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), says) || got != nil {
			t.Errorf("%.60s: %v, %v; want an error that says %q", text, got, err, says)
		}
	}
	// A filter of fMRIPrep's own is replaced by the file's, not given twice; a
	// file may begin with a byte order mark and end with an empty line.
	got, err := ParseFile([]byte("\xef\xbb\xbf" + `{"bold": {"part": "phase", "suffix": "sbref"}}` + "\n\n"))
	if err != nil || len(got) != 1 || !slices.Equal(got[0].Entities["part"], []string{"phase"}) || !slices.Equal(got[0].Suffix, []string{"sbref"}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// A glob means a whole name or path, as it is written, also in other scripts.
func TestGlobsInOtherScripts(t *testing.T) {
	for _, c := range []struct {
		glob, path string
		want       bool
	}{
		{"ünï*", "sub/ünïx", true}, {"?", "ü", true}, {"??", "ü", false}, {"[ü]", "ü", true}, {"[!ü]", "ü", false}, {"[a-ü]", "é", true},
		{"a[!b]c", "a/c", false}, {"a[^b]c", "a/c", false}, {"a[!b]c", "adc", true}, {"x/a[!b]c", "x/a/c", false},
		{"a\n", "a\n", true}, {"a", "a\nb", false}, {"*", "a\nb", true}, {"(a|b)", "a", false}, {"^a$", "a", false}, {"a{2}", "aa", false}, {`a\d`, "a1", false},
	} {
		re, err := CompileGlob(c.glob)
		if err != nil || re.MatchString(c.path) != c.want {
			t.Errorf("%q and %q: not %v, %v", c.glob, c.path, c.want, err)
		}
	}
	for _, bad := range []string{"\xff", "[\xff]", "a[", "[]", "[!]"} {
		if re, err := CompileGlob(bad); err == nil {
			t.Errorf("%q is the glob %v", bad, re)
		}
	}
}

// A glob without directories matches a name as the shell's globs do.
func TestGlobsAgreeWithTheShells(t *testing.T) {
	glob := rapid.StringOfN(rapid.RuneFrom([]rune("ab-*?[]!^._é")), 1, 12, -1)
	name := rapid.StringOfN(rapid.RuneFrom([]rune("ab-[]!^._é")), 1, 8, -1)
	rapid.Check(t, func(t *rapid.T) {
		g, n := glob.Draw(t, "glob"), name.Draw(t, "name")
		if strings.Contains(g, "[]") || strings.Contains(g, "[!]") || strings.Contains(g, "[^]") || strings.Contains(g, "**") {
			t.Skip("a shell may take the bracket for one of the class")
		}
		want, wrong := path.Match(goGlob(g), n)
		re, err := CompileGlob(g)
		if wrong != nil || err != nil {
			return // each may be stricter than the other
		}
		if got := re.MatchString(n); got != want {
			t.Fatalf("%q and %q: %v, path.Match says %v", g, n, got, want)
		}
	})
}

// Whatever was asked for and whatever is there, as many values are named as
// there is room for, and each is one of those that are there.
func TestNearestIsOfThoseThatAreThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.String().Draw(t, "value")
		have := rapid.SliceOfDistinct(rapid.StringN(0, 100, -1), rapid.ID).Draw(t, "have")
		before := slices.Clone(have)
		got := Nearest(value, have)
		if len(got) != min(len(have), maxNearest) {
			t.Fatalf("%d of %d", len(got), len(have))
		}
		for _, g := range got {
			if !slices.Contains(have, g) {
				t.Fatalf("%q is not there", g)
			}
		}
		if !slices.Equal(have, before) {
			t.Fatal("what is there was changed")
		}
		if len(value) <= longestName && slices.Contains(have, value) && unlike(value, got[0]) != 0 {
			t.Fatalf("%q is there, and %q is called nearest", value, got[0])
		}
	})
	many := make([]string, 3*maxCompared)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	if got := Nearest(strings.Repeat("9", 1_000_000), many); len(got) != maxNearest {
		t.Errorf("of many: %q", got)
	}
}
