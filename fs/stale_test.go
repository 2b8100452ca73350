package fs_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	uhfs "github.com/uniharmony/uniharmonyfs/fs"
)

func find(t *testing.T, fsname string) []uhfs.MountInfo {
	t.Helper()
	all, err := uhfs.ListMounts()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(m uhfs.MountInfo) bool { return m.FsName != fsname })
}

// A mount whose daemon was killed is recognized, refused as a target, taken
// away, and can be made anew.
func TestStale(t *testing.T) {
	s := start(t, config{Fixture: "trouble"})
	if m := find(t, s.cfg.FsName); len(m) != 1 || m[0].Target != s.dir || m[0].Dead() {
		t.Fatalf("the mount is listed as %+v", m)
	}
	failed := make(chan error)
	go func() {
		_, err := os.ReadFile(s.path("sub/stuck.nii"))
		failed <- err
	}()
	s.until("waiting", "1")
	s.kill()
	if err := <-failed; err == nil {
		t.Error("a read from a dead daemon succeeded")
	}
	if _, err := os.ReadFile(s.path("good.nii")); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("reading from a dead mount: %v", err)
	}
	if _, err := uhfs.Mount(&uhfs.Part{View: s.view}, uhfs.Options{Target: s.dir}); !errors.Is(err, uhfs.ErrStale) {
		t.Errorf("mounting over it: %v", err)
	}
	m := find(t, s.cfg.FsName)
	if len(m) != 1 || !m[0].Dead() {
		t.Fatalf("the dead mount is listed as %+v", m)
	}
	if err := uhfs.DetachStale(m[0].Target); err != nil {
		t.Error(err)
	}
	if m := find(t, s.cfg.FsName); len(m) != 0 {
		t.Errorf("still listed: %+v", m)
	}
	again := start(t, config{Fixture: "trouble", Target: s.dir})
	if _, err := os.ReadFile(again.path("good.nii")); err != nil {
		t.Error(err)
	}
}

func TestDetachStaleTakesOnlyOurs(t *testing.T) {
	for _, target := range []string{"/proc", "/", t.TempDir(), "/no/such"} {
		if err := uhfs.DetachStale(target); !errors.Is(err, uhfs.ErrNotMounted) {
			t.Errorf("%s: %v", target, err)
		}
	}
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Error(err)
	}
}

func TestBadTargets(t *testing.T) {
	f, err := newFixture("odd")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{file, file + "-absent", "/proc/self/no"} {
		if _, err := uhfs.Mount(&uhfs.Part{View: f.view}, uhfs.Options{Target: target}); !errors.Is(err, uhfs.ErrTarget) {
			t.Errorf("%s: %v", target, err)
		}
	}
}

// What an ordinary user may not do fails with the reason that fusermount3
// gives.
func TestNotPermitted(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may do everything")
	}
	if !hasFUSE() {
		t.Skip("FUSE cannot be used here")
	}
	f, err := newFixture("odd")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := uhfs.Mount(&uhfs.Part{View: f.view}, uhfs.Options{Target: "/usr"}); !errors.Is(err, uhfs.ErrNotPermitted) || !strings.Contains(err.Error(), "/usr") {
		t.Errorf("a foreign directory: %v", err)
	}
	if conf, err := os.ReadFile("/etc/fuse.conf"); err == nil && strings.Contains(string(conf), "\nuser_allow_other") {
		return
	}
	_, err = uhfs.Mount(&uhfs.Part{View: f.view}, uhfs.Options{Target: t.TempDir(), AllowOther: true})
	if !errors.Is(err, uhfs.ErrNotPermitted) || !strings.Contains(err.Error(), "user_allow_other") {
		t.Errorf("for other users: %v", err)
	}
}
