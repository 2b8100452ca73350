package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

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
