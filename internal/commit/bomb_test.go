package commit

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// bare is a git repository that is written object by object.
type bare struct {
	t   *testing.T
	dir string
}

func newBare(t *testing.T) bare {
	b := bare{t, t.TempDir()}
	b.git("", "init", "--quiet", "--bare")
	return b
}

func (b bare) git(in string, args ...string) string {
	b.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", b.dir, "-c", "user.name=t", "-c", "user.email=t@example.org"}, args...)...)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		b.t.Fatalf("git %v: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// read makes a commit of a tree and reads it.
func (b bare) read(tree string, limit *budget) (*Listing, error) {
	b.t.Helper()
	commit := b.git("", "commit-tree", "-m", "x", tree)
	store, err := gitstore.Open(b.dir, gitstore.Options{Git: "git"})
	if err != nil {
		b.t.Fatal(err)
	}
	defer store.Close()
	return read(context.Background(), store, gitstore.OID(commit), limit, func(int, int) {})
}

// Ten trees within each other, each ten times in the one around it, stand for
// ten thousand million paths.
func TestTreesWithinTreesAreRefused(t *testing.T) {
	b := newBare(t)
	blob := b.git("x", "hash-object", "-w", "--stdin")
	inner := b.git("100644 blob "+blob+"\tfile\n", "mktree")
	for range 10 {
		var list strings.Builder
		for i := range 10 {
			fmt.Fprintf(&list, "040000 tree %s\t%d\n", inner, i)
		}
		inner = b.git(list.String(), "mktree")
	}
	limit := newBudget()
	_, err := b.read(inner, limit)
	if !errors.Is(err, tree.ErrTooLarge) || !strings.Contains(err.Error(), "million") {
		t.Errorf("%v", err)
	}
}

func TestLimitsOfAListing(t *testing.T) {
	b := newBare(t)
	blob := b.git("x", "hash-object", "-w", "--stdin")
	link := b.git(strings.Repeat("./", 400)+"d", "hash-object", "-w", "--stdin")
	var list strings.Builder
	for i := range 50 {
		fmt.Fprintf(&list, "100644 blob %s\tfile-%03d\n", blob, i)
	}
	files := b.git(list.String(), "mktree")
	list.Reset()
	for i := range 10 {
		fmt.Fprintf(&list, "040000 tree %s\tdir-%03d\n", files, i)
	}
	root := b.git(list.String(), "mktree")
	roomy := func() *budget { return &budget{entries: 510, dirs: 10, bytes: 100_000, path: 16, content: 500} }
	if s, err := b.read(root, roomy()); err != nil || s.Files() != 500 {
		t.Fatalf("what is just within the limits: %v", err)
	}
	for what, shrink := range map[string]func(*budget){
		"million files":       func(b *budget) { b.entries-- },
		"million directories": func(b *budget) { b.dirs-- },
		"GiB":                 func(b *budget) { b.bytes = 500 },
		"PiB":                 func(b *budget) { b.content-- },
		"more than 15 bytes":  func(b *budget) { b.path-- },
	} {
		limit := roomy()
		shrink(limit)
		if _, err := b.read(root, limit); !errors.Is(err, tree.ErrTooLarge) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	list.Reset()
	for i := range 300 {
		fmt.Fprintf(&list, "120000 blob %s\tlink-%03d\n", link, i)
	}
	links := b.git(list.String(), "mktree")
	if _, err := b.read(links, roomy()); !errors.Is(err, tree.ErrTooLarge) {
		t.Errorf("long links: %v", err)
	}
	b.git("commit refs/heads/deep\ncommitter t <t@example.org> 1 +0000\ndata 1\nx\nM 100644 "+blob+" "+strings.Repeat("d/", maxDepth+1)+"file\n", "fast-import", "--quiet")
	deep := b.git("", "rev-parse", "deep^{tree}")
	if _, err := b.read(deep, newBudget()); !errors.Is(err, tree.ErrTooLarge) || !strings.Contains(err.Error(), "deeper") {
		t.Errorf("deep: %v", err)
	}
}

// A key may say any size. What no file can have is hidden, and does not spoil
// the sums.
func TestAbsurdSizesAreHidden(t *testing.T) {
	b := newBare(t)
	var list strings.Builder
	for i, size := range []string{"1", "1125899906842624", "1125899906842625", "9007199254740991", "9223372036854775807", "99999999999999999999", "0"} {
		pointer := fmt.Sprintf("/annex/objects/MD5E-s%s--d41d8cd98f00b204e9800998ecf8427e.nii.gz\n", size)
		fmt.Fprintf(&list, "100644 blob %s\tfile-%d\n", b.git(pointer, "hash-object", "-w", "--stdin"), i)
	}
	s, err := b.read(b.git(list.String(), "mktree"), newBudget())
	if err != nil {
		t.Fatal(err)
	}
	for n := range s.Len() {
		if s.Kind(n) == tree.Annexed && s.Size(n) > maxFile {
			t.Errorf("%s has %d bytes", s.Path(n), s.Size(n))
		}
	}
	// What is no key is no pointer, but text.
	for _, name := range []string{"file-2", "file-3", "file-4", "file-5"} {
		if n, there := s.Find(name); there && s.Kind(n) != tree.Git {
			t.Errorf("%s is shown", name)
		}
	}
	for _, name := range []string{"file-0", "file-1", "file-6"} {
		if n, there := s.Find(name); !there || s.Kind(n) != tree.Annexed {
			t.Errorf("%s is not shown", name)
		}
	}
	if len(s.Hidden) != 2 || !strings.Contains(s.Hidden[0].Why, "size") {
		t.Errorf("hidden: %v", s.Hidden)
	}
}

// Files whose sizes cannot be added up are no dataset.
func TestSizesThatDoNotAddUpAreRefused(t *testing.T) {
	b := newBare(t)
	blob := b.git("/annex/objects/MD5E-s1125899906842624--d41d8cd98f00b204e9800998ecf8427e.nii.gz\n", "hash-object", "-w", "--stdin")
	var list strings.Builder
	for i := range 64 {
		fmt.Fprintf(&list, "100644 blob %s\tfile-%04d\n", blob, i)
	}
	inner := b.git(list.String(), "mktree")
	if s, err := b.read(inner, newBudget()); err != nil || s.View(allFiles(s), nil).Bytes() != maxContent {
		t.Errorf("64 files of 1 PiB: %v", err)
	}
	list.Reset()
	for i := range 300 {
		fmt.Fprintf(&list, "040000 tree %s\tdir-%04d\n", inner, i)
	}
	if _, err := b.read(b.git(list.String(), "mktree"), newBudget()); !errors.Is(err, tree.ErrTooLarge) || !strings.Contains(err.Error(), "PiB") {
		t.Errorf("19,200 files of 1 PiB: %v", err)
	}
}

func allFiles(s *Listing) (nodes []int) {
	for n := range s.Len() {
		nodes = append(nodes, n)
	}
	return nodes
}
