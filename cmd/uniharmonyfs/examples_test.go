package main_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// exhaustive reports whether tests take their time.
func exhaustive() bool { return os.Getenv("UNIHARMONYFS_TEST_ALL") != "" }

// example is a dataset of bids-examples: a plain directory, and a git
// repository of it without annexed files.
type example struct{ dir, repo string }

// exampleNames returns the datasets of bids-examples that are here.
func exampleNames(t *testing.T) (names []string) {
	eachExample(t, func(name, _ string, _ io.Reader) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	})
	slices.Sort(names)
	return names
}

func eachExample(t *testing.T, fn func(name, path string, data io.Reader)) {
	t.Helper()
	f, err := os.Open(gittest.Dataset(t, "bids-examples-part.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		name, path, _ := strings.Cut(strings.TrimPrefix(h.Name, "./"), "/")
		if h.Typeflag == tar.TypeReg && path != "" {
			fn(name, path, r)
		}
	}
}

// unpackExample makes a dataset of bids-examples. Their data files are empty;
// here they have some bytes.
func unpackExample(t *testing.T, u *user, name string) example {
	t.Helper()
	e := example{u.path(name), u.path(name + ".git")}
	found := false
	eachExample(t, func(of, path string, r io.Reader) {
		if of != name {
			return
		}
		found = true
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) == 0 {
			data = someContent(path)
		}
		p := filepath.Join(e.dir, filepath.FromSlash(path))
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	})
	if !found {
		t.Skipf("skipped: %s is not in bids-examples-part.tar.gz", name)
	}
	e.commit(t)
	return e
}

func (e example) commit(t *testing.T) {
	t.Helper()
	git(t, "init", "--quiet", "--bare", "--initial-branch=main", e.repo)
	git(t, "--git-dir", e.repo, "--work-tree", e.dir, "add", "--all", "--force", ".")
	git(t, "--git-dir", e.repo, "--work-tree", e.dir, "commit", "--quiet", "--message=all")
}

// someContent stands for the data of a file: of tables and sidecars, which
// validators read, there is none.
func someContent(path string) []byte {
	switch {
	case strings.HasSuffix(path, ".gz"):
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write([]byte{0})
		z.Close()
		return b.Bytes()
	case strings.HasSuffix(path, ".tsv"), strings.HasSuffix(path, ".json"):
		return nil
	}
	return []byte{'\n'}
}

// usualSelections are selections as people make them: of a subject, a session,
// a datatype, or the data of one suffix, made of the dataset's own values.
func usualSelections(t *testing.T, u *user, dataset string, most int) (list [][]string) {
	t.Helper()
	var out struct{ Facets []bids.Facet }
	if err := json.Unmarshal([]byte(u.must("list", "--json", "--dataset", dataset, "--facets")), &out); err != nil {
		t.Fatal(err)
	}
	for round := 0; len(list) < most; round++ {
		before := len(list)
		for _, f := range out.Facets {
			if f.Table != "" || round >= len(f.Values) {
				continue
			}
			switch f.Name {
			case "sub", "ses", "task", "run", "sample", "modality":
				list = append(list, []string{"--" + f.Name, f.Values[len(f.Values)-1-round].Value})
			case "suffix":
				// A coordinate system alone is a sidecar without data, as asked.
				if v := f.Values[round].Value; v != "coordsystem" {
					list = append(list, []string{"--suffix", v, "--sub", out.Facets[0].Values[0].Value})
				}
			}
		}
		if len(list) == before {
			break
		}
	}
	list = slices.DeleteFunc(list, func(s []string) bool {
		return u.run(slices.Concat([]string{"list", "--count", "--dataset", dataset}, s)...).code == 3
	})
	return list[:min(len(list), most)]
}
