package main_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	iofs "io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// The daemon and the programs that it runs write below the cache and where
// they were told to, run nothing but git, git-annex and fusermount3, and
// connect to nobody but the dataset's servers.
func TestConfinement(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("skipped: no strace on this machine")
	}
	u := newUser(t)
	server, m := serve(t, u, demo.Dataset())
	trace, target, mnt := u.path("trace"), u.path("target"), u.path("mnt")
	cmd := u.command(t.Context(), "daemon", "--cache", u.cache, "--grace", "1m")
	cmd.Args = append([]string{"strace", "-f", "-q", "-y", "-s", "4096", "-o", trace, "-e",
		"trace=open,openat,openat2,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,truncate,chmod,fchmodat,execve,execveat,connect"}, cmd.Args...)
	cmd.Path, cmd.Dir = strace, "/"
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	u.must("status") // makes the cache
	u.leaveDaemon()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	io.ReadFull(said, make([]byte, len("ready\n")))
	pid := u.daemon()

	u.must("mount", "--dataset", server.GitURL(m), mnt)
	u.waitForBranch()
	readers(t, mnt, contents(t, m), 4)()
	u.must("pin", filepath.Join(mnt, "sub-01"))
	u.must("evict", mnt)
	u.must("get", "--dataset", server.GitURL(m), "--sub", "01", target)
	// An older git-annex does not know this kind of remote: it is run all the same.
	u.run("get", "--dataset", server.GitURL(m), "--fetcher", "annex", "--sub", "02", target)
	u.must("verify", "--dataset", server.GitURL(m))
	u.must("unmount", mnt)
	if u.daemon() != pid || pid == 0 {
		t.Fatal("another daemon did that")
	}
	u.leaveDaemon()
	cmd.Wait()

	calls, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	c := confinement{
		t: t, below: []string{u.cache, target, mnt, "/dev/null", "/dev/fuse", "/proc/",
			"/sys/devices/virtual/bdi"}, // read-ahead of the mount
		programs: []string{"git", "git-annex", "fusermount3", "uniharmonyfs", "git-remote-http", "git-remote-https", "git-upload-pack", "strace"},
		port:     server.URL[strings.LastIndex(server.URL, ":")+1:], cwd: make(map[string]string),
	}
	for line := range strings.Lines(string(calls)) {
		c.check(strings.TrimSpace(line))
	}
	if c.opened < 50 || !slices.Contains(slices.Collect(maps.Keys(c.ran)), "git-annex") || c.connected == 0 {
		t.Errorf("little was seen: %d files, %v, %d connections", c.opened, c.ran, c.connected)
	}
	t.Logf("%d files written or made, %v, %d connections", c.opened, c.ran, c.connected)
}

// confinement judges the system calls of a daemon and its children.
type confinement struct {
	t         *testing.T
	below     []string // where files may be written
	programs  []string
	port      string // of the dataset's server
	cwd       map[string]string
	opened    int
	connected int
	ran       map[string]int
}

var (
	call     = regexp.MustCompile(`^\d+ +(\w+)\((.*)`)
	writes   = regexp.MustCompile(`O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_TMPFILE`)
	given    = regexp.MustCompile(`= \d+<([^>]*)>`)
	words    = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"`)
	startDir = regexp.MustCompile(`(?:AT_FDCWD|\d+)<([^>]*)>, "`)
	port     = regexp.MustCompile(`sin6?_port=htons\((\d+)\)`)
	peer     = regexp.MustCompile(`inet_addr\("([^"]*)"\)|inet_pton\(AF_INET6, "([^"]*)"`)
)

func (c *confinement) check(line string) {
	m := call.FindStringSubmatch(line)
	if m == nil || strings.Contains(line, " = -1 ") && m[1] != "connect" {
		return // what failed changed nothing; a connection may come later
	}
	switch m[1] {
	case "execve", "execveat":
		c.program(words.FindAllStringSubmatch(m[2], -1), line)
	case "connect":
		c.connection(line)
	case "open", "openat", "openat2", "creat":
		if m[1] == "creat" || writes.MatchString(m[2]) {
			if at := given.FindStringSubmatch(m[2]); at != nil {
				c.file(strings.TrimSuffix(at[1], "(deleted)"), line)
			}
		}
	default:
		c.paths(m[1], m[2], line)
	}
}

// paths judges a call that changes what names say. Relative names are below
// the directory that strace tells with them; without one, in the daemon's
// children, below their clone.
func (c *confinement) paths(name, args, line string) {
	dirs := startDir.FindAllStringSubmatch(args, -1)
	for i, w := range words.FindAllStringSubmatch(args, -1) {
		path := w[1]
		if strings.HasPrefix(name, "symlink") && i == 0 {
			continue // what a link says is no file
		}
		if !filepath.IsAbs(path) {
			if i >= len(dirs) {
				continue
			}
			path = filepath.Join(dirs[i][1], path)
		}
		c.file(path, line)
	}
}

func (c *confinement) file(path, line string) {
	c.opened++
	path = strings.TrimSpace(path)
	if strings.HasPrefix(path, "pipe:") || strings.HasPrefix(path, "socket:") || strings.HasPrefix(path, "anon_inode:") {
		return
	}
	for _, ok := range c.below {
		if path == ok || strings.HasPrefix(path, strings.TrimSuffix(ok, "/")+"/") || ok == filepath.Dir(path) {
			return
		}
	}
	c.t.Errorf("written outside: %s\n\t%s", path, line)
}

func (c *confinement) program(args [][]string, line string) {
	if len(args) == 0 {
		return
	}
	if c.ran == nil {
		c.ran = make(map[string]int)
	}
	name := filepath.Base(args[0][1])
	// A shell may set a limit, and then becomes the program itself.
	if name == "sh" && len(args) > 5 && args[3][1] == `ulimit -d \"$0\" 2>/dev/null; exec \"$@\"` {
		name = filepath.Base(args[5][1])
	}
	c.ran[name]++
	if !slices.Contains(c.programs, name) {
		c.t.Errorf("another program was run: %s", line)
	}
}

func (c *confinement) connection(line string) {
	c.connected++
	if strings.Contains(line, "AF_UNIX") {
		return // local: the name service's
	}
	if p := port.FindStringSubmatch(line); p != nil && p[1] != "0" && p[1] != c.port {
		c.t.Errorf("a connection to another port: %s", line)
	}
	if a := peer.FindStringSubmatch(line); a != nil && a[1] != "127.0.0.1" {
		c.t.Errorf("a connection to another address: %s", line)
	}
}

// fingerprint describes everything below a directory.
func fingerprint(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(p string, e iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		what := fmt.Sprint(info.Mode())
		switch {
		case e.Type().IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			what += fmt.Sprintf(" %x %v", sha256.Sum256(data), info.ModTime())
		case e.Type() == iofs.ModeSymlink:
			to, _ := os.Readlink(p)
			what += " " + to
		}
		name, _ := filepath.Rel(dir, p)
		all[name] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func same(t *testing.T, what string, before, after map[string]string) {
	t.Helper()
	for name, was := range before {
		if is, ok := after[name]; !ok {
			t.Errorf("%s: %s is gone", what, name)
		} else if is != was {
			t.Errorf("%s: %s was %s, is %s", what, name, was, is)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			t.Errorf("%s: %s is new", what, name)
		}
	}
}

// Reading changes nothing where a dataset comes from, nor what git keeps of
// it in the hidden clone, which may get more; and unmount --clean takes away what mount made and no
// more.
func TestSourcesAreNotChanged(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]func(d *maker.Dataset){
		"bare":      func(*maker.Dataset) {},
		"work tree": func(d *maker.Dataset) { d.WorkTree, d.Present = true, true },
		"by URL":    func(*maker.Dataset) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			d := demo.Dataset()
			kind(&d)
			server, m := serve(t, u, d)
			source := m.Dir
			if name == "by URL" {
				source = server.GitURL(m)
			}
			write(t, u.path("mine/file"), "mine\n")
			before := fingerprint(t, u.dir)
			u.must("mount", "--dataset", source, u.path("mnt"))
			u.waitForBranch()
			clone := u.status().Mounts[0].Clone
			refs := git(t, "--git-dir", clone, "for-each-ref")
			objects := fingerprint(t, filepath.Join(clone, "objects"))
			readers(t, u.path("mnt"), contents(t, m), 4)()
			u.must("pin", u.path("mnt/sub-01"))
			u.must("unpin", u.path("mnt/sub-01"))
			if now := git(t, "--git-dir", clone, "for-each-ref"); now != refs {
				t.Errorf("the clone's references were\n%sand are\n%s", refs, now)
			}
			now := fingerprint(t, filepath.Join(clone, "objects"))
			for path := range now {
				if _, was := objects[path]; !was && name == "by URL" {
					delete(now, path) // where content is came with the reading
				}
			}
			same(t, "the clone's objects", objects, now)
			u.must("unmount", "--clean", u.path("mnt"))
			after := fingerprint(t, u.dir)
			// git-annex and git keep their own settings at home.
			for _, x := range []string{".cache", ".config"} {
				if _, was := before[x]; !was {
					delete(after, x)
				}
			}
			same(t, "what was there", before, after)
		})
	}
}
