package fetch

import (
	"cmp"
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

// DataLad's URLs are datasets too, and say which version.
func TestParseSpecOfDataLad(t *testing.T) {
	const id = "6c9a6b26-6a5c-4e0c-9d0b-5f3a3d0ef1f8"
	store := filepath.Join(t.TempDir(), "store")
	repo := filepath.Join(store, id[:3], id[3:])
	if err := errors.Join(os.MkdirAll(repo, 0o700), os.Mkdir(filepath.Join(store, "alias"), 0o700), os.Symlink(filepath.Join("..", id[:3], id[3:]), filepath.Join(store, "alias", "mine"))); err != nil {
		t.Fatal(err)
	}
	for spec, want := range map[string]struct{ url, name, version, store, shown string }{
		"ria+file://" + store + "#" + id:                  {repo, id, "", "ria+file://" + store, ""},
		"ria+file://" + store + "#~mine@1.0":              {repo, id, "1.0", "ria+file://" + store, ""},
		"ria+https://u:secret@example.org/s#" + id + "@v": {"https://u:secret@example.org/s/6c9/" + id[3:], id, "v", "ria+https://u:secret@example.org/s", "ria+https://...@example.org/s#" + id + "@v"},
		"ria+ssh://me@example.org:/s#~mine":               {"ssh://me@example.org/s/alias/mine", "mine", "", "ria+ssh://me@example.org:/s", ""},
		"///openneuro/ds000001":                           {"https://datasets.datalad.org/openneuro/ds000001/.git", "ds000001", "", "", ""},
		"///":                                             {"https://datasets.datalad.org/.git", "datasets.datalad.org", "", "", ""},
	} {
		got, err := ParseSpec(spec, "")
		if err != nil || got.URL != want.url || !strings.HasPrefix(got.Name, want.name+"-") || !harmlessName.MatchString(got.Name) || got.Version != want.version || got.Store != want.store || got.String() != cmp.Or(want.shown, spec) {
			t.Errorf("ParseSpec(%q) = %+v, %v; want %+v", spec, got, err, want)
		}
	}
	for _, spec := range []string{"ria+file://" + store + "#~nothing", "ria+file://" + store, "ria+file:///#" + id, "ria+file://" + store + "#~../x", "ria+ssh://-x/s#" + id, "ria+https://example.org/s#x", "ria+ext::sh#" + id, "ria+ftp://h/s#" + id, "////x\x1b"} {
		if got, err := ParseSpec(spec, ""); err == nil {
			t.Errorf("ParseSpec(%q) = %+v", spec, got)
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
		"ria+file:///tmp#~x", "ria+https://a:b@c#6c9a6b26-6a5c-4e0c-9d0b-5f3a3d0ef1f8@1", "///a/b", "a@b:c", "https://a/.git/.git", "https://a/\u202e", "https://a:b@c/d",
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
