package main

import (
	"strings"
	"testing"
)

const skippedForData = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: skipped: ds004712.bundle is not there\n"}
{"Action":"skip","Package":"p","Test":"TestA"}
`

const skippedForATool = `{"Action":"run","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:3: skipped: no strace on this machine\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
`

const passed = `{"Action":"run","Package":"p","Test":"TestC"}
{"Action":"pass","Package":"p","Test":"TestC"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`

func TestReport(t *testing.T) {
	for _, c := range []struct {
		name, in string
		strict   bool
		code     int
		says     []string
		verbose  bool
	}{
		{"green", passed, true, 0, []string{"ok  \tp\t0.1s\n", "1 passed, 0 failed, 0 skipped"}, false},
		{"data may be missing", passed + skippedForData, true, 0, []string{"ds004712.bundle is not there: p TestA\n", "1 passed, 0 failed, 1 skipped"}, false},
		{"a tool may be missing at home", passed + skippedForATool, false, 0, []string{"no strace on this machine (something is missing): p TestB\n"}, false},
		{"a tool is missing in CI", passed + skippedForATool, true, 1, []string{"FAILED: 1 tests were skipped"}, false},
		{"nothing ran", "", false, 1, []string{"no test ran"}, false},
		{"a failure", passed + `{"Action":"output","Package":"p","Test":"TestD","Output":"it is wrong\n"}` + "\n" + `{"Action":"fail","Package":"p","Test":"TestD"}`, false, 1, []string{"it is wrong", "1 passed, 1 failed"}, false},
		{"cut off", passed + `{"Action":"run","Package":"p","Test":"TestE"}`, false, 1, []string{"p TestE did not end"}, false},
		{"does not build", passed + `{"Action":"build-output","ImportPath":"q","Output":"q.go:1: syntax error\n"}` + "\n" + `{"Action":"build-fail","ImportPath":"q"}`, false, 1, []string{"syntax error"}, false},
		{"fails outside its tests", passed + `{"Action":"output","Package":"q","Output":"FAIL: the tests left behind: a mount\n"}` + "\n" + `{"Action":"fail","Package":"q"}`, false, 1, []string{"left behind"}, false},
		{"verbose", `{"Action":"output","Package":"p","Test":"TestF","Output":"1000 reads\n"}` + "\n" + `{"Action":"pass","Package":"p","Test":"TestF"}`, false, 0, []string{"1000 reads"}, true},
	} {
		var out strings.Builder
		if code := run(strings.NewReader(c.in), &out, c.verbose, c.strict); code != c.code {
			t.Errorf("%s: exit %d, want %d\n%s", c.name, code, c.code, out.String())
		}
		for _, s := range c.says {
			if !strings.Contains(out.String(), s) {
				t.Errorf("%s: does not say %q:\n%s", c.name, s, out.String())
			}
		}
	}
}
