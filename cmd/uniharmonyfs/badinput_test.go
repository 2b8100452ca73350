package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// small makes a dataset on this machine whose content nobody serves.
func small(t testing.TB, u *user, name string) *maker.Made {
	t.Helper()
	m, err := maker.Make(u.path(name), files(name, 3, 9000))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWrongCommandLines(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	for _, c := range []struct {
		words string
		args  []string
	}{
		{"there is no command|mount, unmount", []string{"mnt"}},
		{"Did you mean|mount", []string{"moutn", "x"}},
		{"subjcet|did you mean --subject?|--help", []string{"mount", "--subjcet", "01", "x"}},
		{"one TARGET|for example", []string{"mount"}},
		{"one TARGET", []string{"mount", "a", "b"}},
		{"needs a value", []string{"mount", "x", "--sub"}},
		{"lots|not a size|20GiB", []string{"mount", "--budget", "lots", "x"}},
		{"not a size", []string{"mount", "--budget=-5GiB", "x"}},
		{"not a size", []string{"mount", "--budget", "0", "x"}},
		{"not a size", []string{"mount", "--budget", "20GiBs", "x"}},
		{"fetcher|auto, native and annex", []string{"mount", "--fetcher", "ftp", "x"}},
		{"timeout", []string{"mount", "--timeout", "-2s", "x"}},
		{"timeout", []string{"mount", "--timeout", "soon", "x"}},
		{"KEY=VALUE", []string{"list", "--entity", "coil"}},
		{"companions|full", []string{"list", "--companions", "some"}},
		{"no arguments|selection", []string{"list", "sub-01"}},
		{"exclude each other", []string{"list", "--cached", "--missing"}},
		{"TARGET|status", []string{"unmount"}},
		{"NAMEs|--all", []string{"clean"}},
		{"NAMEs|--all", []string{"clean", "--all", "ds000001"}},
		{"bash, zsh or fish", []string{"completion", "tcsh"}},
		{"not a dataset", []string{"mount", "--dataset", "no such thing", "x"}},
		{"not a dataset", []string{"mount", "--dataset=-x", "x"}},
		{"not a dataset", []string{"mount", "--dataset", "ext::sh -c touch% x", "x"}},
		{"https://", []string{"mount", "--dataset", "ftp://example.org/x", "x"}},
		{"300.1.2.3|address", []string{"mount", "--allow-address", "300.1.2.3", "--dataset", u.path("d"), "x"}},
		{"go after the command", []string{"--cache", u.path("c"), "status"}},
	} {
		if strings.Contains(fmt.Sprint(c.args), u.path("d")) {
			small(t, u, "d")
		}
		said := u.fails(2, strings.Split(c.words, "|"), c.args...)
		if strings.Count(said, "\n") > 12 || !strings.HasPrefix(said, "uniharmonyfs: ") {
			t.Errorf("%v: not a short message:\n%s", c.args, said)
		}
	}
	if _, err := os.Lstat(u.path("x")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a wrong command leaves its target behind")
	}
}

func TestDatasetsThatAreNone(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	write(t, u.path("folder/README"), "no git here\n")
	write(t, u.path("file.bundle"), "no bundle\n")
	write(t, u.path("empty.bundle"), "")
	git(t, "init", "--quiet", u.path("nothing"))
	git(t, "init", "--quiet", "--bare", u.path("nothing.git"))
	bare := small(t, u, "good")
	// A good bundle, cut short.
	cut := u.path("cut.bundle")
	git(t, "-C", bare.Dir, "bundle", "create", "--quiet", cut, "--all")
	st, err := os.Stat(cut)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(cut, st.Size()-40); err != nil {
		t.Fatal(err)
	}
	before := u.path("later.bundle")
	work := plainRepository(t, u, "plain")
	write(t, filepath.Join(work, "README"), "two\n")
	git(t, "-C", work, "commit", "--quiet", "-a", "-m", "two")
	git(t, "-C", work, "bundle", "create", "--quiet", before, "HEAD~1..trunk")
	for dataset, words := range map[string]string{
		u.path("folder"):                  "not a git repository|give a URL",
		u.path("file.bundle"):             "bundle|OpenNeuro",
		u.path("empty.bundle"):            "bundle|OpenNeuro",
		u.path("nothing"):                 "no branches",
		u.path("nothing.git"):             "no branches",
		cut:                               "git bundle verify",
		before:                            "git bundle verify",
		u.path("missing"):                 "no such file or directory",
		"file://" + u.path("missing.git"): "no such file or directory",
	} {
		said := u.fails(4, strings.Split(words, "|"), "mount", "--dataset", dataset, u.path("mnt"))
		t.Logf("%s", said)
	}
	u.fails(4, []string{"not known here", "--offline"}, "mount", "--offline", "--dataset", bare.Dir, u.path("mnt"))
	u.fails(3, []string{"--task dance", "sub"}, "mount", "--dataset", bare.Dir, "--task", "dance", u.path("mnt"))
	u.fails(3, []string{"--sub 77", "00"}, "list", "--dataset", bare.Dir, "--sub", "77")
	u.fails(3, nil, "list", "--dataset", bare.Dir, "--sub", "00", "--exclude", "*", "--root-files", "none")
	if _, err := os.Lstat(u.path("mnt")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a mount that failed leaves its target behind")
	}
	if left, _ := filepath.Glob(filepath.Join(u.cache, "datasets", ".making-*")); len(left) > 0 {
		t.Errorf("clones that failed are left behind: %v", left)
	}
}

func TestTargetsThatCannotBe(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	m := small(t, u, "good")
	write(t, u.path("full/mine"), "mine\n")
	write(t, u.path("file"), "mine\n")
	os.Symlink(u.path("nowhere"), u.path("dangling"))
	os.Symlink(u.path("loop"), u.path("loop"))
	u.must("status") // makes no cache
	u.must("list", "--dataset", m.Dir, "--count")
	above := u.path("above")
	for _, c := range []struct {
		target, words string
		more          []string
	}{
		{u.path("full"), "not empty|mine|empty or new directory", nil},
		{u.path("file"), "not a directory", nil},
		{u.path("file/below"), "not a directory", nil},
		{u.cache, "inside the cache", nil},
		{filepath.Join(u.cache, "objects", "mnt"), "inside the cache", nil},
		{u.dir, "lies inside it", nil},
		{"/", "lies inside it", nil},
		{above, "lies inside it", []string{"--cache", filepath.Join(above, "cache")}},
		{m.Dir, "overlaps the dataset", nil},
		{filepath.Join(m.Dir, "mnt"), "overlaps the dataset", nil},
		{u.path("dangling"), "cannot mount", nil},
		{u.path("loop"), "cannot mount", nil},
		{"/proc/self", "", nil},
		{"/sys/x", "", nil},
		{u.path(strings.Repeat("n", 300)), "name too long", nil},
	} {
		args := append([]string{"mount", "--dataset", m.Dir}, append(c.more, c.target)...)
		said := u.fails(6, append(strings.Split(c.words, "|"), "cannot mount at "), args...)
		t.Log(said)
		if strings.HasPrefix(fmt.Sprint(c.more), "[--cache") {
			pid := (&user{t: t, dir: u.dir, cache: c.more[1]}).daemon()
			syscall.Kill(pid, syscall.SIGTERM)
		}
	}
	mnt := u.path("mnt")
	u.must("mount", "--dataset", m.Dir, mnt)
	u.fails(6, []string{"mounted already", "unmount " + mnt}, "mount", "--dataset", m.Dir, mnt)
	os.Symlink(mnt, u.path("link"))
	u.fails(6, []string{"mounted already"}, "mount", "--dataset", m.Dir, u.path("link"))
	u.fails(6, []string{"cannot mount at"}, "mount", "--dataset", m.Dir, filepath.Join(mnt, "sub-00"))
	u.fails(6, []string{"cannot mount at"}, "mount", "--dataset", m.Dir, filepath.Join(mnt, "new"))
	// Of another cache.
	u.fails(6, []string{"something else is mounted there"}, "mount", "--cache", u.path("other"), "--dataset", m.Dir, mnt)
	u.must("unmount", mnt)
	other := &user{t: t, dir: u.dir, cache: u.path("other")}
	other.leaveDaemon()
	if got, err := os.ReadFile(u.path("full/mine")); string(got) != "mine\n" {
		t.Errorf("what was there has changed: %q, %v", got, err)
	}
}

func TestForeignMountAtTarget(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can mount a tmpfs")
	}
	u := newUser(t)
	m := small(t, u, "good")
	mnt := u.path("tmpfs")
	if err := errors.Join(os.Mkdir(mnt, 0o755), syscall.Mount("tmpfs", mnt, "tmpfs", 0, "size=1m")); err != nil {
		t.Skip("skipped: no tmpfs: ", err)
	}
	defer syscall.Unmount(mnt, syscall.MNT_DETACH)
	u.fails(6, []string{"something else is mounted there"}, "mount", "--dataset", m.Dir, mnt)
	u.fails(6, []string{"no mount of uniharmonyfs"}, "unmount", "--force", mnt)
}

func TestCachesThatCannotBe(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	m := small(t, u, "good")
	write(t, u.path("thesis/chapter1"), "mine\n")
	write(t, u.path("file"), "mine\n")
	mount := func(cache string) []string {
		return []string{"mount", "--cache", cache, "--dataset", m.Dir, u.path("mnt")}
	}
	u.fails(1, []string{"thesis", "chapter1", "not a cache", "--cache"}, mount(u.path("thesis"))...)
	u.fails(1, []string{"--cache"}, mount(u.path("file"))...)
	u.fails(1, []string{"--cache"}, mount("/proc/cache")...)
	u.fails(1, []string{"--cache"}, mount("/sys/cache")...)
	for _, args := range [][]string{{"clean", "--all", "--pins"}, {"status"}} {
		u.run(append(args, "--cache", u.path("thesis"))...)
	}
	if got, err := os.ReadFile(u.path("thesis/chapter1")); string(got) != "mine\n" {
		t.Errorf("a directory that is no cache was changed: %q, %v", got, err)
	}
	// Something of another's at the socket's place.
	u.must("list", "--dataset", m.Dir, "--count")
	u.leaveDaemon()
	write(t, filepath.Join(u.cache, "daemon.sock", "x"), "")
	u.fails(1, []string{"daemon.sock", "no socket"}, "mount", "--dataset", m.Dir, u.path("mnt"))
	os.RemoveAll(filepath.Join(u.cache, "daemon.sock"))
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
}

// The files the cache may not keep its own words in.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can mount a tmpfs")
	}
	u := newUser(t)
	d := files("big", 2, 9000)
	d.Files = append(d.Files, maker.File{Path: "code/large.bin", Size: 6 << 20, Seed: 7})
	s, m := serve(t, u, d)
	for _, size := range []string{"64k", "2m", "5m"} {
		t.Run(size, func(t *testing.T) {
			disk := u.path("disk" + size)
			if err := errors.Join(os.Mkdir(disk, 0o755), syscall.Mount("tmpfs", disk, "tmpfs", 0, "size="+size)); err != nil {
				t.Skip("skipped: no tmpfs: ", err)
			}
			small := &user{t: t, dir: u.dir, cache: filepath.Join(disk, "cache")}
			defer func() {
				if pid := small.daemon(); pid > 0 {
					small.leaveDaemon()
				}
				// A killed child's files are closed a moment after its parent is gone.
				defer syscall.Unmount(disk, syscall.MNT_DETACH)
				eventually(t, "the disk is in nobody's use", func() bool { return syscall.Unmount(disk, 0) == nil })
			}()
			said := small.fails(5, []string{"space", "--cache"}, "mount", "--dataset", s.GitURL(m), small.path("mnt"+size))
			t.Log(said)
		})
	}
}

func TestServersThatRefuse(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	selfSigned := httptest.NewTLSServer(http.NotFoundHandler())
	defer selfSigned.Close()
	private := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="data"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer private.Close()
	absent := httptest.NewServer(http.NotFoundHandler())
	defer absent.Close()
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<html>please log in</html>")
	}))
	defer portal.Close()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer broken.Close()
	closed := closedPort(t)
	cases := []struct{ url, words string }{
		{selfSigned.URL + "/x.git", "certificate|http.sslCAInfo|ca-certificates"},
		{private.URL + "/x.git", "spelling|credential"},
		{absent.URL + "/x.git", "not found|spelling"},
		{portal.URL + "/x.git", "give a URL"},
		{broken.URL + "/x.git", "502|try again later"},
		{closed + "/x.git", "network"},
		{"https://no-such-host.invalid/x.git", "network"},
		{"ssh://git@127.0.0.1:" + closed[strings.LastIndex(closed, ":")+1:] + "/x.git", "https://127.0.0.1/x.git"},
		{"git@no-such-host.invalid:me/x.git", "https://no-such-host.invalid/me/x.git"},
	}
	for _, without := range []string{"", "git"} {
		for _, c := range cases {
			if without == "git" {
				if strings.Contains(c.url, "@") {
					continue
				}
				u.leaveDaemon()
				if err := os.MkdirAll(u.path("bin"), 0o755); err != nil {
					t.Fatal(err)
				}
				u.env = []string{"PATH=" + u.path("bin")}
			}
			r := u.run("mount", "--dataset", c.url, u.path("mnt"))
			if r.code != 4 || !strings.Contains(r.errout, "cannot get the dataset "+c.url) {
				t.Errorf("%s: exit %d, want 4\n%s", c.url, r.code, r.errout)
			}
			for _, w := range strings.Split(c.words, "|") {
				if !strings.Contains(r.errout, w) {
					t.Errorf("%s (without %q) does not say %q:\n%s", c.url, without, w, r.errout)
				}
			}
			t.Logf("without %q: %s", without, r.errout)
		}
	}
}

// closedPort returns the URL of a port where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// A password in the URL is for git alone.
func TestPasswordIsNotShown(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	d := files("secret", 2, 9000)
	s, m := serve(t, u, d)
	url := strings.Replace(s.GitURL(m), "http://", "http://me:hunter2@", 1)
	out := u.must("mount", "--json", "--dataset", url, u.path("mnt")) + u.must("status") + u.must("status", "--json")
	out += u.fails(4, nil, "mount", "--dataset", strings.Replace(url, "/git/", "/none/", 1), u.path("none"))
	log, err := os.ReadFile(filepath.Join(u.cache, "daemon.log"))
	if err != nil {
		t.Fatal(err)
	}
	hidden, err := os.ReadFile(u.path("mnt/.uniharmonyfs/dataset"))
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"output": out, "daemon.log": string(log), ".uniharmonyfs/dataset": string(hidden)} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s shows the password:\n%s", what, text)
		}
	}
}

// Without FUSE the message says how to get it. The device is missing in a
// mount namespace of the command's own.
func TestNoFUSE(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can hide /dev/fuse")
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("skipped: no unshare on this machine")
	}
	u := newUser(t)
	m := small(t, u, "good")
	if err := os.Mkdir(u.path("dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	const hide = `set -e; mount -t tmpfs none "$0"
for n in null zero random urandom tty; do touch "$0/$n"; mount --bind /dev/$n "$0/$n"; done
mount --rbind "$0" /dev; exec "$@"`
	run := func(args ...string) (int, string) {
		cmd := u.command(t.Context(), args...)
		cmd.Args = append([]string{unshare, "-m", "sh", "-c", hide, u.path("dev")}, cmd.Args...)
		cmd.Path = unshare
		var said bytes.Buffer
		cmd.Stderr, cmd.Stdout = &said, &said
		cmd.Run()
		return cmd.ProcessState.ExitCode(), said.String()
	}
	if code, said := run("version"); code != 0 {
		t.Skip("skipped: no mount namespaces on this machine: ", said)
	}
	code, said := run("mount", "--dataset", m.Dir, u.path("mnt"))
	if code != 6 || !strings.Contains(said, "/dev/fuse") || !strings.Contains(said, "  - ") {
		t.Errorf("exit %d\n%s", code, said)
	}
	t.Log(said)
	if code, said := run("doctor"); code != 1 || !strings.Contains(said, "/dev/fuse") {
		t.Errorf("doctor: exit %d\n%s", code, said)
	}
	// What needs no FUSE works.
	if code, said := run("list", "--dataset", m.Dir, "--count"); code != 0 {
		t.Errorf("list: exit %d\n%s", code, said)
	}
}
