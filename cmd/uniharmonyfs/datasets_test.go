package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/demo"
)

// bundle returns the path of a git bundle of a real dataset.
func bundle(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("UNIHARMONYFS_TEST_DATASETS")
	for at := "."; dir == ""; at = filepath.Join(at, "..") {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			dir = filepath.Join(at, "..", "shared", "datasets")
		}
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("skipped: no real dataset: ", err)
	}
	return path
}

// git runs git and returns what it prints. Its configuration is its own.
func git(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.org", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.org")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, said.String())
	}
	return string(out)
}

// gitFile is a file as git itself sees it.
type gitFile struct {
	size int64 // of the content
	blob string
	key  annex.Key
}

// gitFiles is git's own view of the files of a version.
func gitFiles(t *testing.T, repo, version string) map[string]gitFile {
	t.Helper()
	all := make(map[string]gitFile)
	var links, ids []string
	for _, line := range strings.Split(strings.TrimSuffix(git(t, "-C", repo, "ls-tree", "-r", "-l", "-z", version), "\x00"), "\x00") {
		meta, path, _ := strings.Cut(line, "\t")
		f := strings.Fields(meta)
		g := gitFile{blob: f[2]}
		fmt.Sscan(f[3], &g.size)
		if f[0] == "120000" {
			links, ids = append(links, path), append(ids, f[2])
		}
		all[path] = g
	}
	cmd := exec.Command("git", "-C", repo, "cat-file", "--batch=%(objectname)")
	cmd.Stdin = strings.NewReader(strings.Join(ids, "\n") + "\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(out), "\n")
	for i, path := range links {
		key, ok := annex.ParseLink(lines[2*i+1])
		if !ok {
			t.Fatalf("%s is a link to %q", path, lines[2*i+1])
		}
		size, _ := key.Size()
		all[path] = gitFile{size: size, key: key}
	}
	return all
}

// walk returns the sizes of the regular files below dir.
func walk(t testing.TB, dir string) map[string]int64 {
	t.Helper()
	all := make(map[string]int64)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no plain file", path)
		}
		rel, _ := filepath.Rel(dir, path)
		all[rel] = info.Size()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func lines(s string) []string { return strings.Split(strings.TrimSuffix(s, "\n"), "\n") }

func TestRealDatasetOneSubject(t *testing.T) {
	t.Parallel()
	path := bundle(t, "ds004712.bundle")
	u := newUser(t)
	mnt := u.path("mnt")
	u.must("mount", "--dataset", path, "--sub", "03286", "--fetcher", "native", "--timeout", "2s", mnt)
	repo := u.path("oracle.git")
	git(t, "clone", "--quiet", "--bare", path, repo)
	want := gitFiles(t, repo, "main")
	seen := walk(t, mnt)
	if len(seen) != 1128 {
		t.Errorf("%d files, want 1128", len(seen))
	}
	annexed := ""
	for name, size := range seen {
		w, ok := want[name]
		switch {
		case !ok:
			t.Errorf("%s is not in git", name)
		case name == "participants.tsv":
			// Only the subject's row is shown.
			got, err := os.ReadFile(filepath.Join(mnt, name))
			if rows := lines(string(got)); err != nil || len(rows) != 2 || !strings.HasPrefix(rows[1], "sub-03286\t") || int64(len(got)) != size {
				t.Errorf("participants.tsv: %q, %v", got, err)
			} else if whole := git(t, "-C", repo, "cat-file", "blob", w.blob); !strings.Contains(whole, rows[1]+"\n") || !strings.HasPrefix(whole, rows[0]+"\n") {
				t.Errorf("participants.tsv has rows that git has not: %q", got)
			}
		case size != w.size:
			t.Errorf("%s has %d bytes, in git %d", name, size, w.size)
		case strings.HasSuffix(name, "_T1w.nii.gz"):
			annexed = name
		}
	}
	if !t.Run("list", func(t *testing.T) {
		got := lines(u.must("list", "--offline", "--dataset", path, "--sub", "03286"))
		if !slices.IsSorted(got) {
			t.Error("not in byte order")
		}
		for _, name := range got {
			if _, ok := seen[name]; !ok {
				t.Errorf("%s is listed, but not in the mount", name)
			}
		}
		if len(got) != len(seen) {
			t.Errorf("%d files are listed, %d in the mount", len(got), len(seen))
		}
		var all []string
		for name := range want {
			if strings.HasPrefix(name, "sub-03286/") {
				all = append(all, name)
			}
		}
		slices.Sort(all)
		only := lines(u.must("list", "--offline", "--dataset", path, "--sub", "03286", "--root-files", "none"))
		only = slices.DeleteFunc(only, func(name string) bool { return !strings.Contains(name, "/") })
		if !slices.Equal(only, all) {
			t.Errorf("below the subject: %d paths, git has %d", len(only), len(all))
		}
	}) {
		return
	}
	t.Run("sidecars", func(t *testing.T) { sameAsGit(t, mnt, repo, seen, want) })
	t.Run("unreachable", func(t *testing.T) { unreachable(t, u, mnt, annexed, want[annexed].key) })
	t.Run("nearest", func(t *testing.T) {
		u.fails(3, []string{"--sub 01", "no such subject", "03286"}, "mount", "--dataset", path, "--sub", "01", u.path("none"))
		if _, err := os.Lstat(u.path("none")); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a mount that failed leaves its directory behind")
		}
	})
	t.Run("again", func(t *testing.T) { noNetwork(t, u, path) })
}

// sameAsGit compares the JSON files with what git has.
func sameAsGit(t *testing.T, mnt, repo string, seen map[string]int64, want map[string]gitFile) {
	var names, ids []string
	for name := range seen {
		if strings.HasSuffix(name, ".json") {
			names, ids = append(names, name), append(ids, want[name].blob)
		}
	}
	if len(names) < 500 {
		t.Fatalf("only %d JSON files", len(names))
	}
	cmd := exec.Command("git", "-C", repo, "cat-file", "--batch=")
	cmd.Stdin = strings.NewReader(strings.Join(ids, "\n") + "\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		got, err := os.ReadFile(filepath.Join(mnt, name))
		size := want[name].size
		if err != nil || !bytes.Equal(got, out[1:1+size]) {
			t.Errorf("%s differs from git's: %v", name, err)
		}
		if !json.Valid(got) {
			t.Errorf("%s is no JSON", name)
		}
		out = out[size+2:]
	}
}

// unreachable reads a file whose servers cannot be reached from here, or can:
// then it has to be right.
func unreachable(t *testing.T, u *user, mnt, name string, key annex.Key) {
	u.t = t
	start := time.Now()
	_, err := os.ReadFile(filepath.Join(mnt, name))
	if err == nil {
		t.Skip("skipped: the dataset's bucket can be reached from here")
	}
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("reading says %v, want EIO", err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("the error took %v", took)
	}
	const host = "s3.amazonaws.com"
	if out := u.must("status", filepath.Join(mnt, name)); !strings.Contains(out, host) || !strings.Contains(out, "missing") {
		t.Errorf("status PATH does not tell the reason:\n%s", out)
	}
	if out := u.must("status"); !strings.Contains(out, host) || !strings.Contains(out, name) {
		t.Errorf("status does not tell the reason:\n%s", out)
	}
	log, err := os.ReadFile(filepath.Join(u.cache, "daemon.log"))
	if err != nil || !bytes.Contains(log, []byte(key.String())) || !bytes.Contains(log, []byte(host)) {
		t.Errorf("the log does not tell the reason (%v):\n%s", err, tail(log, 2000))
	}
	hidden, err := os.ReadFile(filepath.Join(mnt, ".uniharmonyfs", "errors"))
	if err != nil || !bytes.Contains(hidden, []byte(host)) {
		t.Errorf(".uniharmonyfs/errors does not tell the reason: %v\n%s", err, hidden)
	}
}

// noNetwork mounts a known dataset again, with and without --offline, by a
// daemon that is new, and sees that no socket but the daemon's own is used.
func noNetwork(t *testing.T, u *user, dataset string) {
	u.t = t
	u.must("mount", "--offline", "--dataset", dataset, "--sub", "03286", "--modality", "anat", u.path("offline"))
	u.must("unmount", u.path("offline"))
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("skipped: no strace on this machine")
	}
	u.must("unmount", u.path("mnt"))
	u.leaveDaemon()
	trace := u.path("trace")
	cmd := u.command(t.Context(), "mount", "--foreground", "--dataset", dataset, "--sub", "03286", "--modality", "anat", u.path("again"))
	cmd.Args = append([]string{"strace", "-f", "-qq", "-e", "trace=connect", "-o", trace}, cmd.Args...)
	cmd.Path, _ = exec.LookPath("strace")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if len(u.status().Mounts) == 1 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	u.must("unmount", u.path("again"))
	u.leaveDaemon()
	if err := cmd.Wait(); err != nil {
		t.Errorf("mount --foreground: %v", err)
	}
	calls, err := os.ReadFile(trace)
	if err != nil || !bytes.Contains(calls, []byte("AF_UNIX")) {
		t.Fatalf("nothing was traced: %v", err)
	}
	if bytes.Contains(calls, []byte("AF_INET")) {
		t.Errorf("a known dataset was mounted over the network:\n%s", tail(calls, 2000))
	}
}

// leaveDaemon ends the daemon of a user who goes on.
func (u *user) leaveDaemon() {
	u.t.Helper()
	pid := u.daemon()
	if pid == 0 {
		return
	}
	syscall.Kill(pid, syscall.SIGTERM)
	for range 1000 {
		if u.daemon() != pid {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	u.t.Fatal("the daemon does not end")
}

func TestRealDatasetWithoutHEAD(t *testing.T) {
	t.Parallel()
	path := bundle(t, "ds000001.bundle")
	u := newUser(t)
	u.must("mount", "--dataset", path, "--sub", "01", u.path("mnt"))
	repo := u.path("oracle.git")
	git(t, "init", "--quiet", "--bare", repo)
	git(t, "-C", repo, "fetch", "--quiet", path, "+refs/*:refs/*")
	want := gitFiles(t, repo, "master")
	seen := walk(t, u.path("mnt"))
	sub := 0
	for name, size := range seen {
		if strings.HasPrefix(name, "sub-01/") {
			sub++
		}
		if w, ok := want[name]; !ok || size != w.size && name != "participants.tsv" {
			t.Errorf("%s has %d bytes, in git %d", name, size, w.size)
		}
	}
	all := 0
	for name := range want {
		if strings.HasPrefix(name, "sub-01/") {
			all++
		}
	}
	if sub != all || all == 0 {
		t.Errorf("%d files of the subject, in git %d", sub, all)
	}
}

// twoVersions is a dataset whose README and image differ between its tags.
func twoVersions(name string) demo.Dataset {
	d := files(name, 3, 9000)
	old := slices.Clone(d.Files)
	old[1].Data = []byte("the first\n")
	old[2].Seed = 99
	d.Earlier = []demo.Version{{Tag: "1.0.0", Files: old}}
	d.Tags = []string{"2.0.0"}
	return d
}

func TestVersions(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	_, m := serve(t, u, twoVersions("versions"))
	u.must("mount", "--dataset", m.Dir, "--version", "1.0.0", u.path("old"))
	u.must("mount", "--dataset", m.Dir, "--version", m.Commits[1], u.path("new"))
	u.must("mount", "--dataset", m.Dir, "--version", m.Commits[0][:12], u.path("short"))
	for dir, want := range map[string]string{"old": "the first\n", "new": "made for a test\n", "short": "the first\n"} {
		if got, err := os.ReadFile(filepath.Join(u.path(dir), "README")); string(got) != want {
			t.Errorf("%s/README: %q, %v", dir, got, err)
		}
	}
	image := m.Files[2].Path
	a, errA := os.ReadFile(filepath.Join(u.path("old"), image))
	b, errB := os.ReadFile(filepath.Join(u.path("new"), image))
	if errA != nil || errB != nil || bytes.Equal(a, b) {
		t.Errorf("images of two versions: %v, %v; equal: %v", errA, errB, bytes.Equal(a, b))
	}
	if want := contents(t, m)[image]; !bytes.Equal(b, want) {
		t.Error("the image of the new version is not its own")
	}
	u.fails(4, []string{`"9.9.9"`, "1.0.0", "2.0.0"}, "mount", "--dataset", m.Dir, "--version", "9.9.9", u.path("none"))
	u.fails(4, []string{"deadbeef"}, "mount", "--dataset", m.Dir, "--version", "deadbeefdeadbeefdeadbeefdeadbeefdeadbeef", u.path("none"))
	u.fails(4, []string{"-oProxyCommand"}, "mount", "--dataset", m.Dir, "--version=-oProxyCommand=touch x", u.path("none"))
}

func TestMovingBranchLeavesKnownVersionsAlone(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	work := plainRepository(t, u, "moving")
	u.must("mount", "--dataset", work, u.path("a"))
	write(t, filepath.Join(work, "README"), "moved on\n")
	git(t, "-C", work, "commit", "--quiet", "-a", "-m", "two")
	git(t, "-C", work, "tag", "later")
	u.must("mount", "--dataset", work, u.path("b"))
	u.must("mount", "--dataset", work, "--version", "later", u.path("c"))
	for dir, want := range map[string]string{"a": "plain\n", "b": "plain\n", "c": "moved on\n"} {
		if got, err := os.ReadFile(filepath.Join(u.path(dir), "README")); string(got) != want {
			t.Errorf("%s/README: %q, %v", dir, got, err)
		}
	}
}

// plainRepository makes a BIDS dataset in git, without git-annex.
func plainRepository(t testing.TB, u *user, name string) string {
	t.Helper()
	work := u.path(name)
	write(t, filepath.Join(work, "dataset_description.json"), `{"Name":"plain","BIDSVersion":"1.10.0"}`)
	write(t, filepath.Join(work, "README"), "plain\n")
	write(t, filepath.Join(work, "sub-01", "anat", "sub-01_T1w.nii.gz"), "no image")
	write(t, filepath.Join(work, "sub-01", "anat", "sub-01_T1w.json"), "{}")
	git(t, "init", "--quiet", "--initial-branch=trunk", work)
	git(t, "-C", work, "add", ".")
	git(t, "-C", work, "commit", "--quiet", "-m", "one")
	return work
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func TestKindsOfRepositories(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	work := plainRepository(t, u, "plain")
	bare := u.path("bare.git")
	git(t, "clone", "--quiet", "--bare", work, bare)
	clone := u.path("clone")
	git(t, "clone", "--quiet", work, clone)
	worktree := u.path("tree")
	git(t, "-C", work, "worktree", "add", "--quiet", "--detach", worktree)
	detached := u.path("detached")
	git(t, "clone", "--quiet", work, detached)
	git(t, "-C", detached, "checkout", "--quiet", "--detach")
	shallow := u.path("shallow")
	git(t, "clone", "--quiet", "--depth", "1", "file://"+work, shallow)
	packed := u.path("packed.bundle")
	git(t, "-C", work, "bundle", "create", "--quiet", packed, "--all")
	sha256 := u.path("sha256")
	git(t, "init", "--quiet", "--object-format=sha256", sha256)
	write(t, filepath.Join(sha256, "README"), "plain\n")
	write(t, filepath.Join(sha256, "sub-01", "anat", "sub-01_T1w.nii.gz"), "no image")
	git(t, "-C", sha256, "add", ".")
	git(t, "-C", sha256, "commit", "--quiet", "-m", "one")
	for i, dataset := range []string{work, filepath.Join(work, ".git"), bare, clone, worktree, detached, shallow, packed, "file://" + bare, "plain", "./bare.git"} {
		t.Run(filepath.Base(dataset), func(t *testing.T) {
			mnt := u.path(fmt.Sprint("mnt", i))
			u.must("mount", "--dataset", dataset, "--sub", "01", mnt)
			want := map[string]int64{"README": 6, "dataset_description.json": 39, "sub-01/anat/sub-01_T1w.json": 2, "sub-01/anat/sub-01_T1w.nii.gz": 8}
			if got := walk(t, mnt); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %v\nwant %v", got, want)
			}
			if got, err := os.ReadFile(filepath.Join(mnt, "sub-01/anat/sub-01_T1w.nii.gz")); string(got) != "no image" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	t.Run("sha256", func(t *testing.T) {
		// Shown whole or refused with a reason.
		r := u.run("mount", "--dataset", sha256, u.path("sha"))
		switch r.code {
		case 0:
			if got, err := os.ReadFile(u.path("sha/README")); string(got) != "plain\n" {
				t.Errorf("%q, %v", got, err)
			}
		case 4:
			t.Log(r.errout)
		default:
			t.Errorf("exit %d\n%s", r.code, r.errout)
		}
	})
}

func TestDatasetByURL(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	d := files("ds000999", 4, 9000)
	d.Files[3].Unlocked = true
	s, m := serve(t, u, d)
	want := contents(t, m)
	whole := func(t *testing.T, mnt string) {
		t.Helper()
		for name, content := range want {
			if got, err := os.ReadFile(filepath.Join(mnt, name)); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(content))
			}
		}
	}
	t.Run("http", func(t *testing.T) {
		u.must("mount", "--dataset", s.GitURL(m), u.path("http"))
		whole(t, u.path("http"))
	})
	t.Run("insteadOf", func(t *testing.T) {
		write(t, u.path("gitconfig"), fmt.Sprintf("[url %q]\n\tinsteadOf = https://data.example.org/\n", s.URL+"/git/"))
		u.env = []string{"GIT_CONFIG_GLOBAL=" + u.path("gitconfig")}
		u.must("mount", "--dataset", "https://data.example.org/ds000999.git", u.path("instead"))
		u.env = nil
		whole(t, u.path("instead"))
	})
	t.Run("accession", func(t *testing.T) {
		u.must("mount", "--dataset", "ds000999", "--openneuro-url", u.path("{id}"), u.path("path"))
		whole(t, u.path("path"))
		u.must("mount", "--dataset", "ds000999", "--openneuro-url", s.URL+"/git/{id}.git", u.path("url"))
		whole(t, u.path("url"))
		u.fails(2, []string{"{id}"}, "mount", "--dataset", "ds000999", "--openneuro-url", s.URL, u.path("none"))
		// A directory of that name here is no dataset, but with "./" it is.
		clone := func(dataset string) string {
			var info struct{ Clone string }
			out := u.must("mount", "--json", "--dataset", dataset, "--openneuro-url", s.URL+"/git/{id}.git", u.path("here"))
			u.must("unmount", u.path("here"))
			if err := json.Unmarshal([]byte(out), &info); err != nil {
				t.Error(err)
			}
			return info.Clone
		}
		if clone("ds000999") != clone(s.GitURL(m)) {
			t.Error("a directory of its name is taken for the accession")
		}
		if clone("./ds000999") != clone(m.Dir) {
			t.Error("./ds000999 is not the directory of that name")
		}
	})
}

func TestWithoutGit(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	d := twoVersions("nogit")
	s, m := serve(t, u, d)
	if err := os.Mkdir(u.path("bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if fusermount, err := exec.LookPath("fusermount3"); err == nil {
		os.Symlink(fusermount, u.path("bin/fusermount3"))
	}
	u.env = []string{"PATH=" + u.path("bin")}
	u.must("mount", "--dataset", s.GitURL(m), u.path("mnt"))
	for name, content := range contents(t, m) {
		if got, err := os.ReadFile(filepath.Join(u.path("mnt"), name)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(content))
		}
	}
	u.must("mount", "--dataset", s.GitURL(m), "--version", "1.0.0", u.path("old"))
	if got, err := os.ReadFile(u.path("old/README")); string(got) != "the first\n" {
		t.Errorf("%q, %v", got, err)
	}
	u.fails(4, []string{"git is missing", "install"}, "mount", "--dataset", m.Dir, u.path("none"))
	u.fails(4, []string{"9.9.9", "1.0.0"}, "mount", "--dataset", s.GitURL(m), "--version", "9.9.9", u.path("none"))
	if out := u.must("doctor"); !strings.Contains(out, "git") || !strings.Contains(out, "apt-get install git") {
		t.Errorf("the doctor does not miss git:\n%s", out)
	}
}
