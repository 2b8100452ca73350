package main_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// ownDir makes a directory of the user's.
func (u *user) ownDir(name string) string {
	u.t.Helper()
	if err := os.MkdirAll(u.path(name), 0o700); err != nil {
		u.t.Fatal(err)
	}
	if err := os.Chown(u.path(name), int(u.uid), int(u.uid)); err != nil {
		u.t.Fatal(err)
	}
	return u.path(name)
}

// What Apptainer does with --fusemount shows a view in its container, of each kind; the
// container ends as its command does, and nothing is left.
func TestApptainer(t *testing.T) {
	t.Parallel()
	asBoth(t, func(t *testing.T, u *user) {
		s, made := serve(t, u, files("one", 1, 20_000))
		u.ownDir("cache")
		mount := []string{"uniharmonyfs", "mount", "--cache", u.cache, "--allow-address", "127.0.0.1", "--dataset", s.GitURL(made), "--run", "0"}
		look := `ls /data && cat /data/` + oneImage + ` | wc -c; touch /data/new 2>/dev/null || echo read-only; cat; exit 9`
		for _, c := range []container{
			{Kind: "container"}, {Kind: "container", NoProc: true}, {Kind: "container-daemon"}, {Kind: "container-daemon", Lost: true},
			{Kind: "host"}, {Kind: "host-daemon"},
		} {
			s.ResetCounts()
			c.Binds, c.Program, c.Command = []string{u.cache}, slices.Clone(mount), []string{"sh", "-c", look}
			if !c.inside() {
				c.Program[0] = binary
			}
			cmd := c.command(t, u)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			var said, bad soFar
			cmd.Stdout, cmd.Stderr = &said, &bad
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			const want = "README\ndataset_description.json\nsub-00\n10000\nread-only\n"
			eventually(t, "the command has looked", func() bool { return len(said.String()) >= len(want) })
			eventually(t, "the program is told", func() bool { return strings.Contains(bad.String(), "Mounted") })
			if n := devices(t, u.cache); n != 1 {
				t.Errorf("%+v: the connection is open %d times", c, n)
			}
			in.Close()
			cmd.Wait()
			if cmd.ProcessState.ExitCode() != 9 || said.String() != want || strings.Contains(bad.String(), "stand-in") {
				t.Errorf("%+v: %v, it says %q, %q", c, cmd.ProcessState, said.String(), bad.String())
			}
			eventually(t, "nothing is mounted any more", func() bool { return devices(t, u.cache) == 0 })
			u.leaveDaemon()
			if err := os.RemoveAll(filepath.Join(u.cache, "objects")); err != nil { // it is fetched each time
				t.Fatal(err)
			}
		}
	})
}

// soFar is what a program has said so far.
type soFar struct {
	mu   sync.Mutex
	said []byte
}

func (l *soFar) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, p...)
	return len(p), nil
}

func (l *soFar) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.said)
}

// devices counts the connections of /dev/fuse that the daemons of a cache have open,
// also those in containers.
func devices(t *testing.T, cache string) (n int) {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		if text, _ := os.ReadFile(p + "/cmdline"); !strings.Contains(string(text), "\x00daemon\x00--cache\x00"+cache+"\x00") {
			continue
		}
		open, _ := filepath.Glob(p + "/fd/*")
		for _, fd := range open {
			if to, _ := os.Readlink(fd); to == "/dev/fuse" {
				n++
			}
		}
	}
	return n
}

// Without --cache and HOME the cache is in the home directory that the container's list
// of users has. Where the cache cannot be, the container's command is not kept waiting.
func TestApptainerWithoutACache(t *testing.T) {
	t.Parallel()
	asBoth(t, func(t *testing.T, u *user) {
		s, made := serve(t, u, files("one", 1, 20_000))
		home := u.ownDir("home")
		u.cache = filepath.Join(home, ".cache/uniharmonyfs")
		mount := func(more ...string) container {
			return container{
				Program: append([]string{"uniharmonyfs", "mount", "--allow-address", "127.0.0.1", "--dataset", s.GitURL(made)}, more...),
				Command: []string{"sh", "-c", "cat /data/" + oneImage + " | wc -c"},
			}
		}
		listed := mount()
		listed.Binds, listed.Home = []string{home}, home
		unlisted, unbound := mount(), mount("--cache", "/caches/one")
		for _, c := range []struct {
			container
			out  string
			says []string
		}{
			{listed, "10000\n", nil},
			{unlisted, "0\n", []string{"no place for the cache: HOME is not set", "--cache DIR, or UNIHARMONYFS_CACHE", "not connected"}},
			{unbound, "0\n", []string{"cannot use /caches/one as the cache", "read-only file system", "--cache DIR, or UNIHARMONYFS_CACHE"}},
		} {
			cmd := c.command(t, u)
			var bad bytes.Buffer
			cmd.Stderr = &bad
			if out, _ := cmd.Output(); cmd.ProcessState.ExitCode() != 0 || string(out) != c.out {
				t.Errorf("%+v: %v, it says %q, %q", c.container, cmd.ProcessState, out, bad.String())
			}
			for _, w := range c.says {
				if !strings.Contains(bad.String(), w) {
					t.Errorf("it does not say %q: %s", w, bad.String())
				}
			}
		}
	})
}

// A container that is killed leaves nothing, and its cache is as good as before.
func TestApptainerThatIsKilled(t *testing.T) {
	t.Parallel()
	asBoth(t, func(t *testing.T, u *user) {
		s, made := serve(t, u, files("one", 1, 20_000))
		u.ownDir("cache")
		for _, kind := range []string{"container", "host"} {
			c := container{
				Kind: kind, Binds: []string{u.cache},
				Program: []string{"uniharmonyfs", "mount", "--cache", u.cache, "--allow-address", "127.0.0.1", "--dataset", s.GitURL(made)},
				Command: []string{"sh", "-c", "cat /data/" + oneImage + " >/dev/null && echo ready && exec sleep 300"},
			}
			if !c.inside() {
				c.Program[0] = binary
			}
			cmd := c.command(t, u)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if n, err := out.Read(make([]byte, 6)); n != 6 || err != nil {
				t.Fatal(n, err)
			}
			cmd.Process.Kill()
			cmd.Wait()
			eventually(t, kind+": nothing is left", func() bool { return devices(t, u.cache) == 0 })
			u.must("verify", "--dataset", s.GitURL(made))
			u.leaveDaemon()
		}
	})
}

// The program that has a connection served ends well at SIGTERM, though it is mounted where
// nobody here can unmount it; without the daemon readers are told.
func TestDescriptorAtSIGTERM(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can mount here without fusermount3")
	}
	t.Parallel()
	u := newUser(t)
	_, made := serve(t, u, files("one", 1, 20_000))
	at := u.ownDir("container")
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("fuse", at, "fuse", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", device.Fd())); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(at, unix.MNT_DETACH)
	cmd := u.command(context.Background(), "mount", "--dataset", made.Dir, "/dev/fd/3", "-f")
	cmd.ExtraFiles = []*os.File{device}
	var said soFar
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	device.Close()
	eventually(t, "it is served", func() bool { return strings.Contains(said.String(), "Mounted") })
	if out, err := exec.Command("ls", at+"/sub-00").CombinedOutput(); err != nil {
		t.Errorf("%s, %v", out, err)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if st := u.status(); len(st.Mounts) != 0 {
		t.Errorf("%+v", st.Mounts)
	}
	u.leaveDaemon()
	eventually(t, "readers are told", func() bool { // one that asked before is told otherwise
		out, err := exec.Command("ls", at).CombinedOutput()
		return err != nil && strings.Contains(string(out), "not connected")
	})
}
