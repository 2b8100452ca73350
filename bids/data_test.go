package bids

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// dataset is a dataset in memory for tests.
type dataset struct {
	name    string
	paths   []string
	content map[string][]byte
}

func (d *dataset) catalog() *Catalog {
	return NewCatalog(len(d.paths), func(i int) string { return d.paths[i] }, d)
}

// Has and Type are its descriptions.
func (d *dataset) Has(dir string) bool {
	_, ok := d.content[path.Join(dir, "dataset_description.json")]
	return ok
}

func (d *dataset) Type(dir string) string {
	return DatasetType(d.content[path.Join(dir, "dataset_description.json")])
}

func (d *dataset) facets() []Facet {
	all, err := d.catalog().Facets(Selection{}, nil, nil)
	if err != nil {
		panic(err)
	}
	return all
}

func (d *dataset) read(i int) ([]byte, error) { return d.content[d.paths[i]], nil }

func (d *dataset) pathsOf(list []int) []string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = d.paths[n]
	}
	return out
}

// made makes a dataset of "path" or "path\ncontent" strings.
func made(files ...string) *dataset {
	d := &dataset{name: "made", content: make(map[string][]byte)}
	for _, f := range files {
		path, content, _ := strings.Cut(f, "\n")
		d.paths = append(d.paths, path)
		d.content[path] = []byte(content)
	}
	slices.Sort(d.paths)
	return d
}

// examples returns the datasets of bids-examples, by name.
func examples(t testing.TB) map[string]*dataset {
	f, err := os.Open(gittest.Dataset(t, "bids-examples-part.tar.gz"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("bids-examples-part.tar.gz is not there")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]*dataset)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		name, path, _ := strings.Cut(strings.TrimPrefix(h.Name, "./"), "/")
		if path == "" || h.Typeflag == tar.TypeDir {
			continue
		}
		if all[name] == nil {
			all[name] = &dataset{name: name, content: make(map[string][]byte)}
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all[name].paths = append(all[name].paths, path)
		all[name].content[path] = data
	}
	for _, d := range all {
		slices.Sort(d.paths)
	}
	return all
}

// onHarmony returns the dataset ds004712, with the content that git has; what
// is annexed is a byte.
func onHarmony(t testing.TB) *dataset {
	bundle := gittest.Dataset(t, "ds004712.bundle")
	if _, err := os.Stat(bundle); err != nil {
		t.Skip("ds004712.bundle is not there")
	}
	dir := filepath.Join(t.TempDir(), "d.git")
	git := func(stdin string, args ...string) []byte {
		cmd := exec.Command("git", args...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("git %s: %v", args[0], err)
		}
		return out
	}
	git("", "clone", "-q", "--bare", "-b", "main", bundle, dir)
	d := &dataset{name: "ds004712", content: make(map[string][]byte)}
	var wanted []string
	for line := range strings.Lines(string(git("", "-C", dir, "ls-tree", "-rz", "HEAD"))) {
		for entry := range strings.SplitSeq(strings.TrimSuffix(line, "\x00"), "\x00") {
			_, path, _ := strings.Cut(entry, "\t")
			d.paths = append(d.paths, path)
			if strings.HasPrefix(entry, "100") {
				wanted = append(wanted, path)
			} else {
				d.content[path] = []byte{0} // annexed
			}
		}
	}
	slices.Sort(d.paths)
	var ask strings.Builder
	for _, p := range wanted {
		ask.WriteString("HEAD:" + p + "\n")
	}
	rest := string(git(ask.String(), "-C", dir, "cat-file", "--batch=%(objectsize)"))
	for _, p := range wanted {
		size, body, _ := strings.Cut(rest, "\n")
		n := 0
		for _, c := range size {
			n = n*10 + int(c-'0')
		}
		d.content[p], rest = []byte(body[:n]), body[n+1:]
	}
	return d
}

// selectAlone selects where nothing else is shown.
func (c *Catalog) selectAlone(s Selection, read func(i int) ([]byte, error)) (*Result, error) {
	return c.Select(s, read, nil)
}
