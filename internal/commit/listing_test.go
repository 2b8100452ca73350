package commit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/index"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

func open(t *testing.T, dir string) *index.Index {
	t.Helper()
	x, err := index.Open(dir, index.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func lister(x *index.Index) Lister {
	return Lister{Kept: x.Table(index.Listings), Log: slog.New(slog.DiscardHandler)}
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main", "-C", dir}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %v: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

const key = "SHA256E-s7994169--60034b8747ef3da003f5c9f9fc576d2f3a2419890d862f674d4952c3a42dcc9a.nii.gz"

// repository makes a repository with every sort of entry.
func repository(t *testing.T) (dir string, store *gitstore.Store, commit gitstore.OID) {
	t.Helper()
	dir = t.TempDir()
	git(t, dir, "init", "-q")
	write := func(name, content string) {
		p := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	link := func(name, target string) {
		p := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.Symlink(target, p)); err != nil {
			t.Fatal(err)
		}
	}
	write("README", "hello\n")
	write("empty", "")
	write("sub-01/anat/sub-01_T1w.json", "{}\n")
	link("sub-01/anat/sub-01_T1w.nii.gz", "../../.git/annex/objects/aa/bb/"+key+"/"+key)
	write("sub-01/anat/unlocked.nii.gz", "/annex/objects/"+key+"\n")
	write("not-a-pointer", "/annex/objects/"+strings.Repeat("x", 40<<10))
	link("sub-01/same", "anat/sub-01_T1w.json")
	link("sub-01/twice", "same")
	link("latest", "sub-01/anat")
	write(".hidden", "dot\n")
	link("sub-01/dot", "../.hidden")
	link("root", ".")
	link("to-sizeless", "sizeless")
	link("dangling", "nowhere")
	link("escape", "../../etc/passwd")
	link("absolute", "/etc/passwd")
	link("loop", "loop")
	link("sizeless", ".git/annex/objects/aa/bb/URL--http&c%%x/URL--http&c%%x")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-qm", "first")
	store, err := gitstore.Open(dir, gitstore.Options{Git: "git"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	commit, err = store.Resolve(context.Background(), "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	return dir, store, commit
}

// describe writes a listing down, to compare and to read.
func describe(s *Listing) string {
	var b strings.Builder
	for n := range s.Len() {
		fmt.Fprintf(&b, "%v %q %d %s %q\n", s.Kind(n), s.Path(n), s.Size(n), s.Key(n), s.Target(n))
	}
	fmt.Fprintln(&b, s.Commit, s.Time.UTC(), s.Subdatasets, s.Hidden)
	return b.String()
}

func list(t *testing.T, x *index.Index, store *gitstore.Store, commit gitstore.OID) *Listing {
	t.Helper()
	s, err := lister(x).List(context.Background(), store, commit, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestListingKnowsEverySortOfEntry(t *testing.T) {
	_, store, commit := repository(t)
	x := open(t, t.TempDir())
	defer x.Close()
	s := list(t, x, store, commit)
	const annexed = int64(7994169)
	for path, want := range map[string]struct {
		kind tree.Kind
		size int64
	}{
		"README":                        {tree.Git, 6},
		"empty":                         {tree.Git, 0},
		"sub-01/anat/sub-01_T1w.nii.gz": {tree.Annexed, annexed},
		"sub-01/anat/unlocked.nii.gz":   {tree.Annexed, annexed},
		"not-a-pointer":                 {tree.Git, 15 + 40<<10},
		"sub-01/same":                   {tree.Git, 3},
		"sub-01/twice":                  {tree.Git, 3},
		"latest":                        {tree.Link, 11},
		"sub-01/dot":                    {tree.Git, 4},
		"root":                          {tree.Link, 1},
	} {
		n, ok := s.Find(path)
		if !ok {
			t.Errorf("%s is missing", path)
			continue
		}
		if s.Kind(n) != want.kind || s.Size(n) != want.size {
			t.Errorf("%s: kind %v, %d bytes; want %v, %d", path, s.Kind(n), s.Size(n), want.kind, want.size)
		}
	}
	var hidden []string
	for _, h := range s.Hidden {
		hidden = append(hidden, h.Path)
		if _, ok := s.Find(h.Path); ok {
			t.Errorf("%s is both hidden and there", h.Path)
		}
	}
	if got := strings.Join(hidden, " "); got != "absolute dangling escape loop sizeless to-sizeless" {
		t.Errorf("hidden: %s", got)
	}
	if why := s.Hidden[len(s.Hidden)-1].Why; !strings.Contains(why, "URL--http://x") {
		t.Errorf("a link to a file that cannot be shown is hidden because: %s", why)
	}
	annexedFiles := 0
	for n := range s.Len() {
		if s.Kind(n) == tree.Annexed {
			annexedFiles++
		}
	}
	if annexedFiles != 2 {
		t.Errorf("%d annexed files, want 2", annexedFiles)
	}
}

func TestKeptListingEqualsTheRead(t *testing.T) {
	_, store, commit := repository(t)
	dir := t.TempDir()
	x := open(t, dir)
	want := describe(list(t, x, store, commit))
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = open(t, dir)
	defer x.Close()
	// A store that reads nothing: the listing must come from the index.
	empty := t.TempDir()
	git(t, empty, "init", "-q", "--bare")
	nothing, err := gitstore.Open(empty, gitstore.Options{Git: "git"})
	if err != nil {
		t.Fatal(err)
	}
	defer nothing.Close()
	if got := describe(list(t, x, nothing, commit)); got != want {
		t.Errorf("stored:\n%swant:\n%s", got, want)
	}
}

// A superdataset knows its subdatasets, read or kept. Links may lead into one, but not
// out of it again.
func TestSubdatasets(t *testing.T) {
	b := newBare(t)
	blob := b.git("x", "hash-object", "-w", "--stdin")
	link := func(target string) string { return b.git(target, "hash-object", "-w", "--stdin") }
	one, two := strings.Repeat("1", 40), strings.Repeat("2", 40) // commits of other repositories
	below := b.git(fmt.Sprintf("160000 commit %s\tsub-01\n160000 commit %s\tsub-02\n100644 blob %s\tREADME\n", one, two, blob), "mktree")
	empty := b.git("", "mktree")
	var root strings.Builder
	fmt.Fprintf(&root, "160000 commit %s\tderivatives\n040000 tree %s\ta\n040000 tree %s\tb\n040000 tree %s\tnothing\n", two, below, below, empty)
	for name, target := range map[string]string{
		"in": "a/sub-01/anat/x.nii", "at": "a/sub-01", "twice": "at/anat", "again": "twice/x.nii",
		"out": "a/sub-01/x/../../../../etc/passwd", "back": "a/sub-01/x/../../README", "over": "in/../../README", "wrong": "nothing/x",
	} {
		fmt.Fprintf(&root, "120000 blob %s\t%s\n", link(target), name)
	}
	commit := b.git("", "commit-tree", "-m", "x", b.git(root.String(), "mktree", "--missing"))
	store, err := gitstore.Open(b.dir, gitstore.Options{Git: "git"})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	dir := t.TempDir()
	for round := range 2 {
		x := open(t, dir)
		s := list(t, x, store, gitstore.OID(commit))
		found := make(map[string]string)
		for _, sub := range s.Subdatasets {
			found[s.Path(sub.Node)] = string(sub.Commit)
			if again, ok := s.Subdataset(sub.Node); !ok || again != sub {
				t.Errorf("round %d: %v is found as %v", round, sub, again)
			}
		}
		want := map[string]string{"a/sub-01": one, "a/sub-02": two, "b/sub-01": one, "b/sub-02": two, "derivatives": two}
		if !maps.Equal(found, want) {
			t.Errorf("round %d: subdatasets are %v", round, found)
		}
		if n, _ := s.Find("nothing"); func() bool { _, is := s.Subdataset(n); return is }() {
			t.Errorf("round %d: an empty directory is a subdataset", round)
		}
		var links, hidden []string
		for n := range s.Len() {
			if s.Kind(n) == tree.Link {
				links = append(links, s.Path(n))
			}
		}
		for _, h := range s.Hidden {
			hidden = append(hidden, h.Path)
		}
		if !slices.Equal(links, []string{"again", "at", "in", "twice"}) || !slices.Equal(hidden, []string{"back", "out", "over", "wrong"}) {
			t.Errorf("round %d: shown are the links %v, hidden %v", round, links, hidden)
		}
		x.Close()
	}
}

// Directories are read in parts; a link may lead from one to another.
func TestManyDirectoriesAreOneListing(t *testing.T) {
	dir := t.TempDir()
	git(t, dir, "init", "-q")
	const subjects, files = 5, 7000
	var script strings.Builder
	blob := func(mark int, content string) {
		fmt.Fprintf(&script, "blob\nmark :%d\ndata %d\n%s\n", mark, len(content), content)
	}
	blob(1, "{}")
	blob(2, "../sub-4/sub-4_run-06999_bold.json")
	script.WriteString("commit refs/heads/main\ncommitter t <t@example.org> 1 +0000\ndata 1\nx\n")
	for sub := range subjects {
		for run := range files {
			fmt.Fprintf(&script, "M 100644 :1 sub-%d/sub-%d_run-%05d_bold.json\n", sub, sub, run)
		}
	}
	script.WriteString("M 120000 :2 sub-0/last.json\n")
	cmd := exec.Command("git", "-C", dir, "fast-import", "--quiet")
	cmd.Stdin = strings.NewReader(script.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	store, err := gitstore.Open(dir, gitstore.Options{Git: "git"})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	commit, err := store.Resolve(context.Background(), "main")
	if err != nil {
		t.Fatal(err)
	}
	x := open(t, t.TempDir())
	defer x.Close()
	last, total := 0, 0
	s, err := lister(x).List(context.Background(), store, commit, func(done, of int) {
		if done < last || done > of {
			t.Errorf("progress %d of %d after %d", done, of, last)
		}
		last, total = done, of
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := subjects*files + 1; s.Files() != want || last != want+subjects || total != last {
		t.Errorf("%d files, want %d; progress ended at %d of %d", s.Files(), want, last, total)
	}
	for sub := range subjects {
		for run := range files {
			if _, ok := s.Find(fmt.Sprintf("sub-%d/sub-%d_run-%05d_bold.json", sub, sub, run)); !ok {
				t.Fatalf("subject %d lacks run %d", sub, run)
			}
		}
	}
	if n, ok := s.Find("sub-0/last.json"); !ok || s.Kind(n) != tree.Git || s.Size(n) != 2 {
		t.Error("a link to the last part did not become the file")
	}
	// A part that cannot be read ends it, and so does who asked.
	ctx, cancel := context.WithCancel(context.Background())
	y := open(t, t.TempDir())
	defer y.Close()
	if _, err := lister(y).List(ctx, store, commit, func(int, int) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A listing is never smaller than the commit: each missing object refuses it.
func TestMissingObjectRefusesTheCommit(t *testing.T) {
	dir, store, commit := repository(t)
	objects := strings.Fields(git(t, dir, "rev-list", "--objects", "--no-object-names", "HEAD"))
	for _, id := range objects {
		path := filepath.Join(dir, ".git/objects", id[:2], id[2:])
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		x := open(t, t.TempDir())
		s, err := lister(x).List(context.Background(), store, commit, nil)
		if err == nil {
			t.Errorf("without %s: %d files and no error", id, s.Files())
		}
		x.Close()
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
}

// A listing that was kept and is not whole any more is read from git again; one
// that cannot be read there is an error, and never smaller.
func TestDamagedListingIsReadAgain(t *testing.T) {
	_, store, commit := repository(t)
	empty := t.TempDir()
	git(t, empty, "init", "-q", "--bare")
	nothing, err := gitstore.Open(empty, gitstore.Options{Git: "git"})
	if err != nil {
		t.Fatal(err)
	}
	defer nothing.Close()
	dir := t.TempDir()
	x := open(t, dir)
	want := describe(list(t, x, store, commit))
	x.Close() // waits until it is kept
	x = open(t, dir)
	defer x.Close()
	kept := make(map[string][]byte)
	err = x.Table(index.Listings).LoadAll("", func(key string, value []byte) error {
		kept[key] = bytes.Clone(value)
		return nil
	})
	if err != nil || len(kept) < 4 {
		t.Fatalf("%d values, %v", len(kept), err)
	}
	for key := range kept {
		for how, harm := range map[string]func(*index.Batch) error{
			"gone":     func(b *index.Batch) error { return b.Delete(key) },
			"empty":    func(b *index.Batch) error { return b.Set(key, nil) },
			"nonsense": func(b *index.Batch) error { return b.Set(key, []byte(`{"format":1}`)) },
		} {
			// In an index of its own, which nobody else writes to.
			x := open(t, t.TempDir())
			defer x.Close()
			err := x.Table(index.Listings).Save(func(b *index.Batch) error {
				for key, value := range kept {
					if err := b.Set(key, value); err != nil {
						return err
					}
				}
				return nil
			})
			if err := errors.Join(err, x.Table(index.Listings).Save(harm)); err != nil {
				t.Fatal(err)
			}
			if s, err := lister(x).List(t.Context(), nothing, commit, nil); err == nil {
				t.Errorf("%q %s: %d files and no error", key, how, s.Files())
			}
			if got := describe(list(t, x, store, commit)); got != want {
				t.Errorf("%q %s: read again:\n%swant:\n%s", key, how, got, want)
			}
		}
	}
}
