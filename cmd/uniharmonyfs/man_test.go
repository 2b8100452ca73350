package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// manPages writes the man pages and returns their directory.
func manPages(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), binary, "man", dir)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=86400")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// Every command has a page with all its flags, and all pages are well-formed.
func TestManPages(t *testing.T) {
	t.Parallel()
	dir := manPages(t)
	help := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	flag := regexp.MustCompile(`(?m)^   (--?[a-z0-9-]+(?:, --?[a-z0-9-]+)*)`)
	top, err := os.ReadFile(filepath.Join(dir, "uniharmonyfs.1"))
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^   ([a-z]+)(?:, [a-z]+)*  `).FindAllStringSubmatch(help("--help"), -1)
	pages := 1
	for _, c := range commands {
		if c[1] == "help" {
			continue
		}
		pages++
		text, err := os.ReadFile(filepath.Join(dir, "uniharmonyfs-"+c[1]+".1"))
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(string(top), `uniharmonyfs\-`+c[1]+" (1)") {
			t.Errorf("uniharmonyfs.1 does not name %s", c[1])
		}
		if !strings.HasPrefix(string(text), `.TH UNIHARMONYFS\-`+strings.ToUpper(c[1])+` 1 "1970-01-02" "uniharmonyfs `) {
			t.Errorf("%.100s", text)
		}
		for _, m := range flag.FindAllStringSubmatch(help(c[1], "--help-all"), -1) {
			for name := range strings.SplitSeq(m[1], ", ") {
				if !strings.Contains(string(text), `\fB`+strings.ReplaceAll(name, "-", `\-`)+`\fR`) {
					t.Errorf("the page of %s lacks %s", c[1], name)
				}
			}
		}
	}
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(found) != pages {
		t.Errorf("%d pages of %d commands: %v", len(found), pages-1, err)
	}
}

func TestManPagesAreWellFormed(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("mandoc"); err != nil {
		t.Skip("skipped: ", err)
	}
	pages, err := filepath.Glob(filepath.Join(manPages(t), "*.1"))
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	out, _ := exec.CommandContext(t.Context(), "mandoc", append([]string{"-T", "lint", "-W", "style"}, pages...)...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "input text line longer than 80 bytes") {
			t.Error(line)
		}
	}
}
