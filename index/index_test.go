package index_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/index"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// TestMain doubles as the process that checks an index.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CHECK_INDEX"); dir != "" {
		if err := index.Check(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv("FILL_DISK_OF_INDEX"); dir != "" {
		if err := useOnAFullDisk(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv("OPEN_INDEX"); dir != "" {
		os.Exit(openOnce(dir))
	}
	os.Exit(m.Run())
}

func check(dir string) error {
	cmd := exec.Command(os.Args[0])
	// The race detector would sleep a second at each exit.
	cmd.Env = append(os.Environ(), "CHECK_INDEX="+dir, "GORACE=atexit_sleep_ms=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %.200s", err, out)
	}
	return nil
}

func open(t *testing.T, dir string) *index.Index {
	t.Helper()
	x, err := index.Open(dir, index.Options{Check: check})
	if err != nil {
		t.Fatal(err)
	}
	return x
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

// copyTree leaves holes holes: Badger's files are mostly that.
func copyTree(to, from string) error {
	return exec.Command("cp", "-a", "--sparse=always", from+"/.", to).Run()
}

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

// describe writes a snapshot down, to compare and to read.
func describe(s *index.Snapshot) string {
	var b strings.Builder
	for n := range s.Len() {
		fmt.Fprintf(&b, "%v %q %d %s %q\n", s.Kind(n), s.Path(n), s.Size(n), s.Key(n), s.Target(n))
	}
	fmt.Fprintln(&b, s.Commit, s.Time.UTC(), s.Hidden)
	return b.String()
}

func snapshot(t *testing.T, x *index.Index, store *gitstore.Store, commit gitstore.OID) *index.Snapshot {
	t.Helper()
	s, err := x.Snapshot(context.Background(), store, commit, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSnapshotKnowsEverySortOfEntry(t *testing.T) {
	_, store, commit := repository(t)
	x := open(t, t.TempDir())
	defer x.Close()
	s := snapshot(t, x, store, commit)
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

func TestStoredSnapshotEqualsTheRead(t *testing.T) {
	_, store, commit := repository(t)
	dir := t.TempDir()
	x := open(t, dir)
	want := describe(snapshot(t, x, store, commit))
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = open(t, dir)
	defer x.Close()
	// A store that reads nothing: the snapshot must come from the index.
	empty := t.TempDir()
	git(t, empty, "init", "-q", "--bare")
	nothing, err := gitstore.Open(empty, gitstore.Options{Git: "git"})
	if err != nil {
		t.Fatal(err)
	}
	defer nothing.Close()
	if got := describe(snapshot(t, x, nothing, commit)); got != want {
		t.Errorf("stored:\n%swant:\n%s", got, want)
	}
}

// Directories are read in parts; a link may lead from one to another.
func TestManyDirectoriesAreOneSnapshot(t *testing.T) {
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
	s, err := x.Snapshot(context.Background(), store, commit, func(done, of int) {
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
	if _, err := y.Snapshot(ctx, store, commit, func(int, int) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A snapshot is never smaller than the commit: each missing object refuses it.
func TestMissingObjectRefusesTheCommit(t *testing.T) {
	dir, store, commit := repository(t)
	objects := strings.Fields(git(t, dir, "rev-list", "--objects", "--no-object-names", "HEAD"))
	for _, id := range objects {
		path := filepath.Join(dir, ".git/objects", id[:2], id[2:])
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		x := open(t, t.TempDir())
		s, err := x.Snapshot(context.Background(), store, commit, nil)
		if err == nil {
			t.Errorf("without %s: %d files and no error", id, s.Files())
		}
		x.Close()
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever happens to the database's files, opening works, and nothing that
// is read back was never written.
func TestDamagedIndexIsRebuilt(t *testing.T) {
	_, store, commit := repository(t)
	whole := t.TempDir()
	x := open(t, whole)
	if err := save(x.Table(index.Objects), records()); err != nil {
		t.Fatal(err)
	}
	want := describe(snapshot(t, x, store, commit))
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	known := records()
	harm := map[string]func(path string, content []byte) error{
		"deleted":   func(p string, _ []byte) error { return os.Remove(p) },
		"emptied":   func(p string, _ []byte) error { return os.Truncate(p, 0) },
		"truncated": func(p string, c []byte) error { return os.Truncate(p, int64(len(c)/2)) },
		"zeroed":    func(p string, c []byte) error { return os.WriteFile(p, make([]byte, len(c)), 0o600) },
		"flipped": func(p string, c []byte) error {
			c = bytes.Clone(c)
			if len(c) > 0 {
				c[len(c)/3] ^= 0x10
			}
			return os.WriteFile(p, c, 0o600)
		},
	}
	files, err := filepath.Glob(filepath.Join(whole, "db", "*"))
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for how, do := range harm {
		for _, file := range files {
			name := filepath.Base(file)
			t.Run(how+"/"+name, func(t *testing.T) {
				dir := t.TempDir()
				if err := copyTree(dir, whole); err != nil {
					t.Fatal(err)
				}
				os.Remove(filepath.Join(dir, "clean"))
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if err := do(filepath.Join(dir, "db", name), content); err != nil {
					t.Fatal(err)
				}
				x := open(t, dir)
				defer x.Close()
				for k, v := range load(t, x.Table(index.Objects), "") {
					if known[k] != v {
						t.Errorf("never written: %s %q", k, v)
					}
				}
				if got := describe(snapshot(t, x, store, commit)); got != want {
					t.Errorf("snapshot differs:\n%swant:\n%s", got, want)
				}
			})
		}
	}
}

func TestCrashLoopMovesTheIndexAside(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	if err := save(x.Table(index.Objects), records()); err != nil {
		t.Fatal(err)
	}
	x.Close()
	now := time.Now().UTC().Format(time.RFC3339)
	if err := os.WriteFile(filepath.Join(dir, "starts"), []byte(strings.Repeat(now+"\n", 3)), 0o600); err != nil {
		t.Fatal(err)
	}
	x = open(t, dir)
	defer x.Close()
	if n := len(load(t, x.Table(index.Objects), "")); n != 0 {
		t.Errorf("%d records in an index that ended the process three times", n)
	}
	if _, err := os.Stat(filepath.Join(dir, "db.damaged")); err != nil {
		t.Error(err)
	}
}

func TestOtherFormatIsRebuilt(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	x.Close()
	if err := os.WriteFile(filepath.Join(dir, "format"), []byte("99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	x = open(t, dir)
	defer x.Close()
	if err := save(x.Table(index.Objects), records()); err != nil {
		t.Fatal(err)
	}
	if n := len(load(t, x.Table(index.Objects), "")); n != 500 {
		t.Errorf("%d records, want 500", n)
	}
}

func TestUnmakeableDirectoryIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if x, err := index.Open(filepath.Join(file, "index"), index.Options{}); err == nil {
		x.Close()
		t.Fatal("no error")
	} else if !errors.Is(err, fs.ErrExist) && !strings.Contains(err.Error(), "not a directory") {
		t.Error(err)
	}
}
