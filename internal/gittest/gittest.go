// Package gittest has tests run git and git-annex as they are on a machine without
// settings, and finds the real datasets, and the Python, that some need.
package gittest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// gitEnv makes git and git-annex see nothing of the user's own settings.
func gitEnv(t testing.TB) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	t.Setenv("GIT_TERMINAL_PROMPT", "0")
	for _, who := range []string{"GIT_AUTHOR", "GIT_COMMITTER"} {
		t.Setenv(who+"_NAME", "a")
		t.Setenv(who+"_EMAIL", "a@example.org")
	}
}

// NeedGit skips a test where there is no git, and has git see nothing of the user's
// own settings.
func NeedGit(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	gitEnv(t)
}

// Annexes returns every git-annex to be asked: the one in PATH and those
// named in UNIHARMONYFS_TEST_GIT_ANNEX (colon-separated paths). It is [NeedGit] too.
func Annexes(t testing.TB) (programs []string) {
	t.Helper()
	NeedGit(t)
	return annexes(t)
}

func annexes(t testing.TB) (programs []string) {
	t.Helper()
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

// EachAnnex runs a test with every git-annex, each the first in PATH, and with an empty
// home, where git does not know who the user is.
func EachAnnex(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	programs, path := annexes(t), os.Getenv("PATH")
	for _, p := range programs {
		t.Setenv("PATH", filepath.Dir(p)+string(os.PathListSeparator)+path)
		version, _, _ := strings.Cut(strings.TrimSpace(Run(t, ".", p, "version", "--raw")), "-")
		t.Run(version, func(t *testing.T) {
			t.Setenv("HOME", t.TempDir())
			test(t)
		})
	}
}

// AnnexDir returns a temporary directory that git-annex may lock.
func AnnexDir(t testing.TB) string {
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

// Run runs a command that must succeed and returns what it said.
func Run(t testing.TB, dir string, args ...string) string {
	t.Helper()
	c := exec.Command(args[0], args[1:]...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Dataset returns the path of one of the real datasets for tests: in
// UNIHARMONYFS_TEST_DATASETS, or in shared/datasets beside the checkout. It skips a
// test where there is none.
func Dataset(t testing.TB, name string) string {
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
		t.Skip("skipped: no real dataset (UNIHARMONYFS_TEST_DATASETS): ", err)
	}
	return path
}

// Python returns a Python that has a module: UNIHARMONYFS_TEST_PYTHON, or python3. It
// skips a test where there is none.
func Python(t testing.TB, module string) string {
	t.Helper()
	program := os.Getenv("UNIHARMONYFS_TEST_PYTHON")
	if program == "" {
		program = "python3"
	}
	if err := exec.Command(program, "-c", "import "+module).Run(); err != nil {
		t.Skipf("skipped: %s has no module %s (UNIHARMONYFS_TEST_PYTHON): scripts/setup --test installs it", program, module)
	}
	return program
}
