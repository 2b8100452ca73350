package commit

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// rawTree writes a tree as git itself would not.
func (b bare) rawTree(id string, names ...string) string {
	b.t.Helper()
	raw, err := hex.DecodeString(id)
	if err != nil {
		b.t.Fatal(err)
	}
	var data strings.Builder
	for _, name := range names {
		mode, name, _ := strings.Cut(name, " ")
		fmt.Fprintf(&data, "%s %s\x00%s", mode, name, raw)
	}
	return b.git(data.String(), "hash-object", "-t", "tree", "--literally", "-w", "--stdin")
}

// A commit with a name that could do harm is refused as a whole, in words that
// do none.
func TestUnsafeNamesAreRefused(t *testing.T) {
	b := newBare(t)
	blob := b.git("x", "hash-object", "-w", "--stdin")
	for _, name := range []string{".", "..", ".git", ".GIT", ".Git", "git~1", "GIT~1", ".git.", ".git ", ".git::$INDEX_ALLOCATION", ".g\u200cit", "a/b", "../x", "a\x1b[31m", "a\nb", "a\x7f", strings.Repeat("n", 256)} {
		for _, at := range []string{"100644 ", "120000 ", "160000 "} {
			_, err := b.read(b.rawTree(blob, at+name), newBudget())
			if !errors.Is(err, tree.ErrUnsafe) && !errors.Is(err, gitstore.ErrDamaged) {
				t.Errorf("%q: %v", name, err)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\x1b\n\x7f\u200c") {
				t.Errorf("%q is told as %q", name, err.Error())
			}
		}
	}
	empty := b.git("", "hash-object", "-t", "tree", "-w", "--stdin")
	for _, twice := range [][]string{{"100644 a", "100644 a"}, {"100644 a", "100644 b", "120000 a"}, {"100644 a", "160000 a"}} {
		if _, err := b.read(b.rawTree(blob, twice...), newBudget()); !errors.Is(err, tree.ErrDuplicate) {
			t.Errorf("%q: %v", twice, err)
		}
	}
	if _, err := b.read(b.rawTree(empty, "40000 sub", "40000 sub"), newBudget()); !errors.Is(err, tree.ErrDuplicate) {
		t.Errorf("a directory twice: %v", err)
	}
	odd := []string{"100644 -rf", "100644 a b", `100644 a\b`, "100644 \xff\xfe", "100644 é", "100644 e\u0301", "100644 A", "100644 a", "100644 " + strings.Repeat("n", 255)}
	s, err := b.read(b.rawTree(blob, odd...), newBudget())
	if err != nil || s.Files() != len(odd) {
		t.Errorf("odd names that are valid: %v", err)
	}
}

// Many thousand files in one directory are no more than many.
func TestLargeDirectory(t *testing.T) {
	b := newBare(t)
	blob := b.git("x", "hash-object", "-w", "--stdin")
	const n = 20_000
	var list strings.Builder
	for i := range n {
		fmt.Fprintf(&list, "100644 blob %s\tsub-01_run-%06d_bold.json\n", blob, i)
	}
	s, err := b.read(b.git(list.String(), "mktree"), newBudget())
	if err != nil || s.Files() != n {
		t.Errorf("%v", err)
	}
}

// A target that Linux cannot have, and whatever is no pointer, is no file of
// git-annex's and no link.
func TestPointersAndTargetsThatAreNone(t *testing.T) {
	b := newBare(t)
	key := "MD5E-s1--d41d8cd98f00b204e9800998ecf8427e.nii.gz"
	var list strings.Builder
	add := func(mode, name, content string) {
		fmt.Fprintf(&list, "%s blob %s\t%s\n", mode, b.git(content, "hash-object", "-w", "--stdin"), name)
	}
	add("100644", "binary", "/annex/objects/"+key+"\x00")
	add("100644", "large", "/annex/objects/"+key+"\n"+strings.Repeat("x", 33<<10))
	add("100644", "path", "/annex/objects/MD5E-s1--../../../x\n/annex/objects/"+key+"\n")
	add("100644", "nokey", "/annex/objects/../../etc/passwd\n")
	add("120000", "long", strings.Repeat("a/", 3000))
	add("120000", "zero", "a\x00b")
	add("120000", "objects", "../.git/annex/objects/x/y/../../../../../etc/passwd")
	s, err := b.read(b.git(list.String(), "mktree"), newBudget())
	if err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]tree.Kind{"binary": tree.Git, "large": tree.Git, "nokey": tree.Git} {
		if n, ok := s.Find(name); !ok || s.Kind(n) != kind {
			t.Errorf("%s is %v", name, s.Kind(n))
		}
	}
	for _, name := range []string{"long", "zero", "objects"} {
		if n, ok := s.Find(name); ok && s.Kind(n) != tree.Annexed {
			t.Errorf("%s is shown: a %v", name, s.Kind(n))
		}
	}
	for n := range s.Len() {
		if s.Kind(n) == tree.Annexed && strings.Contains(s.Key(n).FileName(), "/") {
			t.Errorf("the key of %s is no file name: %s", s.Path(n), s.Key(n).FileName())
		}
	}
}

// Each object that a listing needs is taken away, and damaged: the listing is
// refused, or is the same. It is never smaller.
func TestListingIsCompleteOrRefused(t *testing.T) {
	b := newBare(t)
	script := "blob\nmark :1\ndata 2\n{}\nblob\nmark :2\ndata 9\n../a/x.js\n" +
		"commit refs/heads/main\ncommitter t <t@example.org> 1 +0000\ndata 1\nx\n" +
		"M 100644 :1 a/x.json\nM 100644 :1 a/b/c.json\nM 120000 :2 d/link\nM 100644 inline README\ndata 5\nhello\n" +
		"M 100644 inline d/pointer.nii\ndata 64\n/annex/objects/MD5E-s1--d41d8cd98f00b204e9800998ecf8427e.nii.gz\n"
	b.git(script, "-c", "fastimport.unpackLimit=1000", "fast-import", "--quiet")
	tree, commit := b.git("", "rev-parse", "main^{tree}"), b.git("", "rev-parse", "main")
	whole, err := b.read(tree, newBudget())
	if err != nil {
		t.Fatal(err)
	}
	want := paths(whole)
	for line := range strings.Lines(b.git("", "rev-list", "--objects", "main")) {
		id, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		file := filepath.Join(b.dir, "objects", id[:2], id[2:])
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		flipped := []byte(string(content))
		flipped[len(flipped)/2] ^= 0x10
		for how, now := range map[string][]byte{"missing": nil, "empty": {}, "damaged": flipped, "cut": content[:len(content)/2]} {
			os.Remove(file)
			if now != nil {
				os.WriteFile(file, now, 0o444)
			}
			for _, program := range []string{"git", ""} {
				store, err := gitstore.Open(b.dir, gitstore.Options{Git: program})
				if err != nil {
					t.Fatal(err)
				}
				s, err := read(context.Background(), store, gitstore.OID(commit), newBudget(), func(int, int) {})
				if err == nil && paths(s) != want {
					t.Errorf("%s of %s with %q: another listing", how, line, program)
				}
				store.Close()
			}
		}
		os.Remove(file)
		os.WriteFile(file, content, 0o444)
	}
}

// paths lists what is in a listing.
func paths(s *Listing) string {
	var b strings.Builder
	for n := range s.Len() {
		fmt.Fprintln(&b, s.Path(n), s.Kind(n), s.Size(n), s.Key(n), s.Target(n))
	}
	return b.String()
}
