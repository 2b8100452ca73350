package fetch

import (
	"slices"
	"testing"
)

func TestSubdatasetURL(t *testing.T) {
	const modules = `[submodule "relative"]
	path = a
	url = ../a
[submodule "own"]
	path = b
	url = https://example.org/b.git
	datalad-id = 1
[submodule "of a path that is not there"]
	path = z
	url = https://example.org/z.git
[submodule "path"]
	path = c
	url = /home/somebody/c
[submodule "harm"]
	path = d
	url = "https://example.org/$(touch /tmp/x);x"
[submodule "no URL"]
	path = e
`
	for _, c := range []struct {
		text  string
		paths []string
		want  string
	}{
		{modules, []string{"a", "b", "c"}, "https://example.org/b.git"},
		{modules, []string{"a", "c", "d", "e"}, ""},
		{modules, nil, ""},
		{"[submodule", []string{"b"}, ""},
		{"", []string{"b"}, ""},
	} {
		if got := SubdatasetURL([]byte(c.text), func(path string) bool { return slices.Contains(c.paths, path) }); got != c.want {
			t.Errorf("of %q: %q, want %q", c.paths, got, c.want)
		}
	}
}
