package beneath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// eachWay runs a test with openat2 and without.
func eachWay(t *testing.T, test func(t *testing.T, d *Dir, root string)) {
	for _, walk := range []bool{false, true} {
		t.Run(fmt.Sprintf("walk=%v", walk), func(t *testing.T) {
			root := t.TempDir()
			d, err := Open(root)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if d.walk && !walk {
				t.Skip("skipped: no openat2 on this machine")
			}
			d.walk = walk
			test(t, d, root)
		})
	}
}

// operations does everything that takes a name, with names in a directory.
func operations(d *Dir, dir string) map[string]error {
	made := make(map[string]error)
	f, err := d.Create(dir+"/created", 0o644)
	if made["create"] = err; err == nil {
		made["link"] = d.Link(f, dir+"/linked")
		f.Close()
	} else if f, err := os.Open("/dev/null"); err == nil {
		made["link"] = d.Link(f, dir+"/linked")
		f.Close()
	}
	_, made["lstat"] = d.Lstat(dir + "/file")
	if f, err := d.Open(dir + "/file"); err == nil {
		f.Close()
	} else {
		made["open"] = err
	}
	made["mkdir"] = d.Mkdir(dir+"/dir", 0o755)
	made["mkdirall"] = d.MkdirAll(dir+"/a/b", 0o755)
	made["chmod"] = d.Chmod(dir+"/file", 0o600)
	made["chtimes"] = d.Chtimes(dir+"/file", time.Unix(1, 2))
	made["symlink"] = d.Symlink("file", dir+"/symlink")
	_, made["readlink"] = d.Readlink(dir + "/symlink")
	_, made["names"] = d.Names(dir)
	made["rename to"] = d.Rename("source", dir+"/target")
	made["rename from"] = d.Rename(dir+"/file", "stolen")
	made["remove"] = d.Remove(dir + "/victim")
	return made
}

func fill(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"file", "victim"} {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name), []byte("kept"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// state writes down all that is below a directory.
func state(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := e.Info()
		if err == nil {
			fmt.Fprintln(&b, path, st.Mode(), st.Size(), st.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestEverythingWorksBelow(t *testing.T) {
	eachWay(t, func(t *testing.T, d *Dir, root string) {
		old := syscall.Umask(0o077)
		defer syscall.Umask(old)
		fill(t, filepath.Join(root, "x/in"))
		os.WriteFile(filepath.Join(root, "source"), nil, 0o644)
		for op, err := range operations(d, "x/in") {
			if err != nil {
				t.Errorf("%s: %v", op, err)
			}
		}
		names, _ := d.Names("x/in")
		slices.Sort(names)
		if want := []string{"a", "created", "dir", "linked", "symlink", "target"}; !slices.Equal(names, want) {
			t.Errorf("there are %v, want %v", names, want)
		}
		if st, err := os.Stat(filepath.Join(root, "stolen")); err != nil || st.Mode() != 0o600 || !st.ModTime().Equal(time.Unix(1, 2)) {
			t.Errorf("the file is %v, %v", st, err)
		}
		for name, want := range map[string]fs.FileMode{"created": 0o644, "dir": 0o755 | fs.ModeDir, "a": 0o755 | fs.ModeDir, "a/b": 0o755 | fs.ModeDir} {
			if st, err := d.Lstat("x/in/" + name); err != nil || st.Mode() != want {
				t.Errorf("%s is %v, %v; the umask counted", name, st.Mode(), err)
			}
		}
		if _, err := d.Lstat("x/in/none"); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		if err := errors.Join(d.MkdirAll("x/in/a/b", 0o755), d.Sync()); err != nil {
			t.Error(err)
		}
	})
}

func TestNoLinkIsFollowed(t *testing.T) {
	eachWay(t, func(t *testing.T, d *Dir, root string) {
		outside := t.TempDir()
		fill(t, outside)
		fill(t, filepath.Join(root, "inside"))
		os.WriteFile(filepath.Join(root, "source"), nil, 0o644)
		for name, target := range map[string]string{"out": outside, "in": "inside", "up": "../" + filepath.Base(outside), "loop": "loop", "self": ".", "deep/in": "../inside"} {
			os.Mkdir(filepath.Join(root, "deep"), 0o755)
			if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
				t.Fatal(err)
			}
		}
		before := state(t, outside) + state(t, root)
		for _, dir := range []string{"out", "in", "up", "loop", "self/inside", "deep/in", "in/../inside", "/" + outside, "../" + filepath.Base(outside)} {
			for op, err := range operations(d, dir) {
				if !errors.Is(err, syscall.ELOOP) && !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, ErrName) {
					t.Errorf("%s below %s: %v", op, dir, err)
				}
			}
		}
		if after := state(t, outside) + state(t, root); after != before {
			t.Errorf("changed:\n%s\nwas:\n%s", after, before)
		}
		if _, err := d.Lstat("in/file"); !errors.Is(err, syscall.ELOOP) {
			t.Errorf("a linked parent is %v", err)
		}
		if st, err := d.Lstat("in"); err != nil || st.Mode().Type() != fs.ModeSymlink {
			t.Errorf("a link is %v, %v", st, err)
		}
		if to, err := d.Readlink("in"); err != nil || to != "inside" {
			t.Errorf("a link leads to %q, %v", to, err)
		}
	})
}

func TestNothingBelowDotGitIsNamed(t *testing.T) {
	eachWay(t, func(t *testing.T, d *Dir, root string) {
		os.WriteFile(filepath.Join(root, "source"), nil, 0o644)
		for _, name := range []string{".git", ".GIT", ".Git", "git~1", ".git ", ".g\u200cit", "a/.git", "a/b/.gIt/c", ".git/annex"} {
			fill(t, filepath.Join(root, name))
			before := state(t, root)
			for op, err := range operations(d, name) {
				if !errors.Is(err, ErrName) {
					t.Errorf("%s below %q: %v", op, name, err)
				}
			}
			if state(t, root) != before {
				t.Errorf("%q was changed", name)
			}
		}
		for _, name := range []string{"", "..", "a//b", "a/", "/a", "a/./b", "a\x00b"} {
			if _, err := d.Lstat(name); !errors.Is(err, ErrName) {
				t.Errorf("%q: %v", name, err)
			}
		}
		annex, err := d.Annex()
		if err != nil {
			t.Fatal(err)
		}
		defer annex.Close()
		if err := annex.MkdirAll("objects/a/b", 0o755); err != nil {
			t.Error(err)
		}
		os.RemoveAll(filepath.Join(root, ".git"))
		os.Symlink(".GIT", filepath.Join(root, ".git"))
		os.Mkdir(filepath.Join(root, ".GIT/annex"), 0o755)
		if _, err := d.Annex(); !errors.Is(err, syscall.ELOOP) {
			t.Errorf("a linked .git: %v", err)
		}
	})
}

// A directory that becomes a link at any moment makes no operation leave.
func TestDirectoryThatBecomesALink(t *testing.T) {
	eachWay(t, func(t *testing.T, d *Dir, root string) {
		outside := t.TempDir()
		fill(t, outside)
		before := state(t, outside)
		swapped := filepath.Join(root, "swapped")
		os.WriteFile(filepath.Join(root, "source"), nil, 0o644)
		stop := make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					os.Symlink(outside, swapped)
					os.Remove(swapped)
					os.Mkdir(swapped, 0o755)
					os.RemoveAll(swapped)
				}
			}
		})
		for range 300 {
			operations(d, "swapped")
		}
		close(stop)
		group.Wait()
		if after := state(t, outside); after != before {
			t.Errorf("changed outside:\n%s\nwas:\n%s", after, before)
		}
	})
}
