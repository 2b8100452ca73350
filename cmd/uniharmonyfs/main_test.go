package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// binary is the program under test, built once.
var binary string

// base holds everything the tests make, so that what they leave is found.
var base string

func TestMain(m *testing.M) {
	if wants := os.Getenv("UNIHARMONYFS_TEST_WRITER"); wants != "" { // TestSoakWriter runs this program on a view
		writeOver(wants)
		os.Exit(0)
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if said := os.Getenv(standIn); said != "" {
		return runStandIn(said)
	}
	var err error
	if base, err = os.MkdirTemp("", "uniharmonyfs-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	os.Chmod(base, 0o755)
	defer os.RemoveAll(base)
	// Whoever has these tests outlive a terminal ignores SIGHUP, and then so would the
	// commands that are tested.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	binary = filepath.Join(base, "uniharmonyfs")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as in releases: it runs in any container
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	if left := leftovers(); left != "" {
		fmt.Fprintf(os.Stderr, "FAIL: the tests left behind:\n%s", left)
		code = max(code, 1)
	}
	return code
}

// leftovers lists the mounts and processes of the tests that are still there.
// Daemons that have nothing to do get a moment to end.
func leftovers() (left string) {
	for range 100 {
		left = ""
		mounts, _ := os.ReadFile("/proc/self/mountinfo")
		for line := range strings.Lines(string(mounts)) {
			if strings.Contains(line, base) && strings.Contains(line, "fuse.uniharmonyfs") {
				left += line
			}
		}
		procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, p := range procs {
			cmd, _ := os.ReadFile(p)
			if bytes.HasPrefix(cmd, []byte(binary+"\x00")) {
				left += p + ": " + string(bytes.ReplaceAll(cmd, []byte{0}, []byte{' '})) + "\n"
			}
		}
		if left == "" {
			return ""
		}
		time.Sleep(200 * time.Millisecond)
	}
	return left
}

// user is somebody with a cache of their own.
type user struct {
	t     testing.TB
	dir   string // scratch
	cache string
	env   []string
	uid   uint32 // runs the commands; 0 is whoever runs the tests
}

func newUser(t testing.TB) *user {
	t.Helper()
	if testing.Short() && t.Name() != smokeTest {
		t.Skip("takes a while: of the tests of the whole program " + smokeTest + " stands for all")
	}
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skip("skipped: no FUSE on this machine: ", err)
	} else {
		f.Close()
	}
	dir, err := os.MkdirTemp(base, "t-")
	if err != nil {
		t.Fatal(err)
	}
	u := &user{t: t, dir: dir, cache: filepath.Join(dir, "cache")}
	t.Cleanup(u.leave)
	return u
}

// leave unmounts what is still mounted and ends the daemon.
func (u *user) leave() {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) > 4 && strings.HasPrefix(f[4], u.dir+"/") && strings.Contains(line, "fuse.uniharmonyfs") {
			syscall.Unmount(f[4], syscall.MNT_DETACH)
			exec.Command("fusermount3", "-uz", f[4]).Run()
		}
	}
	if pid := u.daemon(); pid > 0 {
		syscall.Kill(pid, syscall.SIGTERM)
		for i := range 500 {
			if syscall.Kill(pid, 0) != nil || u.daemon() != pid {
				break
			}
			time.Sleep(10 * time.Millisecond)
			if i == 400 {
				u.t.Errorf("the daemon does not end at SIGTERM")
				syscall.Kill(pid, syscall.SIGQUIT) // its stacks go to the log
			}
		}
	}
	if u.t.Failed() {
		log, _ := os.ReadFile(filepath.Join(u.cache, "daemon.log"))
		u.t.Logf("daemon.log:\n%s", tail(log, 12000))
	}
	exec.Command("chmod", "-R", "u+rwx", u.dir).Run()
	os.RemoveAll(u.dir)
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// daemon returns the process of the user's daemon, or 0.
func (u *user) daemon() int {
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		cmd, _ := os.ReadFile(p)
		if bytes.HasPrefix(cmd, []byte(binary+"\x00daemon\x00--cache\x00"+u.cache+"\x00")) {
			var pid int
			fmt.Sscanf(p, "/proc/%d/", &pid)
			return pid
		}
	}
	return 0
}

// result is how a command ended.
type result struct {
	code        int
	out, errout string
}

func (u *user) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), "UNIHARMONYFS_CACHE="+u.cache, "UNIHARMONYFS_ALLOW_ADDRESS=127.0.0.1", "HOME="+u.dir, "XDG_CACHE_HOME=")
	cmd.Env = append(cmd.Env, u.env...)
	cmd.Dir = u.dir
	if u.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.uid, Gid: u.uid}}
	}
	return cmd
}

func (u *user) run(args ...string) result {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := u.command(ctx, args...)
	var out, errout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errout
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		u.t.Fatalf("uniharmonyfs %v: %v\n%s", args, err, errout.String())
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errout.String()}
}

// must runs a command that is to succeed and returns its output.
func (u *user) must(args ...string) string {
	u.t.Helper()
	r := u.run(args...)
	if r.code != 0 {
		u.t.Fatalf("uniharmonyfs %v: exit %d\n%s%s", args, r.code, r.out, r.errout)
	}
	return r.out
}

// fails runs a command that is to fail with a code, saying all of words.
func (u *user) fails(code int, words []string, args ...string) string {
	u.t.Helper()
	r := u.run(args...)
	if r.code != code {
		u.t.Errorf("uniharmonyfs %v: exit %d, want %d\n%s%s", args, r.code, code, r.out, r.errout)
	}
	for _, w := range words {
		if !strings.Contains(r.errout, w) {
			u.t.Errorf("uniharmonyfs %v does not say %q:\n%s", args, w, r.errout)
		}
	}
	return r.errout
}

// store is the part of status --json about the cache.
type store struct {
	Budget, Used, Reserved, Pinned int64
	Objects, Partials              int
	Transfers                      []struct{ Name string }
	Errors                         []struct{ Name, Text string }
}

func (u *user) status() (s struct {
	Store    store
	Datasets []string
	Mounts   []struct {
		Target, Clone string
		Passthrough   bool
		Opened        []struct{ Path string }
	}
}) {
	u.t.Helper()
	if err := json.Unmarshal([]byte(u.must("status", "--json")), &s); err != nil {
		u.t.Fatal(err)
	}
	return s
}

func (u *user) path(name string) string { return filepath.Join(u.dir, name) }

// serve makes a dataset whose content is served with every version by URL.
func serve(t testing.TB, u *user, d maker.Dataset) (*publisher.Server, *maker.Made) {
	t.Helper()
	s, err := publisher.New(publisher.Options{GitConfig: []string{"uploadpack.allowFilter=true"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if d.Remotes == nil {
		d.Remotes = []maker.Remote{{Name: "s3-PUBLIC", Kind: maker.Versioned, URL: s.URL + "/openneuro.org"}}
	}
	m, err := maker.Make(u.path(d.Name), d)
	if err != nil {
		t.Fatal(err)
	}
	s.Add(m)
	return s, m
}

// files makes a dataset of n annexed files of about size bytes.
func files(name string, n int, size int64) maker.Dataset {
	d := maker.Dataset{Name: name, Files: []maker.File{
		{Path: "dataset_description.json", Data: []byte(`{"Name":"made","BIDSVersion":"1.10.0"}`)},
		{Path: "README", Data: []byte("made for a test\n")},
	}}
	for i := range n {
		sub := fmt.Sprintf("sub-%02d", i/100)
		d.Files = append(d.Files, maker.File{
			Path: fmt.Sprintf("%s/anat/%s_run-%03d_T1w.nii.gz", sub, sub, i%100),
			Size: size/2 + size*int64(i%11)/10, Seed: uint64(i) + 1, Annexed: true,
		})
	}
	return d
}
