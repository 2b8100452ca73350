package cachedir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The cache is where the system keeps caches. Where HOME says nothing, the list of users
// does; whoever has no home is told how to name a place.
func TestWhereTheCacheIs(t *testing.T) {
	home := t.TempDir()
	where := func(xdg, said string) (Dir, string) {
		t.Helper()
		t.Setenv("XDG_CACHE_HOME", xdg)
		t.Setenv("HOME", said)
		dir, err := Default()
		if err != nil {
			return dir, err.Error()
		}
		return dir, ""
	}
	for _, c := range []struct {
		xdg, home string
		dir       Dir
		why       string
	}{
		{"/caches", home, "/caches/uniharmonyfs", ""},
		{"/caches", "", "/caches/uniharmonyfs", ""},
		{"caches", home, "", "XDG_CACHE_HOME is caches"},
		{"", home, Dir(home + "/.cache/uniharmonyfs"), ""},
		{"", "home", "", "HOME is home"},
		{"", home + "/nowhere", "", "no such file"},
	} {
		if dir, why := where(c.xdg, c.home); dir != c.dir || (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%q, %q: %q, %q", c.xdg, c.home, dir, why)
		}
	}
	if _, err := os.Stat(home + "/nowhere"); err == nil {
		t.Error("a home directory was made")
	}
	listed := askedFor(userID())
	for _, said := range []string{"", "/"} {
		dir, why := where("", said)
		if listed == "" || listed == "/" || !exists(listed) {
			if why == "" {
				t.Errorf("%q: %q", said, dir)
			}
		} else if dir != Dir(filepath.Join(listed, ".cache/uniharmonyfs")) || why != "" {
			t.Errorf("%q: %q, %q", said, dir, why)
		}
	}
	t.Setenv("XDG_CACHE_HOME", "/caches")
	if dir, err := Named("other"); dir != "/caches/other" || err != nil {
		t.Errorf("%q, %v", dir, err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
