package uniharmonyfs_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// checkout makes a repository that has CHANGELOG.md, as given, and scripts/version.
func checkout(t *testing.T, changelog string) (dir string, run func(...string) string) {
	t.Helper()
	dir = t.TempDir()
	script, err := os.ReadFile("scripts/version")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"scripts/version": script, "CHANGELOG.md": []byte(changelog)} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run = func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a", "GIT_COMMITTER_DATE=1700000000 +0500")
		var errors bytes.Buffer
		cmd.Stderr = &errors
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, errors.String())
		}
		return strings.TrimSpace(string(out))
	}
	run("git", "init", "--quiet", ".")
	run("git", "add", ".")
	run("git", "commit", "--quiet", "--message", "all")
	return dir, run
}

// The newest heading of the changelog is the version, and what is not that
// version is never called so.
func TestVersionIsTheChangelogs(t *testing.T) {
	const released = "# Changelog\n\n## 1.2.3 (2026-12-31)\n\n- new\n\n## 1.2.2 (2026-01-01)\n"
	const unreleased = "# Changelog\n\n## Unreleased\n\n" + "## 1.2.3 (2026-12-31)\n"
	check := func(run func(...string) string, want string) {
		t.Helper()
		commit := run("git", "rev-parse", "--short=12", "HEAD")
		if got := run("scripts/version"); got != strings.ReplaceAll(want, "COMMIT", commit) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	_, run := checkout(t, "# Changelog\n\n## Unreleased\n")
	check(run, "0.0.0+dev.COMMIT")
	_, run = checkout(t, unreleased)
	check(run, "1.2.3+dev.COMMIT")
	_, run = checkout(t, "# Changelog\n\n## 1.3.0\n\n## 1.2.3 (2026-12-31)\n") // not dated yet
	check(run, "1.2.3+dev.COMMIT")

	dir, run := checkout(t, released)
	check(run, "1.2.3")
	if got := run("scripts/version", "--epoch"); got != "1700000000" {
		t.Errorf("made at %s", got)
	}
	run("git", "tag", "v1.2.3")
	check(run, "1.2.3")
	run("git", "commit", "--quiet", "--allow-empty", "--message", "after the release")
	check(run, "1.2.3+dev.COMMIT")
	run("git", "reset", "--quiet", "--hard", "v1.2.3")
	if err := os.WriteFile(filepath.Join(dir, "CHANGELOG.md"), []byte(released+"more\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	check(run, "1.2.3+dev.COMMIT.dirty")

	// Without a repository, and in somebody else's.
	if err := os.RemoveAll(filepath.Join(dir, ".git")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(dir))
	check(func(args ...string) string {
		if args[0] == "git" {
			return ""
		}
		return run(args...)
	}, "1.2.3")
	outer, run := checkout(t, unreleased)
	inner := filepath.Join(outer, "inner")
	if err := os.Rename(dir, inner); err != nil {
		t.Fatal(err)
	}
	if got := run("inner/scripts/version"); got != "1.2.3" {
		t.Errorf("in another repository it is %s", got)
	}
}

// Nothing but the changelog says a version, and its headings are well-formed.
func TestVersionIsSaidOnce(t *testing.T) {
	text, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	var headings []string
	for line := range strings.Lines(string(text)) {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			headings = append(headings, strings.TrimSpace(heading))
		}
	}
	dated := regexp.MustCompile(`^\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)$`)
	for i, h := range headings {
		if !dated.MatchString(h) && (i > 0 || h != "Unreleased") {
			t.Errorf("the heading %q is neither a version with its date nor, as the first, Unreleased", h)
		}
		if slices.Contains(headings[:i], h) {
			t.Errorf("%s stands there twice", h)
		}
	}
	for file, says := range map[string]string{
		"python/pyproject.toml":       `dynamic = ["version"]`,
		"scripts/packaging/nfpm.yaml": "version: ${VERSION}",
		"scripts/build":               "version=$(scripts/version)",
		"scripts/release":             "version=$(scripts/version)",
		"python/setup.py":             `"scripts" / "version"`,
		"cmd/uniharmonyfs/version.go": `var version = "devel"`,
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), says) {
			t.Errorf("%s does not say %q", file, says)
		}
	}
}

// scripts/release makes nothing of what is not committed, or is another version.
func TestReleaseRefuses(t *testing.T) {
	dir, run := checkout(t, "# Changelog\n\n## 1.2.3 (2026-12-31)\n")
	script, err := os.ReadFile("scripts/release")
	if err != nil {
		t.Fatal(err)
	}
	release := filepath.Join(dir, "scripts", "release")
	if err := os.WriteFile(release, script, 0o755); err != nil {
		t.Fatal(err)
	}
	refused := func(version, why string) {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), release, version).CombinedOutput()
		if err == nil || !strings.Contains(string(out), why) {
			t.Errorf("%v: %s, want %q", err, out, why)
		}
		if _, err := os.Stat(filepath.Join(dir, "dist")); err == nil {
			t.Error("dist is there")
		}
	}
	refused("1.2.3", "not committed")
	run("git", "add", ".")
	run("git", "commit", "--quiet", "--message", "release")
	refused("1.2.4", "this is 1.2.3, not 1.2.4")
	if err := os.WriteFile(filepath.Join(dir, "CHANGELOG.md"), []byte("# Changelog\n\n## Unreleased\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run("git", "commit", "--quiet", "--all", "--message", "later")
	refused("1.2.3", "this is 0.0.0+dev.")
}
