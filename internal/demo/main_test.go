package demo

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gitEnv makes git and git-annex see nothing of the user's own settings.
func gitEnv(t *testing.T) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	t.Setenv("GIT_TERMINAL_PROMPT", "0")
	for _, who := range []string{"GIT_AUTHOR", "GIT_COMMITTER"} {
		t.Setenv(who+"_NAME", "a")
		t.Setenv(who+"_EMAIL", "a@example.org")
	}
}

func needGit(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	gitEnv(t)
}

// annexes returns every git-annex to be asked: the one in PATH and those
// named in UNIHARMONYFS_TEST_GIT_ANNEX (colon-separated paths).
func annexes(t *testing.T) (programs []string) {
	t.Helper()
	needGit(t)
	if p, err := exec.LookPath("git-annex"); err == nil {
		programs = append(programs, p)
	}
	for _, p := range filepath.SplitList(os.Getenv("UNIHARMONYFS_TEST_GIT_ANNEX")) {
		if p != "" {
			programs = append(programs, p)
		}
	}
	if len(programs) == 0 {
		t.Skip("git-annex is not installed")
	}
	return programs
}

// annexDir returns a temporary directory that git-annex may lock.
func annexDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				os.Chmod(p, 0o700)
			}
			return nil
		})
	})
	return dir
}

func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	c := exec.Command(args[0], args[1:]...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// newServer returns a server that ends with the test.
func newServer(t *testing.T, o ServerOptions) *Server {
	t.Helper()
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustMake(t *testing.T, dir string, d Dataset) *Made {
	t.Helper()
	m, err := Make(dir, d)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// small is a dataset with a bit of everything.
func small(url string) Dataset {
	return Dataset{
		Name: "small",
		Files: []File{
			{Path: "README", Data: []byte("hello\n")},
			{Path: "sub-01/anat/sub-01_T1w.nii.gz", Size: 70_001, Seed: 1, Annexed: true, Remotes: []string{"s3"}},
			{Path: "sub-01/anat/sub-01_T2w.nii.gz", Size: 300, Seed: 2, Annexed: true, Unlocked: true, Backend: "MD5E"},
			{Path: "sub-01/anat/twin.nii.gz", Size: 70_001, Seed: 1, Annexed: true, Remotes: []string{"s3"}},
			{Path: "sub-01/a file with ümlaut & more.dat", Size: 9, Seed: 3, Annexed: true, Backend: "SHA1"},
			{Path: "web.bin", Size: 5000, Seed: 4, Annexed: true, Remotes: []string{"web"}},
			{Path: "exported.tar.gz", Size: 6000, Seed: 5, Annexed: true, Remotes: []string{"plain"}, Backend: "SHA512E"},
			{Path: "empty.dat", Annexed: true},
			{Path: "sub-01.d/x", Data: []byte("sorts between")},
			{Path: "link", Link: "sub-01/anat"},
		},
		Remotes: []Remote{
			{Name: "s3", Kind: Versioned, URL: url + "/openneuro.org"},
			{Name: "plain", Kind: Export, URL: url + "/plain"},
			{Name: "web", Kind: Web, URL: url + "/web"},
		},
		Earlier: []Version{{Tag: "0.9.0", Files: []File{
			{Path: "README", Data: []byte("hi\n")},
			{Path: "sub-01/anat/sub-01_T1w.nii.gz", Size: 70_001, Seed: 9, Annexed: true, Remotes: []string{"s3"}},
		}}},
		Tags: []string{"1.0.0", "latest"},
	}
}
