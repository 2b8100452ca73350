package download

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/beneath"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
)

func TestTempOwner(t *testing.T) {
	for name, pid := range map[string]int{
		".uniharmonyfs-12-3.part": 12, ".uniharmonyfs-1-1.part": 1,
		".uniharmonyfs-12.part": 0, ".uniharmonyfs--3.part": 0, ".uniharmonyfs-0-3.part": 0, ".uniharmonyfs-x-3.part": 0,
		".uniharmonyfs-12-3": 0, "uniharmonyfs-12-3.part": 0, "": 0, ".uniharmonyfs-99999999999999999999-3.part": 0,
	} {
		got, ok := tempOwner(name)
		if ok != (pid > 0) || ok && got != pid {
			t.Errorf("%q: %d, %v", name, got, ok)
		}
	}
	h := newHalfFile(nil, "sub-01", 0, time.Time{})
	if pid, ok := tempOwner(filepath.Base(h.name)); !ok || pid != os.Getpid() {
		t.Errorf("%s is of %d, %v", h.name, pid, ok)
	}
	if newHalfFile(nil, "sub-01", 0, time.Time{}).name == h.name {
		t.Error("two half files have one name")
	}
}

func TestAlive(t *testing.T) {
	if !alive(os.Getpid()) {
		t.Error("this process is not alive")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	zombie := exec.Command(self, "-test.run=^$")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ { // until it has ended; nobody has looked yet
		if _, state := processState(zombie.Process.Pid); state == 'Z' {
			break
		}
		if n == 6000 {
			t.Fatal("it does not end")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if alive(zombie.Process.Pid) {
		t.Error("one that has ended is alive")
	}
	zombie.Wait()
	if alive(zombie.Process.Pid) {
		t.Error("one that is gone is alive")
	}
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()
	defer other.Process.Kill()
	for name := ""; name != "sleep"; time.Sleep(10 * time.Millisecond) { // it is this program until it is exec'd
		name, _ = processState(other.Process.Pid)
	}
	if alive(other.Process.Pid) {
		t.Error("another program's process, which has the number now, counts")
	}
}

func openDir(t *testing.T) (*beneath.Dir, string) {
	t.Helper()
	path := t.TempDir()
	d, err := beneath.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, path
}

func TestHalfFile(t *testing.T) {
	d, path := openDir(t)
	when := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	h := newHalfFile(d, ".", 0o640, when)
	if err := h.write(func(f *os.File) error { _, err := f.WriteString("whole"); return err }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(path, "file")); err == nil {
		t.Error("it has its name before it becomes one")
	}
	if err := h.become("file"); err != nil {
		t.Fatal(err)
	}
	h.discard() // of what it became, nothing
	st, err := os.Lstat(filepath.Join(path, "file"))
	if err != nil || st.Size() != 5 || st.Mode() != 0o640 || !st.ModTime().Equal(when) {
		t.Errorf("%v, %v", st, err)
	}
	broken := newHalfFile(d, ".", 0o640, when)
	if err := broken.write(func(f *os.File) error { f.WriteString("ha"); return errors.New("lost") }); err == nil || err.Error() != "lost" {
		t.Errorf("a write that failed: %v", err)
	}
	broken.discard()
	if names, _ := d.Names("."); len(names) != 1 {
		t.Errorf("left: %q", names)
	}
}

func TestStaleHalfFiles(t *testing.T) {
	d, path := openDir(t)
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	mine, dead := fmt.Sprintf(".uniharmonyfs-%d-7.part", os.Getpid()), fmt.Sprintf(".uniharmonyfs-%d-7.part", gone.Process.Pid)
	for _, name := range []string{mine, dead, "other.part", ".uniharmonyfs"} {
		if err := os.WriteFile(filepath.Join(path, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	removeStaleIn(d, ".")
	removeStaleIn(d, "nowhere")
	if names, _ := d.Names("."); len(names) != 2 {
		t.Errorf("left: %q", names)
	}
}

func TestIsDiskFull(t *testing.T) {
	for _, c := range []struct {
		err  error
		full bool
	}{
		{os.NewSyscallError("write", syscall.ENOSPC), true},
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.EDQUOT}, true},
		{errors.Join(&cache.NoSpaceError{}, syscall.ENOSPC), false},
		{syscall.EIO, false}, {nil, false},
	} {
		if got := isDiskFull(c.err); got != c.full {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}

func TestIsTight(t *testing.T) {
	dir := cachedir.Dir(filepath.Join(t.TempDir(), "cache"))
	if err := dir.Make(); err != nil {
		t.Fatal(err)
	}
	c, err := cache.Open(string(dir), cache.Options{Budget: 1000, Floor: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d := New(Options{Dir: dir, Cache: c})
	for _, tc := range []struct {
		plan  control.Plan
		tight bool
	}{
		{control.Plan{Bytes: 500, FetchBytes: 500, FreeBytes: 1000}, false},
		{control.Plan{Bytes: 500, FetchBytes: 500, FreeBytes: 999}, true},
		{control.Plan{Bytes: 500, ThereBytes: 100, FetchBytes: 400, FreeBytes: 800}, false},
		{control.Plan{Bytes: 5000, FetchBytes: 5000, FreeBytes: 6000}, false}, // no more than the budget is cached
		{control.Plan{Bytes: 5000, FetchBytes: 5000, FreeBytes: 5999}, true},
	} {
		if got := d.isTight(string(dir), tc.plan); got != tc.tight {
			t.Errorf("%+v: %v", tc.plan, got)
		}
	}
	if d.isTight("/proc", control.Plan{Bytes: 5000, FreeBytes: 1}) {
		t.Error("another disk is tight")
	}
}

func TestRealTarget(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(base+"/real", 0o755), os.Symlink("real", base+"/link"), os.Symlink("nowhere", base+"/dangling")); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		"/real": "/real", "/link": "/real", "/link/new/dir": "/real/new/dir", "/link/../real/./x": "/real/x", "/new": "/new", "/new/": "/new",
		"/link/.git/x": "", "/.GiT": "", "/x/git~1/y": "",
	} {
		got, err := realTarget(base + target)
		if want == "" && err == nil || want != "" && (err != nil || got != base+want) {
			t.Errorf("%s: %s, %v; want %s", target, got, err, want)
		}
	}
	if _, err := realTarget("relative"); err == nil {
		t.Error("a relative target is taken")
	}
}

func TestTargetsAreLockedOneByOne(t *testing.T) {
	var l targetLocks
	var inside, told atomic.Int64
	var all sync.WaitGroup
	first, err := l.lock(t.Context(), "/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := l.lock(t.Context(), "/b", nil)
	if err != nil {
		t.Fatal(err)
	}
	other()
	for range 20 {
		all.Go(func() {
			unlock, err := l.lock(t.Context(), "/a", func() { told.Add(1) })
			if err != nil {
				t.Error(err)
				return
			}
			if inside.Add(1) != 1 {
				t.Error("two have it")
			}
			inside.Add(-1)
			unlock()
		})
	}
	for told.Load() < 20 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.lock(ctx, "/a", func() {}); !errors.Is(err, context.Canceled) {
		t.Errorf("who leaves: %v", err)
	}
	first()
	all.Wait()
	if len(l.locks) != 0 {
		t.Errorf("%d are locked", len(l.locks))
	}
}
