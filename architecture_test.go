package uniharmonyfs_test

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/uniharmony/uniharmonyfs/"

// layers are the rooms of the house from bottom to top. A package imports
// only from layers below its own: data flows in one direction.
var layers = [][]string{
	{"bids/schema", "internal/advice", "internal/annex", "internal/gittest", "internal/manual", "internal/place", "internal/plain", "internal/readahead", "internal/source"},
	{"bids/filter", "bids/internal/layout", "bids/internal/tsv"},
	{"bids/sidecar"},
	{"bids", "index", "internal/cachedir", "internal/gitstore", "internal/maker", "internal/source/sourcetest", "internal/tree", "fetch/internal/candidates", "fetch/internal/remedy", "fetch/internal/sevenzip", "cache/internal/disk", "cache/internal/queue", "cache/internal/supply", "cache/internal/journal", "cache/internal/life"},
	{"cache/internal/partial", "fetch/internal/program", "fetch/internal/unpack", "fetch/internal/web", "internal/publisher"},
	{"cache/internal/pinfile", "cache/internal/proof", "cache/internal/readplan", "fetch/internal/store", "fetch/internal/partial", "fetch/internal/gitannex"},
	{"cache/internal/layout"},
	{"cache/internal/shelf"},
	{"cache", "fetch", "internal/beneath", "internal/commit", "internal/demo"},
	{"fetch/subdatasets", "fs"},
	{"internal/upper"},
	{"internal/control"},
	{"internal/bulk", "internal/doctor", "internal/job"},
	{"internal/dataset"},
	{"internal/dataset/datasettest", "internal/download", "internal/mount"},
	{"internal/daemon"},
	{"internal/publisher/serve", "cmd/uniharmonyfs", "scripts/report", "scripts/wheel"},
}

// owners are the packages that may import a library: one place to change when
// the library does.
var owners = map[string]struct {
	packages []string
	why      string
}{
	"github.com/hanwen/go-fuse":      {[]string{"fs"}, "the kernel's protocol is the business of one package"},
	"github.com/dgraph-io/badger":    {[]string{"index"}, "the index is a hint that can be replaced"},
	"github.com/go-git/go-git":       {[]string{"internal/gitstore", "fetch"}, "git objects are read in one place and cloned in one"},
	"github.com/expr-lang/expr":      {[]string{"bids/filter"}, "the language of conditions is not the selection's business"},
	"github.com/urfave/cli":          {[]string{"cmd/uniharmonyfs", "internal/manual"}, "words for people are the business of the command"},
	"net/http":                       {[]string{"fetch/internal/web", "internal/control", "internal/daemon", "internal/publisher", "internal/publisher/serve"}, "only fetch talks to the outside, and in one place; the daemon serves its own socket"},
	"github.com/ulikunitz/xz":        {[]string{"fetch/internal/sevenzip", "fetch/internal/unpack"}, "archives are untrusted: who reads one bounds its memory"},
	"github.com/BurntSushi/toml":     {[]string{"scripts/wheel"}, "only the release reads what the Python package says of itself"},
	"github.com/schollz/progressbar": {[]string{"cmd/uniharmonyfs"}, "words for people are the business of the command"},
}

// pure packages do no I/O and start no goroutines.
var pure = []string{"bids", "bids/filter", "bids/internal/layout", "bids/internal/tsv", "bids/schema", "bids/sidecar", "fetch/internal/candidates", "fetch/internal/remedy", "internal/advice", "internal/annex", "internal/plain", "internal/tree"}

var impure = []string{"os", "os/exec", "net", "net/http", "syscall", "io/ioutil", "time", "sync"}

// packages returns the directories with Go files, tests left out.
func packages(t *testing.T) map[string]*build.Package {
	t.Helper()
	found := make(map[string]*build.Package)
	err := filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		if path != "." && strings.HasPrefix(e.Name(), ".") || e.Name() == "testdata" {
			return fs.SkipDir
		}
		p, err := build.ImportDir(path, 0)
		if err == nil && len(p.GoFiles) > 0 {
			found[filepath.ToSlash(path)] = p
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func layerOf(pkg string) int {
	return slices.IndexFunc(layers, func(l []string) bool { return slices.Contains(l, pkg) })
}

func TestImportsGoDownward(t *testing.T) {
	found := packages(t)
	for _, l := range layers {
		for _, p := range l {
			if found[p] == nil {
				t.Errorf("%s is in the list of layers and does not exist", p)
			}
		}
	}
	for name, p := range found {
		at := layerOf(name)
		if at < 0 {
			t.Errorf("%s has no layer", name)
			continue
		}
		for _, i := range p.Imports {
			if below, ours := strings.CutPrefix(i, module); ours && layerOf(below) >= at {
				t.Errorf("%s imports %s, which does not lie below it", name, below)
			}
		}
	}
}

func TestLibrariesHaveOwners(t *testing.T) {
	for name, p := range packages(t) {
		for _, i := range p.Imports {
			for lib, o := range owners {
				if (i == lib || strings.HasPrefix(i, lib+"/")) && !slices.Contains(o.packages, name) {
					t.Errorf("%s imports %s; only %v may: %s", name, i, o.packages, o.why)
				}
			}
			if slices.Contains(pure, name) && slices.Contains(impure, i) {
				t.Errorf("%s is pure and imports %s", name, i)
			}
		}
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	for name, p := range packages(t) {
		comments := 0
		for _, f := range p.GoFiles {
			parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(name, f), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			if parsed.Doc != nil {
				comments++
			}
		}
		if comments != 1 {
			t.Errorf("%s has %d package comments, want 1", name, comments)
		}
	}
}

// Files stay small enough to have one subject.
func TestFilesAreShort(t *testing.T) {
	const most = 500
	for name, p := range packages(t) {
		for _, f := range p.GoFiles {
			content, err := os.ReadFile(filepath.Join(name, f))
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(content), "\n"); n > most {
				t.Errorf("%s/%s has %d lines, more than %d", name, f, n, most)
			}
		}
	}
}

// Packages stay small enough to be one room.
func TestPackagesAreSmall(t *testing.T) {
	const most = 3_000
	for name, p := range packages(t) {
		lines := 0
		for _, f := range p.GoFiles {
			content, err := os.ReadFile(filepath.Join(name, f))
			if err != nil {
				t.Fatal(err)
			}
			lines += strings.Count(string(content), "\n")
		}
		if lines > most {
			t.Errorf("%s has %d lines, more than %d", name, lines, most)
		}
	}
}

// Structs stay small enough to be understood. What goes over the socket is as wide
// as what it tells.
func TestStructsAreSmall(t *testing.T) {
	const most = 15
	for name, p := range packages(t) {
		for _, f := range p.GoFiles {
			parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(name, f), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				spec, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				st, ok := spec.Type.(*ast.StructType)
				if ok && st.Fields.NumFields() > most && name != "internal/control" {
					t.Errorf("%s.%s has %d fields, more than %d", name, spec.Name, st.Fields.NumFields(), most)
				}
				return true
			})
		}
	}
}
