package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every row of the tables for users of uniharmony.datasets names tests, and
// these exist.
func TestDocumentedTestsExist(t *testing.T) {
	var code strings.Builder
	for _, glob := range []string{"*_test.go", "../../python/tests/test_*.py"} {
		files, err := filepath.Glob(glob)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", glob, files, err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(data)
		}
	}
	doc, err := os.ReadFile("../../docs/uniharmony-datasets.md")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile("`(Test\\w+|test_\\w+)`")
	rows := 0
	for line := range strings.Lines(string(doc)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| there ") {
			continue
		}
		rows++
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		tests := name.FindAllStringSubmatch(cells[len(cells)-1], -1)
		if len(tests) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, test := range tests {
			if !strings.Contains(code.String(), "func "+test[1]+"(t") && !strings.Contains(code.String(), "def "+test[1]+"(") {
				t.Errorf("there is no %s: %s", test[1], line)
			}
		}
	}
	if rows < 30 {
		t.Errorf("%d rows", rows)
	}
}

// The tables name every parameter of the Python call, and every word of the
// documentation that they are about.
func TestDocumentedCallsAreComplete(t *testing.T) {
	doc, err := os.ReadFile("../../docs/uniharmony-datasets.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../../python/src/uniharmonyfs/datasets.py")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(source), "def download_bids_dataset(\n")
	head, _, _ := strings.Cut(rest, "    *,\n")
	parameters := regexp.MustCompile(`(?m)^    (\w+): `).FindAllStringSubmatch(head, -1)
	if len(parameters) != 15 {
		t.Errorf("%d parameters", len(parameters))
	}
	words := []string{"clean_tmp()", `clean_tmp("my_custom_cache")`, "clean_tmp_folder()", "list_available_files(", "SSL", "SSH", "insteadOf", "roxies", "git-annex", "uthentication"}
	for _, p := range parameters {
		words = append(words, "`"+p[1])
	}
	for _, w := range words {
		if !strings.Contains(string(doc), w) {
			t.Errorf("the tables say nothing of %s", w)
		}
	}
}
