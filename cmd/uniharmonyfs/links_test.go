package main_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Links of a dataset lead to the dataset's own files, in a mount and in a
// download: what the kernel reaches through one lies below the same root.
func TestLinksNeverLeadOut(t *testing.T) {
	u := newUser(t)
	evil := plainRepository(t, u, "evil")
	for name, content := range map[string]string{"etc/passwd": "the dataset's own\n", "etc/deep/file": "deep\n", "a/b/c/file": "c\n"} {
		write(t, filepath.Join(evil, name), content)
	}
	for name, target := range map[string]string{
		"s":                  ".",
		"host":               strings.Repeat("s/", 30) + strings.Repeat("../", 30) + "etc",
		"hostfile":           strings.Repeat("s/", 30) + strings.Repeat("../", 30) + "etc/passwd",
		"first":              "a/b/c",
		"second":             "first/../../../../" + "evil",
		"around":             "../" + filepath.Base(evil) + "/etc",
		"sub-01/out":         "../first/../../../..",
		"sub-01/up":          "../a/b",
		"a/b/file":           "c/file",
		"through":            "sub-01/up/c",
		"throughfile":        "sub-01/up/c/file",
		"throughout":         "sub-01/out/etc",
		"file-is-no-dir":     "README/../etc",
		"absolute":           "/etc",
		"proc":               "s/s/../../proc/self/root/etc",
		"sub-01/sub-01_link": "anat/",
	} {
		if err := os.Symlink(target, filepath.Join(evil, name)); err != nil {
			t.Fatal(err)
		}
	}
	git(t, "-C", evil, "add", ".")
	git(t, "-C", evil, "commit", "--quiet", "-m", "links")
	whole := []string{"--dataset", evil}
	u.must(append([]string{"mount"}, append(whole, u.path("mnt"))...)...)
	u.must(append([]string{"get"}, append(whole, u.path("target"))...)...)
	all := []string{"--include", "**", "--dataset", evil}
	u.must(append([]string{"mount"}, append(all, u.path("all"))...)...)
	u.must(append([]string{"get"}, append(all, u.path("alltarget"))...)...)
	for _, root := range []string{"mnt", "all", "target", "alltarget"} {
		checkLinks(t, u.path(root))
	}
	for _, root := range []string{"mnt", "target"} {
		for name, want := range map[string]string{"through/file": "c\n", "throughfile": "c\n", "a/b/file": "c\n", "first/file": "c\n", "s/s/etc/passwd": "the dataset's own\n", "sub-01/sub-01_link/sub-01_T1w.json": "{}"} {
			if got, err := os.ReadFile(filepath.Join(u.path(root), name)); string(got) != want {
				t.Errorf("%s of %s is %q, %v", name, root, got, err)
			}
		}
		for _, name := range []string{"host", "hostfile", "second", "around", "sub-01/out", "throughout", "file-is-no-dir", "absolute", "proc"} {
			if to, err := os.Readlink(filepath.Join(u.path(root), name)); err == nil {
				t.Errorf("%s of %s is shown: %s", name, root, to)
			}
		}
	}
}

// checkLinks looks where the links below a directory lead.
func checkLinks(t *testing.T, root string) {
	t.Helper()
	links := 0
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Type() != fs.ModeSymlink {
			return err
		}
		links++
		real, err := filepath.EvalSymlinks(path)
		if err == nil && real != root && !strings.HasPrefix(real, root+"/") {
			t.Errorf("%s leads to %s", path, real)
		}
		return nil
	})
	if err != nil || links == 0 {
		t.Errorf("%d links below %s, %v", links, root, err)
	}
}
