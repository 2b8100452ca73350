package main_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// What others do in the cache (git, git-annex, rm, chmod) is noticed, and what
// is missing then is fetched again.
func TestOthersHandsInTheCache(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	_, m := serve(t, u, files("hands", 6, 20_000))
	want := contents(t, m)
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	readers(t, u.path("mnt"), want, 2)()
	clone := u.status().Mounts[0].Clone
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = clone
		cmd.Env = append(os.Environ(), "HOME="+u.dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s %v: %v\n%s", name, args, err, tail(out, 1000))
		}
	}
	objects := filepath.Join(u.cache, "objects")
	for how, do := range map[string]func(){
		"git annex drop":   func() { run("git", "annex", "drop", "--force", "--all", "--quiet") },
		"git annex fsck":   func() { run("git", "annex", "fsck", "--all", "--quiet") },
		"git annex unused": func() { run("git", "annex", "unused", "--quiet") },
		"git gc":           func() { run("git", "gc", "--quiet", "--prune=now") },
		"rm objects":       func() { run("sh", "-c", "chmod -R u+w '"+objects+"'; rm -rf '"+objects+"'/*") },
		"rm partial":       func() { run("sh", "-c", "rm -rf '"+u.cache+"/partial/'*") },
		"chmod":            func() { run("chmod", "-R", "a-w", objects) },
	} {
		do()
		for path, data := range want {
			if got, err := os.ReadFile(filepath.Join(u.path("mnt"), path)); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: %s: %v", how, path, err)
			}
		}
	}
	u.must("unmount", "--clean", u.path("mnt"))
}

// A git-annex that fetches for a daemon does not live longer than that.
func TestNoGitAnnexOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	if len(annexes()) == 0 {
		t.Skip("git-annex is not installed")
	}
	u := newUser(t)
	server, m := serve(t, u, files("outlive", 1, 3_000_000))
	server.SetLink(publisher.Link{Rate: 20 << 10}) // it takes minutes
	u.must("mount", "--fetcher", "annex", "--allow-address", "127.0.0.1", "--dataset", server.GitURL(m), u.path("mnt"))
	cat := exec.Command("cat", filepath.Join(u.path("mnt"), m.Files[len(m.Files)-1].Path))
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	defer cat.Wait()
	defer cat.Process.Kill()
	eventually(t, "git-annex fetches", func() bool { return len(annexIn(u.cache)) > 0 })
	syscall.Kill(u.daemon(), syscall.SIGKILL)
	eventually(t, "git-annex is gone", func() bool { return len(annexIn(u.cache)) == 0 })
}

// annexIn returns the processes of git-annex that work below a directory.
func annexIn(dir string) (pids []string) {
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range procs {
		name, _ := os.ReadFile(p + "/cmdline")
		cwd, _ := os.Readlink(p + "/cwd")
		if strings.Contains(string(name), "git-annex") && strings.HasPrefix(cwd, dir) {
			pids = append(pids, filepath.Base(p))
		}
	}
	return pids
}

// The kernel lets nothing in a mount be written, gain rights or be a device.
func TestMountGivesNoRights(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	_, m := serve(t, u, demo.Dataset())
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if f[1] != u.path("mnt") {
			continue
		}
		for _, want := range []string{"ro", "nosuid", "nodev"} {
			if !strings.Contains(","+f[3]+",", ","+want+",") {
				t.Errorf("mounted with %s, without %s", f[3], want)
			}
		}
	}
	filepath.WalkDir(u.path("mnt"), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			t.Fatal(err)
		}
		st, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if mode := st.Mode(); !e.IsDir() && mode != 0o444 && mode.Type() != fs.ModeSymlink || e.IsDir() && mode != fs.ModeDir|0o555 {
			t.Errorf("%s is %v", path, mode)
		}
		return nil
	})
}

// Cleaning follows no link out of the cache and goes into no other disk.
func TestCleanStaysInTheCache(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	_, m := serve(t, u, demo.Dataset())
	outside := u.path("outside")
	keep := filepath.Join(outside, "objects/precious")
	if err := os.MkdirAll(filepath.Dir(keep), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keep, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	there := func(how string) {
		t.Helper()
		if _, err := os.Stat(keep); err != nil {
			t.Errorf("%s: what lies elsewhere is gone: %v", how, err)
		}
	}
	fill := func() {
		t.Helper()
		u.must("prefetch", "--dataset", m.Dir, "--sub", "01")
		u.leaveDaemon()
	}
	fill()
	for _, name := range []string{"objects/link", "partial/link", "link"} {
		if err := os.Symlink(outside, filepath.Join(u.cache, name)); err != nil {
			t.Fatal(err)
		}
	}
	u.run("clean", "--all")
	there("links in the cache")
	os.RemoveAll(u.cache)
	fill()
	if err := os.RemoveAll(filepath.Join(u.cache, "partial")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "objects"), filepath.Join(u.cache, "partial")); err != nil {
		t.Fatal(err)
	}
	u.run("clean", "--all")
	there("a directory of the cache that is a link")
	os.RemoveAll(u.cache)
	if os.Geteuid() != 0 {
		return
	}
	fill()
	disk := filepath.Join(u.cache, "objects", "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(outside, disk, "", syscall.MS_BIND, ""); err != nil {
		t.Skip("skipped: nothing can be mounted here: ", err)
	}
	defer syscall.Unmount(disk, syscall.MNT_DETACH)
	r := u.run("clean", "--all")
	log, err := os.ReadFile(filepath.Join(u.cache, "daemon.log"))
	if r.code == 0 || err != nil || !bytes.Contains(log, []byte("is a mount point inside the cache")) {
		t.Errorf("cleaned, with a disk mounted in the cache: %+v; the log: %v", r, err)
	}
	there("a disk in the cache")
}
