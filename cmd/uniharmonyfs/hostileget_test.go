package main_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
)

// hostileConfig is a git configuration that runs a program.
func hostileConfig(mark string) string {
	return "[core]\n\trepositoryformatversion = 0\n\tfsmonitor = \"touch " + mark + "; false\"\n"
}

// touched reports whether a program ran that leaves a mark.
func touched(t *testing.T, mark string) {
	t.Helper()
	if _, err := os.Lstat(mark); err == nil {
		t.Errorf("a stranger's program ran: %s", filepath.Base(mark))
	}
}

// A link in the target leads nowhere for a download, least of all into the
// .git of the repository that the target is.
func TestGetWritesThroughNoLink(t *testing.T) {
	u := newUser(t)
	mark := u.path("mark")
	evil := plainRepository(t, u, "evil")
	write(t, filepath.Join(evil, "sub-02", "config"), hostileConfig(mark))
	write(t, filepath.Join(evil, "sub-02", "sub-02_T1w.json"), "{}")
	git(t, "-C", evil, "add", ".")
	git(t, "-C", evil, "commit", "--quiet", "-m", "two")
	target, outside := u.path("target"), u.path("outside")
	git(t, "init", "--quiet", target)
	os.Mkdir(outside, 0o755)
	for name, to := range map[string]string{"sub-01": outside, "sub-02": ".git"} {
		if err := os.Symlink(to, filepath.Join(target, name)); err != nil {
			t.Fatal(err)
		}
	}
	config, _ := os.ReadFile(filepath.Join(target, ".git/config"))
	for _, more := range [][]string{nil, {"--force"}} {
		said := u.fails(7, []string{"sub-01/anat/sub-01_T1w.json", "sub-02/sub-02_T1w.json", "symbolic link"}, append([]string{"get", "--include", "sub-02/**", "--include", "sub-01/**", "--dataset", evil, target}, more...)...)
		if strings.Contains(said, "README") {
			t.Errorf("another file failed:\n%s", said)
		}
		u.run(append([]string{"get", "--dataset", evil, target}, more...)...)
	}
	if got, _ := os.ReadFile(filepath.Join(target, ".git/config")); string(got) != string(config) {
		t.Errorf(".git/config is now:\n%s", got)
	}
	if there, _ := os.ReadDir(outside); len(there) > 0 {
		t.Errorf("written outside: %v", there)
	}
	git(t, "-C", target, "status")
	touched(t, mark)
	if got, _ := os.ReadFile(filepath.Join(target, "README")); string(got) != "plain\n" {
		t.Errorf("what could be written is %q", got)
	}
}

// annexed makes a file of a repository an annexed one, with its content there.
func annexed(t *testing.T, repo, name, content string) {
	t.Helper()
	write(t, filepath.Join(repo, name), content)
	cmd := exec.Command("git-annex", "add", "--force-large", "--quiet", name)
	cmd.Dir = repo
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.org", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.org")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git-annex add: %v\n%s", err, out)
	}
}

func annexInit(t *testing.T, repo string) {
	t.Helper()
	cmd := exec.Command("git-annex", "init", "--quiet", "--no-autoenable")
	cmd.Dir = repo
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.org", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.org")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git-annex init: %v\n%s", err, out)
	}
}

// The work tree is that of the version that was chosen from, not of a later
// one in which a directory has become a link into .git.
func TestGetDirectChecksOutTheVersion(t *testing.T) {
	u := newUser(t)
	u.env = []string{"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.org", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.org"}
	mark := u.path("mark")
	evil := plainRepository(t, u, "evil")
	annexInit(t, evil)
	annexed(t, evil, "sub-02/config", hostileConfig(mark))
	annexed(t, evil, "sub-02/sub-02_T1w.nii.gz", "image")
	git(t, "-C", evil, "commit", "--quiet", "-m", "two")
	first := strings.TrimSpace(git(t, "-C", evil, "rev-parse", "HEAD"))
	u.must("list", "--dataset", evil)
	os.RemoveAll(filepath.Join(evil, "sub-02"))
	os.Symlink(".git", filepath.Join(evil, "sub-02"))
	git(t, "-C", evil, "add", "-A")
	git(t, "-C", evil, "commit", "--quiet", "-m", "three")

	target := u.path("target")
	for range 2 { // made, and taken up
		u.must("get", "--direct", "--copy", "--include", "sub-02/**", "--dataset", evil, target)
		if at := strings.TrimSpace(git(t, "-C", target, "rev-parse", "HEAD")); at != first {
			t.Errorf("the dataset is at %s, want %s", at, first)
		}
	}
	if st, err := os.Lstat(filepath.Join(target, "sub-02/config")); err != nil || !st.Mode().IsRegular() {
		t.Errorf("a copy is %v, %v", st, err)
	}
	if branch := strings.TrimSpace(git(t, "-C", target, "symbolic-ref", "HEAD")); branch != "refs/heads/trunk" {
		t.Errorf("HEAD is %s", branch)
	}

	// A clone that somebody brought to the later version, and a link that
	// somebody made, are no way into .git either.
	other := u.path("other")
	git(t, "clone", "--quiet", evil, other)
	config, _ := os.ReadFile(filepath.Join(other, ".git/config"))
	u.fails(7, []string{"sub-02/config", "symbolic link"}, "get", "--direct", "--copy", "--force", "--include", "sub-02/**", "--dataset", evil, other)
	if got, _ := os.ReadFile(filepath.Join(other, ".git/config")); !strings.HasPrefix(string(got), string(config)) {
		t.Errorf(".git/config is now:\n%s", got)
	}
	git(t, "-C", target, "checkout", "--quiet", "--force", "HEAD~1")
	u.fails(4, []string{"another version"}, "get", "--direct", "--include", "sub-02/**", "--dataset", evil, target)
	git(t, "-C", target, "status")
	touched(t, mark)
}

// What a user changed in the work tree is not overwritten by --copy.
func TestGetDirectCopyKeepsChangedFiles(t *testing.T) {
	u := newUser(t)
	u.env = []string{"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.org", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.org"}
	_, m := serve(t, u, demo.Dataset())
	target := u.path("target")
	args := []string{"get", "--direct", "--copy", "--dataset", m.Dir, "--sub", "01", "--modality", "anat", target}
	u.must("get", "--direct", "--dataset", m.Dir, "--sub", "01", "--modality", "anat", target)
	image := filepath.Join(target, "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz")
	os.Remove(image)
	write(t, image, "mine")
	u.fails(7, []string{"sub-01_ses-01_T1w.nii.gz", "--force"}, args...)
	if got, _ := os.ReadFile(image); string(got) != "mine" {
		t.Errorf("it is now %d bytes", len(got))
	}
	u.must(append(args, "--force")...)
	if got, _ := os.ReadFile(image); string(got) == "mine" {
		t.Error("--force did not overwrite")
	}
}

// Neither the dataset's attributes nor the user's configuration make the
// checkout of a dataset run a program.
func TestGetDirectRunsNoFilter(t *testing.T) {
	for _, dir := range annexes() {
		t.Run(dir, func(t *testing.T) {
			u := newUser(t)
			mark := func(name string) string { return filepath.Join(u.dir, "mark-"+name) }
			template := u.path("template")
			for _, at := range []string{template + "/hooks/post-checkout", u.path("hooks/post-checkout")} {
				write(t, at, "#!/bin/sh\ntouch "+mark("hook")+"\n")
				os.Chmod(at, 0o755)
			}
			write(t, filepath.Join(template, "config"), "[filter \"lfs\"]\n\tsmudge = touch "+mark("template")+"; cat\n")
			write(t, u.path(".gitconfig"), `[filter "lfs"]
	smudge = touch `+mark("smudge")+`; cat
	clean = touch `+mark("clean")+`; cat
	required = true
[filter "process"]
	process = touch `+mark("process")+`; false
	required = true
[init]
	templateDir = `+template+`
[user]
	name = t
	email = t@example.org
`)
			u.env = []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
			evil := plainRepository(t, u, "evil")
			write(t, filepath.Join(evil, ".gitattributes"), "* filter=lfs diff=lfs merge=lfs -text\n*.json filter=process\n")
			annexInit(t, evil)
			annexed(t, evil, "sub-01/anat/sub-01_T2w.nii.gz", "image")
			git(t, "-C", evil, "add", ".")
			git(t, "-C", evil, "commit", "--quiet", "-m", "two")
			for _, name := range []string{"smudge", "clean", "process", "template", "hook"} {
				os.Remove(mark(name))
			}
			target := u.path("target")
			u.must("get", "--direct", "--dataset", evil, target)
			for _, name := range []string{"smudge", "clean", "process", "template", "hook"} {
				touched(t, mark(name))
			}
			if got, _ := os.ReadFile(filepath.Join(target, "README")); string(got) != "plain\n" {
				t.Errorf("README is %q", got)
			}
			cmd := u.command(t.Context())
			status := exec.Command("git", "-C", target, "status", "--porcelain")
			status.Env = cmd.Env
			if out, err := status.CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("git status: %v\n%s", err, out)
			}
			if _, err := os.Stat(filepath.Join(target, "sub-01/anat/sub-01_T2w.nii.gz")); err != nil {
				t.Error(err)
			}
		})
	}
}

// The repository that a dataset is cloned from is only read: nothing that its
// configuration names runs.
func TestGetDirectOfALocalRepositoryRunsNothingOfIt(t *testing.T) {
	for _, dir := range annexes() {
		t.Run(dir, func(t *testing.T) {
			u := newUser(t)
			u.env = []string{"PATH=" + dir + ":" + u.path("bin") + ":" + os.Getenv("PATH"), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.org", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.org"}
			_, m := serve(t, u, demo.Dataset())
			evil, mark := u.path("evil"), u.path("mark")
			git(t, "clone", "--quiet", m.Dir, evil)
			git(t, "-C", evil, "branch", "git-annex", "origin/git-annex")
			for _, hook := range []string{"post-checkout", "pre-commit", "post-update", "reference-transaction", "pre-auto-gc", "post-index-change"} {
				write(t, filepath.Join(evil, ".git/hooks", hook), "#!/bin/sh\ntouch "+mark+"\n")
				os.Chmod(filepath.Join(evil, ".git/hooks", hook), 0o755)
			}
			git(t, "-C", evil, "config", "core.fsmonitor", "touch "+mark+"; false")
			os.Remove(mark)
			before := snapshotOf(t, filepath.Join(evil, ".git"))
			u.must("get", "--direct", "--dataset", evil, "--sub", "01", "--suffix", "T1w", u.path("target"))
			touched(t, mark)
			if after := snapshotOf(t, filepath.Join(evil, ".git")); after != before {
				t.Errorf("the repository is now:\n%s\nwas:\n%s", after, before)
			}
			if out := git(t, "-C", u.path("target"), "config", "--get-all", "remote.origin.url"); strings.TrimSpace(out) != evil {
				t.Errorf("origin is %s", out)
			}
		})
	}
}

// snapshotOf lists all that is below a directory.
func snapshotOf(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		b.WriteString(path + " " + e.Type().String() + "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A download interrupted between the clone and its work tree is taken up.
func TestGetDirectFinishesACheckout(t *testing.T) {
	u := newUser(t)
	u.env = []string{"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.org", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.org"}
	repo, target := plainRepository(t, u, "repo"), u.path("target")
	git(t, "clone", "--quiet", "--no-checkout", repo, target)
	write(t, filepath.Join(target, ".git/index.lock"), "")
	u.must("get", "--direct", "--dataset", repo, target)
	if out := git(t, "-C", target, "status", "--porcelain"); out != "" {
		t.Errorf("git status:\n%s", out)
	}
	full := u.path("full")
	write(t, filepath.Join(full, "README"), "mine")
	u.fails(4, []string{"not empty"}, "get", "--direct", "--dataset", repo, full)
	if got, _ := os.ReadFile(filepath.Join(full, "README")); string(got) != "mine" {
		t.Errorf("README is %q", got)
	}
}

// What a program asks of the daemon is checked by the daemon.
func TestGetTargetsThatTheDaemonRefuses(t *testing.T) {
	u := newUser(t)
	repo := plainRepository(t, u, "repo")
	u.must("mount", "--dataset", repo, u.path("mnt"))
	client := u.socket()
	defer client.CloseIdleConnections()
	os.Symlink(u.cache, u.path("link"))
	for target, why := range map[string]string{"target": "absolute", "": "absolute", "../x": "absolute", u.path("link/new"): "overlaps the cache", filepath.Join(repo, ".git/hooks"): "git repository"} {
		body, _ := json.Marshal(map[string]any{"dataset": repo, "selection": map[string]any{}, "target": target})
		res, err := client.Post("http://daemon/v1/get", "application/json", strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		var said strings.Builder
		dec := json.NewDecoder(res.Body)
		for {
			var line json.RawMessage
			if dec.Decode(&line) != nil {
				break
			}
			said.Write(line)
		}
		res.Body.Close()
		if !strings.Contains(said.String(), why) || !strings.Contains(said.String(), "fault") {
			t.Errorf("%q: %s", target, said.String())
		}
	}
	if got, _ := filepath.Glob(filepath.Join(repo, ".git/hooks/README")); len(got) > 0 {
		t.Error("written into .git")
	}
}
