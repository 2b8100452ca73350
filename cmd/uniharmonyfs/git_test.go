package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// bundle returns the path of a git bundle of a real dataset.
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

// twoVersions is a dataset whose README and image differ between its tags.
func twoVersions(name string) maker.Dataset {
	d := files(name, 3, 9000)
	old := slices.Clone(d.Files)
	old[1].Data = []byte("the first\n")
	old[2].Seed = 99
	d.Earlier = []maker.Version{{Tag: "1.0.0", Files: old}}
	d.Tags = []string{"2.0.0"}
	return d
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
