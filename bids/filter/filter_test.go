package filter

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
)

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		dimension, value, have string
		want                   bool
	}{
		{"sub", "01", "01", true}, {"sub", "sub-01", "01", true}, {"sub", "1", "01", false}, {"sub", "0*", "01", true}, {"sub", "[!0]*", "01", false},
		{"run", "1", "01", true}, {"run", "run-01", "1", true}, {"run", "1", "1a", false}, {"run", "1", "10", false},
		{"task", "rest", "Rest", false}, {"task", None, "rest", false}, {"task", Any, "rest", false},
		{Datatype, "mri", "anat", true}, {Datatype, "mri", "meg", false}, {Datatype, "anat", "anat", true}, {Datatype, "a*", "anat", true},
		{Suffix, "T1w", "T1w", true}, {Suffix, "mri", "anat", false}, {Suffix, "T?w", "T2w", true},
		{Extension, "nii.gz", ".nii.gz", true}, {Extension, ".nii", ".nii.gz", false}, {Extension, "*.gz", ".nii.gz", true}, {Extension, "ds/", ".ds", true},
	} {
		if Matches(c.dimension, c.value, c.have) != c.want {
			t.Errorf("--%s %s of %q: %v", c.dimension, c.value, c.have, !c.want)
		}
	}
}

func TestQueriesThatMeanNothing(t *testing.T) {
	for _, c := range []struct {
		q         Query
		dimension string // "": it means something
	}{
		{Query{}, ""},
		{Query{Entities: map[string][]string{"sub": {"01", "sub-*", None}, "coil": {"a+b"}}, Datatype: []string{"anat"}, Suffix: []string{"T?w"}, Ext: []string{"nii", ".ds/"}}, ""},
		{Query{Entities: map[string][]string{"run": {"one"}}}, "run"},
		{Query{Entities: map[string][]string{"sub": {"a b"}}}, "sub"},
		{Query{Entities: map[string][]string{"acquisition": {"["}}}, "acq"},
		{Query{Entities: map[string][]string{"a-b": {"x"}}}, "entity"},
		{Query{Datatype: []string{""}}, Datatype},
		{Query{Suffix: []string{"a/b"}}, Suffix},
		{Query{Ext: []string{"[a"}}, Extension},
	} {
		err := c.q.Validate()
		var usage *UsageError
		switch {
		case c.dimension == "" && err != nil:
			t.Errorf("%+v: %v", c.q, err)
		case c.dimension != "" && (!errors.As(err, &usage) || usage.Dimension != c.dimension || usage.Do == ""):
			t.Errorf("%+v: %v, want a usage error of %s", c.q, err, c.dimension)
		}
	}
}

func TestGlobs(t *testing.T) {
	for _, c := range []struct {
		glob, path string
		want       bool
	}{
		{"*.json", "sub-01/anat/x.json", true}, {"*.json", "x.json/y", true}, {"*.json", "x.jsonl", false},
		{"sub-01", "sub-01/anat/x", true}, {"sub-01", "sub-011/x", false},
		{"sub-*/anat", "sub-01/anat/x", true}, {"sub-*/anat", "a/sub-01/anat/x", false}, {"sub-*/anat", "sub-01/ses-1/anat/x", false},
		{"sub-*/**/anat", "sub-01/ses-1/anat/x", true}, {"sub-*/**/anat", "sub-01/anat/x", true}, {"/a/", "b/a", false}, {"/a/", "a/b", true},
		{"[!a]*.nii", "b.nii", true}, {"[!a]*.nii", "a.nii", false}, {"a?c", "a/c", false}, {`[\]`, `\`, true}, {"a+b", "a+b", true}, {"a.b", "axb", false},
	} {
		gs := CompileGlobs([]string{"[a", c.glob}) // what is no glob is left out
		if len(gs) != 1 || gs.Match(c.path) != c.want {
			t.Errorf("%q and %q: %v of %d", c.glob, c.path, !c.want, len(gs))
		}
	}
	for _, bad := range []string{"[a", "[", "[z-a]"} {
		if _, err := CompileGlob(bad); err == nil {
			t.Errorf("%q is a glob", bad)
		}
	}
}

func TestNearest(t *testing.T) {
	have := []string{"anat", "dwi", "fmap", "func", "meg", "01", "02", "sub"}
	for value, want := range map[string]string{"ant": "anat", "FUNC": "func", "1": "01", "bus": "sub", "fnuc": "func", "functional": "func", "0002": "02"} {
		if got := Nearest(value, have); len(got) != 5 || got[0] != want {
			t.Errorf("nearest to %q: %q, want %q first", value, got, want)
		}
	}
	if got := Nearest("a", nil); len(got) != 0 {
		t.Errorf("of none: %q", got)
	}
}

// holds checks whether a condition holds, and returns it.
func holds(t *testing.T, text string, said map[string]any, want bool) *Condition {
	t.Helper()
	c, err := ParseCondition(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if got, err := c.Holds(said); got != want || err != nil {
		t.Errorf("%s: %v, %v", text, got, err)
	}
	return c
}

func TestConditions(t *testing.T) {
	said := map[string]any{"age": 41.0, "sex": "F", "age at scan": 3.0, "codes": []any{"A", "B"}, "gap": nil}
	for text, want := range map[string]bool{
		`age > 40 and sex == "F"`: true, `age < 40`: false, `age > unknown`: false, `not (gap < 3)`: true, `gap == nil`: true,
		`$env["age at scan"] == 3`: true, `"B" in codes`: true, `sex matches "^[FM]$"`: true, `gap + 1 == 2`: false, `len(codes) == 2`: true,
	} {
		holds(t, text, said, want)
	}
	c, err := ParseCondition(`age > 3 or $env["age at scan"] == 1 and sex == "x"`)
	if err != nil || !slices.Equal(c.Names(), []string{"age", "age at scan", "sex"}) {
		t.Errorf("names %q, %v", c.Names(), err)
	}
	var usage *UsageError
	for _, text := range []string{`age >`, `)`, ``, `"a"`} {
		if _, err := ParseCondition(text); !errors.As(err, &usage) || usage.Dimension != "where" {
			t.Errorf("%s: %v, want a usage error", text, err)
		}
	}
	for _, text := range []string{`age > "x"`, `age + 1`, `sex and true`, `sex`} {
		c, err := ParseCondition(text)
		if err == nil {
			_, err = c.Holds(said)
		}
		if !errors.As(err, &usage) {
			t.Errorf("%s: %v, want a usage error", text, err)
		}
	}
}

func TestFilterFiles(t *testing.T) {
	for text, want := range map[string][]Query{
		`{"mine": {"subject": ["01", null], "run": 1, "datatype": "anat", "extension": "nii.gz", "suffix": "Query.ANY"}}`: {
			{Name: "mine", Entities: map[string][]string{"sub": {"01", None}, "run": {"1"}}, Datatype: []string{"anat"}, Ext: []string{"nii.gz"}, Suffix: []string{Any}},
		},
		`{"t1w": {"session": "Query.OPTIONAL", "part": []}, "bold": {"task": "rest"}}`: {
			{Name: "bold", Entities: map[string][]string{"part": {"mag", None}, "task": {"rest"}}, Datatype: []string{"func"}, Suffix: []string{"bold"}, Ext: []string{".nii", ".nii.gz"}},
			{Name: "t1w", Entities: map[string][]string{"part": nil, "ses": nil}, Datatype: []string{"anat"}, Suffix: []string{"T1w"}, Ext: []string{".nii", ".nii.gz"}},
		},
	} {
		if got, err := ParseFile([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v, %v, want\n%+v", text, got, err, want)
		}
	}
	for text, value := range map[string]string{
		`{}`: "", `[]`: "", `x`: "", `{"a": {"subjet": "1"}}`: "a.subjet", `{"a": {"run": {"b": 1}}}`: "a.run", `{"a": {"run": "x"}}`: "x",
	} {
		var usage *UsageError
		if got, err := ParseFile([]byte(text)); !errors.As(err, &usage) || usage.Value != value {
			t.Errorf("%s: %+v, %v; want an error of %q", text, got, err, value)
		}
	}
}

func TestUsageErrorsSayWhatToDo(t *testing.T) {
	err := Query{Entities: map[string][]string{"run": {"one two"}}}.Validate()
	if got := fmt.Sprint(err); got != `--run "one two" is not a number: values are numbers, as in --run 1; or @none, @any, or a glob` {
		t.Error(got)
	}
}

// Columns may have names that the language has for something else.
func TestColumnsCalledAsTheLanguagesOwn(t *testing.T) {
	said := map[string]any{"date": "2020-01-02", "type": "rest", "count": 3.0, "now": true, "int": 4.0, "string": "s", "len": 2.0, "filter": 1.0, "codes": []any{"A", "BB"}, "$env": "odd"}
	for text, want := range map[string]bool{
		`date == "2020-01-02"`: true, `type == "rest" and count > 2`: true, `now`: true, `int < 5`: true, `string startsWith "s"`: true, `filter == 1`: true,
		// What the language has is there all the same.
		`date(date) > date("2019-01-01")`: true, `type(type) == "string"`: true, `int("4") == int`: true, `count(codes, len(#) > 1) == 1 and count == 3`: true, `len(codes) == len`: true,
		`filter(codes, # == "A")[0] == "A"`: true, `codes | count(# == "A") == 1`: true,
		`let limit = 2; count > limit`: true, `$env["date"] == date`: true, `$env["$env"] == "odd"`: true, `$env.type == type`: true,
	} {
		c := holds(t, text, said, want)
		if unknown := slices.DeleteFunc(slices.Clone(c.Names()), func(name string) bool { return said[name] != nil }); len(unknown) > 0 {
			t.Errorf("%s asks for %q", text, unknown)
		}
	}
	// All names together are nobody's column.
	for _, text := range []string{`$env == nil`, `"age" in $env`, `len($env) > 1`, `$env[sex] == 1`, `get($env, "age") == 1`, `let e = $env; e.age > 1`, `$env`} {
		c, err := ParseCondition(text)
		var usage *UsageError
		if !errors.As(err, &usage) {
			t.Errorf("%s: %v, %v; want a usage error", text, c, err)
		}
	}
}
