package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

func finding(t *testing.T, all []Finding, what string) Finding {
	t.Helper()
	i := slices.IndexFunc(all, func(f Finding) bool { return f.What == what })
	if i < 0 {
		t.Fatalf("nothing is said of %s: %+v", what, all)
	}
	return all[i]
}

// What is bad comes with what to do about it, and looking changes nothing.
func TestExamine(t *testing.T) {
	above := t.TempDir()
	dir := cachedir.Dir(filepath.Join(above, "not", "yet"))
	all := Examine(t.Context(), dir)
	for _, f := range all {
		if !slices.Contains([]string{"ok", "note", "bad"}, f.State) || f.Says == "" || f.State == "bad" && f.Do == "" {
			t.Errorf("%+v", f)
		}
	}
	for _, what := range []string{"FUSE", "passthrough", "git", "git-annex", "cache", "space", "mounts", "proxy"} {
		finding(t, all, what)
	}
	if f := finding(t, all, "cache"); f.Says != string(dir) {
		t.Errorf("%+v", f)
	}
	if left, err := os.ReadDir(above); err != nil || len(left) > 0 {
		t.Errorf("it made %v, %v", left, err)
	}
}

func TestProgramsThatAreMissingOrBroken(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	t.Setenv("UNIHARMONYFS_GIT_ANNEX", "")
	for _, script := range []string{"", "#!/bin/sh\nexit 1\n", "#!/bin/sh\n"} {
		for _, name := range []string{"git", "git-annex"} {
			if script == "" {
				continue
			}
			if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		all := Examine(t.Context(), cachedir.Dir(t.TempDir()))
		for _, name := range []string{"git", "git-annex"} {
			if f := finding(t, all, name); f.State != "note" || !strings.Contains(f.Says, "missing") || f.Do == "" {
				t.Errorf("with %q: %+v", script, f)
			}
		}
	}
	// An old git-annex is named, and what it cannot do.
	if err := os.WriteFile(filepath.Join(bin, "git-annex"), []byte("#!/bin/sh\necho 8.20200101-g1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if f := examineAnnex(t.Context()); f.State != "note" || !strings.Contains(f.Says, "8.20200101: ") || f.Do == "" {
		t.Errorf("%+v", f)
	}
}

// A cache that cannot be made is told, at whatever height it fails.
func TestPlacesWhereNoCacheCanBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{file, filepath.Join(file, "cache"), filepath.Join(file, "deeper", "cache")} {
		f := finding(t, examineCache(cachedir.Dir(at)), "cache")
		if f.State != "bad" || !strings.Contains(f.Says, file) || f.Do == "" {
			t.Errorf("%s: %+v", at, f)
		}
	}
	// What there is of a cache is looked at, not what it may lie below.
	dir := cachedir.Dir(t.TempDir())
	if f := finding(t, examineCache(dir), "cache"); f.State == "bad" {
		t.Errorf("%+v", f)
	}
}

func TestProxiesAreNamed(t *testing.T) {
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		t.Setenv(name, "")
	}
	if f := examineProxies(); f.State != "ok" {
		t.Errorf("%+v", f)
	}
	t.Setenv("HTTPS_PROXY", "http://user:secret@proxy")
	if f := examineProxies(); f.State != "note" || !strings.HasPrefix(f.Says, "HTTPS_PROXY set") || strings.Contains(f.Says, "secret") {
		t.Errorf("%+v", f)
	}
}

// A mount is alive while the lock of its cache is held, and stale when nobody
// holds it, or it is gone.
func TestMountsWithoutADaemon(t *testing.T) {
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skip("skipped: no FUSE on this machine: ", err)
	} else {
		f.Close()
	}
	b := tree.NewBuilder()
	if err := b.AddDir("", nil); err != nil {
		t.Fatal(err)
	}
	none, err := b.Tree()
	if err != nil {
		t.Fatal(err)
	}
	dir, target := cachedir.Dir(filepath.Join(t.TempDir(), "a cache, with a comma")), t.TempDir()
	if err := dir.Make(); err != nil {
		t.Fatal(err)
	}
	m, err := fs.Mount(&fs.Part{View: none.View(nil, nil)}, fs.Options{Target: target, FsName: dir.MountSource()})
	if err != nil {
		t.Skip("skipped: nothing can be mounted here: ", err)
	}
	defer func() {
		if err := m.Unmount(); err != nil {
			t.Error(err, m.Detach())
		}
	}()
	stale := func() bool {
		t.Helper()
		f := examineMounts()
		if !strings.Contains(f.Says, target) {
			t.Errorf("the mount is not named: %+v", f)
		}
		dead, _, some := strings.Cut(f.Says, " is gone") // also mounts of others
		return some && f.State == "bad" && strings.Contains(f.Do, "unmount") && strings.Contains(dead, target)
	}
	if !stale() {
		t.Error("a cache without a lock has a daemon")
	}
	lock, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if stale() {
		t.Error("a cache whose lock is held has no daemon")
	}
	lock.Close()
	if !stale() {
		t.Error("a cache whose lock nobody holds has a daemon")
	}
	// Another user's cache cannot be looked at: its mount is not called stale.
	if os.Geteuid() == 0 {
		if err := os.Chmod(filepath.Dir(string(dir)), 0); err != nil {
			t.Fatal(err)
		}
		asNobody(t, func() {
			if stale() {
				t.Error("what cannot be looked at is called stale")
			}
		})
	}
}

// asNobody runs fn with the rights of another user.
func asNobody(t *testing.T, fn func()) {
	t.Helper()
	if err := syscall.Setresuid(-1, 65534, -1); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setresuid(-1, 0, -1); err != nil {
			t.Fatal(err)
		}
	}()
	fn()
}
