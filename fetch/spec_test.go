package fetch

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func TestParseSpec(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "my data.git")
	bundle := filepath.Join(filepath.Dir(repo), "x.bundle")
	if err := errors.Join(os.Mkdir(repo, 0o700), os.WriteFile(bundle, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for spec, want := range map[string]struct {
		url, name string
		bundle    bool
	}{
		"ds004712":                          {"https://github.com/OpenNeuroDatasets/ds004712.git", "ds004712", false},
		"https://example.org/a/b.git":       {"https://example.org/a/b.git", "b", false},
		"https://example.org/":              {"https://example.org/", "dataset", false},
		"https://u:secret@example.org/b/":   {"https://u:secret@example.org/b/", "b", false},
		"ssh://git@example.org:22/~x/..":    {"ssh://git@example.org:22/~x/..", "dataset", false},
		"git@example.org:a/b.git":           {"git@example.org:a/b.git", "b", false},
		repo:                                {repo, "my_data", false},
		"file://" + repo:                    {repo, "my_data", false},
		"file://localhost" + bundle:         {bundle, "x", true},
		"https://example.org/\u202e%1b[2J/": {"https://example.org/\u202e%1b[2J/", "2J", false},
	} {
		got, err := ParseSpec(spec, "")
		if err != nil || got.URL != want.url || got.Bundle != want.bundle || !strings.HasPrefix(got.Name, want.name+"-") {
			t.Errorf("ParseSpec(%q) = %+v, %v; want %+v", spec, got, err, want)
		}
		if strings.Contains(got.String(), "secret") {
			t.Errorf("a password is shown: %s", got)
		}
	}
}

// What is no dataset is refused with a reason, and never becomes the name of
// another directory.
func TestParseSpecRefuses(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, spec := range []string{
		"", "-x", "--upload-pack=id", ".", "..", "a", "a/b", "ds4712", "a\nb", "a\x00b", "file:a://b", "file:a", "file:", "file://", "file:///nothing/there", "file://host/a",
		"file:///?a", "file://.", "file:./a", "file:///tmp%0a", "ext::sh -c id", "ftp://example.org/a", "gopher://a/b", "data:text/plain,a://b", "://", "https://", "https:a://b", "http:///a",
		"/nothing/there", fifo, "file://" + fifo, "/dev/zero",
	} {
		if got, err := ParseSpec(spec, ""); err == nil {
			t.Errorf("ParseSpec(%q) = %+v", spec, got)
		}
	}
	if _, err := ParseSpec("ds004712", "https://example.org/"); err == nil {
		t.Error("a template without {id} is taken")
	}
}

var harmlessName = regexp.MustCompile(`^[A-Za-z0-9+][A-Za-z0-9_.+-]*-[0-9a-f]{8}$`)

// A spec is refused, or has a name that is one element of a path, whatever it
// says.
func FuzzParseSpec(f *testing.F) {
	for _, s := range []string{
		"ds004712", "https://example.org/a.git", "git@example.org:a/b", "file:///tmp", "file:a://b", "ssh://a/..", "https://a/%2e%2e", "/tmp", "/", "http://a/" + strings.Repeat("x", 300),
		"a@b:c", "https://a/.git/.git", "https://a/\u202e", "https://a:b@c/d",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSpec(text, "")
		if err != nil {
			if s != (Spec{}) {
				t.Errorf("%q: %+v with %v", text, s, err)
			}
			return
		}
		if !harmlessName.MatchString(s.Name) || len(s.Name) > 255 {
			t.Errorf("%q has the name %q", text, s.Name)
		}
		if s.URL == "" || strings.HasPrefix(s.URL, "-") || strings.ContainsAny(s.URL, "\x00\r\n") {
			t.Errorf("%q has the URL %q", text, s.URL)
		}
	})
}
