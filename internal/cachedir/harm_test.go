package cachedir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func newDir(t *testing.T) Dir {
	t.Helper()
	dir := Dir(filepath.Join(t.TempDir(), "cache"))
	if err := dir.Make(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// Removing a cache takes what is the cache's, and nothing that a link in it
// leads to or that somebody keeps there.
func TestRemoveTakesTheCacheAlone(t *testing.T) {
	dir, outside := newDir(t), t.TempDir()
	kept := filepath.Join(outside, "kept")
	must(t, os.WriteFile(kept, []byte("x"), 0o600),
		os.MkdirAll(filepath.Join(dir.Objects(), "a", "b"), 0o700),
		os.WriteFile(filepath.Join(dir.Objects(), "a", "b", "object"), nil, 0o400),
		os.Symlink(outside, filepath.Join(dir.Objects(), "a", "link")),
		os.Symlink(outside, dir.Datasets()), os.Symlink(kept, dir.LogPath()),
		os.WriteFile(dir.path("notes.txt"), nil, 0o600),
		// git-annex protects directories of objects, too.
		os.Chmod(filepath.Join(dir.Objects(), "a", "b"), 0o500), os.Chmod(filepath.Join(dir.Objects(), "a"), 0o500))
	must(t, dir.Remove())
	left, err := os.ReadDir(string(dir))
	if err != nil || len(left) != 1 || left[0].Name() != "notes.txt" {
		t.Errorf("left: %v, %v", left, err)
	}
	if data, err := os.ReadFile(kept); err != nil || string(data) != "x" {
		t.Errorf("what a link led to: %q, %v", data, err)
	}
	// It has no marker now, and is nobody's cache.
	if err := dir.Remove(); err == nil || dir.Exists() {
		t.Errorf("a directory without a marker is removed: %v", err)
	}
	must(t, os.Remove(dir.path("notes.txt")))
}

// Trees with directories that are protected, as an ordinary user has them.
func TestRemoveTreeOfProtectedDirectories(t *testing.T) {
	root := filepath.Join(t.TempDir(), "tree")
	if os.Geteuid() == 0 { // who is not kept out of anything
		must(t, os.Chown(filepath.Dir(root), 65534, -1), os.Chmod(filepath.Dir(filepath.Dir(root)), 0o755), syscall.Setresuid(-1, 65534, -1))
		defer func() { must(t, syscall.Setresuid(-1, 0, -1)) }()
	}
	must(t, os.MkdirAll(filepath.Join(root, "a", "b"), 0o700), os.WriteFile(filepath.Join(root, "a", "b", "c"), nil, 0o400),
		os.Chmod(filepath.Join(root, "a", "b"), 0), os.Chmod(filepath.Join(root, "a"), 0o500))
	must(t, RemoveTree(root))
	if _, err := os.Lstat(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there: %v", err)
	}
}

// A disk that is mounted in a cache is not emptied.
func TestRemoveStopsAtAMount(t *testing.T) {
	dir := newDir(t)
	at := filepath.Join(dir.Objects(), "a b\\c") // mountinfo escapes such names
	must(t, os.MkdirAll(at, 0o700))
	if err := unix.Mount("none", at, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("skipped: nothing can be mounted here: ", err)
	}
	defer unix.Unmount(at, unix.MNT_DETACH)
	must(t, os.WriteFile(filepath.Join(at, "x"), nil, 0o600))
	if err := dir.Remove(); err == nil || !strings.Contains(err.Error(), at) {
		t.Errorf("removed: %v", err)
	}
	for _, path := range []string{filepath.Join(at, "x"), dir.path(markerName)} {
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
	for path, want := range map[string]bool{at: true, dir.Objects(): false, filepath.Join(at, "x"): false} {
		if is, err := IsMountPoint(path); err != nil || is != want {
			t.Errorf("%s is a mount point: %v, %v", path, is, err)
		}
	}
	// A mount at the cache itself is none below it.
	if below, err := MountBelow(at); err != nil || below != "" {
		t.Errorf("below %s: %q, %v", at, below, err)
	}
}

// Which caches have a daemon can be asked without making or keeping anything.
func TestIsLocked(t *testing.T) {
	dir := newDir(t)
	if held, err := dir.IsLocked(); held || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before the first lock: %v, %v", held, err)
	}
	lock, err := dir.Lock()
	must(t, err)
	if held, err := dir.IsLocked(); !held || err != nil {
		t.Errorf("locked: %v, %v", held, err)
	}
	if _, err := dir.Lock(); !errors.Is(err, ErrLocked) {
		t.Errorf("locked twice: %v", err)
	}
	must(t, lock.Close())
	if held, err := dir.IsLocked(); held || err != nil {
		t.Errorf("let go: %v, %v", held, err)
	}
	again, err := dir.Lock() // who asked holds nothing
	must(t, err)
	must(t, again.Close())
}

// Settings are the old or the new ones, and what cannot be read is the default
// and says so.
func TestSettings(t *testing.T) {
	dir := newDir(t)
	if s, err := dir.Settings(); s != (Settings{}) || err != nil {
		t.Errorf("of a new cache: %+v, %v", s, err)
	}
	want := Settings{Budget: 1 << 40, Speed: 1.5}
	must(t, dir.SaveSettings(want))
	if s, err := dir.Settings(); s != want || err != nil {
		t.Errorf("%+v, %v", s, err)
	}
	for _, text := range []string{"", "{", "[]", `{"budget": "much"}`, `{"budget": 5, "speed": "x"}`, `{"budget": 1e30}`, "\x00\x00\x00"} {
		must(t, os.WriteFile(dir.path(settingsName), []byte(text), 0o600))
		if s, err := dir.Settings(); s != (Settings{}) || err == nil || !strings.Contains(err.Error(), settingsName) {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	}
	// Readers at the same time see one whole state or another.
	must(t, dir.SaveSettings(want))
	done := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if s, err := dir.Settings(); err != nil || s.Budget == 0 || float64(s.Budget) != s.Speed && s != want {
				t.Errorf("half of something: %+v, %v", s, err)
				return
			}
		}
	})
	for n := range 200 {
		must(t, dir.SaveSettings(Settings{Budget: int64(n + 1), Speed: float64(n + 1)}))
	}
	close(done)
	reader.Wait()
	// On a full disk the old ones stay.
	must(t, dir.SaveSettings(want), os.Mkdir(dir.path(settingsName+".new"), 0o700))
	if err := dir.SaveSettings(Settings{}); err == nil {
		t.Error("written where nothing can be written")
	}
	if s, err := dir.Settings(); s != want || err != nil {
		t.Errorf("after a failure: %+v, %v", s, err)
	}
}

// A mount says whose it is, whatever the cache's path has in it.
func TestMountSource(t *testing.T) {
	for _, path := range []string{"/a", "/a b", "/a,b", "/a%20b", "/ünï", "/a\nb", "/a\\040b", "/a#b?c", "/\xff", "/a:b"} {
		source := Dir(path).MountSource()
		if dir, ok := OfMount(source); !ok || dir != Dir(path) {
			t.Errorf("%q is %q, which is %q, %v", path, source, dir, ok)
		}
		if strings.ContainsAny(source, " \t\n\\") {
			t.Errorf("%q cannot stand in mountinfo as it is", source)
		}
	}
	for _, source := range []string{"", "uniharmonyfs", "uniharmonyfs:", "uniharmonyfs:a", "other:/a", "uniharmonyfs:%zz", "uniharmonyfs:/a%2"} {
		if dir, ok := OfMount(source); ok {
			t.Errorf("%q is of the cache %q", source, dir)
		}
	}
}

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		path, dir string
		want      bool
	}{
		{"/a", "/a", true}, {"/a/b", "/a", true}, {"/ab", "/a", false}, {"/", "/a", false}, {"/a", "/", true}, {"/", "/", true}, {"/a", "/a/b", false},
	} {
		if Within(c.path, c.dir) != c.want {
			t.Errorf("%s within %s: not %v", c.path, c.dir, c.want)
		}
	}
}

// Whoever could write into a cache could change what is served.
func TestOthersAreKeptOut(t *testing.T) {
	dir := newDir(t)
	must(t, os.Chmod(string(dir), 0o777))
	must(t, dir.Make())
	if st, err := os.Stat(string(dir)); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if os.Geteuid() != 0 {
		return
	}
	must(t, os.Chown(string(dir), 65534, -1))
	if err := dir.Make(); err == nil || !strings.Contains(err.Error(), "belongs to user 65534") {
		t.Errorf("a cache of another user: %v", err)
	}
}
