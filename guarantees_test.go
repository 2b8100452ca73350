package uniharmonyfs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestGuaranteesHaveTests sees that docs/guarantees.md is complete and names
// tests that exist.
func TestGuaranteesHaveTests(t *testing.T) {
	text, err := os.ReadFile("docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| (I?\d+) \| (.+) \| (.+) \|$`)
	var seen []string
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		number, held := m[1], m[3]
		seen = append(seen, number)
		left := held
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(held, -1) {
			left = strings.Replace(left, name[0], "", 1)
			if err := testExists(name[1]); err != nil {
				t.Errorf("%s: %v", number, err)
			}
		}
		if strings.TrimSpace(left) != "" || left == held {
			t.Errorf("%s: what holds it? %q", number, held)
		}
	}
	var want []string
	for i := range 95 {
		want = append(want, fmt.Sprint(i+1))
	}
	for i := range 17 {
		want = append(want, fmt.Sprint("I", i+1))
	}
	if !slices.Equal(seen, want) {
		t.Errorf("the rows are %v", seen)
	}
}

// TestArchitectureNamesWhatExists sees that documents name files and packages that
// are there, and docs/architecture.md all packages.
func TestArchitectureNamesWhatExists(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range []string{"docs/architecture.md", "CONTRIBUTING.md", "SECURITY.md", "README.md"} {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("`((?:bids|cache|cmd|docs|fetch|fs|index|internal|python|scripts)(?:/[a-z._/]+)?)(?: .*)?`").FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(m[1]); err != nil {
				t.Errorf("%s: %v", doc, err)
			}
		}
	}
	for name := range packages(t) {
		if !strings.Contains(string(text), "`"+name+"`") && name != "." && !strings.HasPrefix(name, "scripts/") &&
			name != "internal/source/sourcetest" && name != "internal/publisher/serve" {
			t.Errorf("%s is not in it", name)
		}
	}
}

// testExists looks for a test as docs/guarantees.md names it: directory and
// function with a dot between them, or a Python file and its function.
func testExists(name string) error {
	if file, function, python := strings.Cut(name, "::"); python {
		return hasFunction([]string{file}, "def "+function+"(")
	}
	dir, function, ok := strings.Cut(name, ".")
	if !ok {
		return fmt.Errorf("%s names no test", name)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return err
	}
	if err := hasFunction(files, "func "+function+"("); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func hasFunction(files []string, declared string) error {
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if strings.Contains("\n"+string(text), "\n"+declared) {
			return nil
		}
	}
	return fmt.Errorf("nothing that is built declares %q", declared)
}
