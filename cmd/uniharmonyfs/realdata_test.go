package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

func TestRealDatasetOneSubject(t *testing.T) {
	t.Parallel()
	path := gittest.Dataset(t, "ds004712.bundle")
	u := newUser(t)
	mnt := u.path("mnt")
	u.must("mount", "--dataset", path, "--sub", "03286", "--fetcher", "native", "--timeout", "2s", "--patience", "5s", mnt)
	repo := u.path("oracle.git")
	git(t, "clone", "--quiet", "--bare", path, repo)
	want := gitFiles(t, repo, "main")
	seen := walk(t, mnt)
	if len(seen) != 1128 {
		t.Errorf("%d files, want 1128", len(seen))
	}
	annexed := ""
	for name, size := range seen {
		w, ok := want[name]
		switch {
		case !ok:
			t.Errorf("%s is not in git", name)
		case name == "participants.tsv":
			// Only the subject's row is shown.
			got, err := os.ReadFile(filepath.Join(mnt, name))
			if rows := lines(string(got)); err != nil || len(rows) != 2 || !strings.HasPrefix(rows[1], "sub-03286\t") || int64(len(got)) != size {
				t.Errorf("participants.tsv: %q, %v", got, err)
			} else if whole := git(t, "-C", repo, "cat-file", "blob", w.blob); !strings.Contains(whole, rows[1]+"\n") || !strings.HasPrefix(whole, rows[0]+"\n") {
				t.Errorf("participants.tsv has rows that git has not: %q", got)
			}
		case size != w.size:
			t.Errorf("%s has %d bytes, in git %d", name, size, w.size)
		case strings.HasSuffix(name, "_T1w.nii.gz"):
			annexed = name
		}
	}
	if !t.Run("list", func(t *testing.T) {
		got := lines(u.must("list", "--offline", "--dataset", path, "--sub", "03286"))
		if !slices.IsSorted(got) {
			t.Error("not in byte order")
		}
		for _, name := range got {
			if _, ok := seen[name]; !ok {
				t.Errorf("%s is listed, but not in the mount", name)
			}
		}
		if len(got) != len(seen) {
			t.Errorf("%d files are listed, %d in the mount", len(got), len(seen))
		}
		var all []string
		for name := range want {
			if strings.HasPrefix(name, "sub-03286/") {
				all = append(all, name)
			}
		}
		slices.Sort(all)
		only := lines(u.must("list", "--offline", "--dataset", path, "--sub", "03286", "--root-files", "none"))
		only = slices.DeleteFunc(only, func(name string) bool { return !strings.Contains(name, "/") })
		if !slices.Equal(only, all) {
			t.Errorf("below the subject: %d paths, git has %d", len(only), len(all))
		}
	}) {
		return
	}
	t.Run("sidecars", func(t *testing.T) { sameAsGit(t, mnt, repo, seen, want) })
	t.Run("unreachable", func(t *testing.T) { unreachable(t, u, mnt, annexed, want[annexed].key) })
	t.Run("nearest", func(t *testing.T) {
		u.fails(3, []string{"--sub 01", "no such subject", "03286"}, "mount", "--dataset", path, "--sub", "01", u.path("none"))
		if _, err := os.Lstat(u.path("none")); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a mount that failed leaves its directory behind")
		}
	})
	t.Run("again", func(t *testing.T) { noNetwork(t, u, path) })
}

// sameAsGit compares the JSON files with what git has.
func sameAsGit(t *testing.T, mnt, repo string, seen map[string]int64, want map[string]gitFile) {
	var names, ids []string
	for name := range seen {
		if strings.HasSuffix(name, ".json") {
			names, ids = append(names, name), append(ids, want[name].blob)
		}
	}
	if len(names) < 500 {
		t.Fatalf("only %d JSON files", len(names))
	}
	cmd := exec.Command("git", "-C", repo, "cat-file", "--batch=")
	cmd.Stdin = strings.NewReader(strings.Join(ids, "\n") + "\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		got, err := os.ReadFile(filepath.Join(mnt, name))
		size := want[name].size
		if err != nil || !bytes.Equal(got, out[1:1+size]) {
			t.Errorf("%s differs from git's: %v", name, err)
		}
		if !json.Valid(got) {
			t.Errorf("%s is no JSON", name)
		}
		out = out[size+2:]
	}
}

// unreachable reads a file whose servers cannot be reached from here, or can:
// then it has to be right.
func unreachable(t *testing.T, u *user, mnt, name string, key annex.Key) {
	u.t = t
	start := time.Now()
	_, err := os.ReadFile(filepath.Join(mnt, name))
	if err == nil {
		t.Skip("skipped: the dataset's bucket can be reached from here")
	}
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("reading says %v, want EIO", err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("the error took %v", took)
	}
	const host = "s3.amazonaws.com"
	if out := u.must("status", filepath.Join(mnt, name)); !strings.Contains(out, host) || !strings.Contains(out, "missing") {
		t.Errorf("status PATH does not tell the reason:\n%s", out)
	}
	if out := u.must("status"); !strings.Contains(out, host) || !strings.Contains(out, name) {
		t.Errorf("status does not tell the reason:\n%s", out)
	}
	log, err := os.ReadFile(filepath.Join(u.cache, "daemon.log"))
	if err != nil || !bytes.Contains(log, []byte(key.String())) || !bytes.Contains(log, []byte(host)) {
		t.Errorf("the log does not tell the reason (%v):\n%s", err, tail(log, 2000))
	}
	hidden, err := os.ReadFile(filepath.Join(mnt, ".uniharmonyfs", "errors"))
	if err != nil || !bytes.Contains(hidden, []byte(host)) {
		t.Errorf(".uniharmonyfs/errors does not tell the reason: %v\n%s", err, hidden)
	}
}

// noNetwork mounts a known dataset again, with and without --offline, by a
// daemon that is new, and sees that no socket but the daemon's own is used.
func noNetwork(t *testing.T, u *user, dataset string) {
	u.t = t
	u.must("mount", "--offline", "--dataset", dataset, "--sub", "03286", "--modality", "anat", u.path("offline"))
	u.must("unmount", u.path("offline"))
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("skipped: no strace on this machine")
	}
	u.must("unmount", u.path("mnt"))
	u.leaveDaemon()
	trace := u.path("trace")
	cmd := u.command(t.Context(), "mount", "--foreground", "--dataset", dataset, "--sub", "03286", "--modality", "anat", u.path("again"))
	cmd.Args = append([]string{"strace", "-f", "-qq", "-e", "trace=connect", "-o", trace}, cmd.Args...)
	cmd.Path, _ = exec.LookPath("strace")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if len(u.status().Mounts) == 1 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	u.must("unmount", u.path("again"))
	u.leaveDaemon()
	if err := cmd.Wait(); err != nil {
		t.Errorf("mount --foreground: %v", err)
	}
	calls, err := os.ReadFile(trace)
	if err != nil || !bytes.Contains(calls, []byte("AF_UNIX")) {
		t.Fatalf("nothing was traced: %v", err)
	}
	if bytes.Contains(calls, []byte("AF_INET")) {
		t.Errorf("a known dataset was mounted over the network:\n%s", tail(calls, 2000))
	}
}

// leaveDaemon ends the daemon of a user who goes on.
func (u *user) leaveDaemon() {
	u.t.Helper()
	pid := u.daemon()
	if pid == 0 {
		return
	}
	syscall.Kill(pid, syscall.SIGTERM)
	for range 1000 {
		if u.daemon() != pid {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	u.t.Fatal("the daemon does not end")
}

func TestRealDatasetWithoutHEAD(t *testing.T) {
	t.Parallel()
	path := gittest.Dataset(t, "ds000001.bundle")
	u := newUser(t)
	u.must("mount", "--dataset", path, "--sub", "01", u.path("mnt"))
	repo := u.path("oracle.git")
	git(t, "init", "--quiet", "--bare", repo)
	git(t, "-C", repo, "fetch", "--quiet", path, "+refs/*:refs/*")
	want := gitFiles(t, repo, "master")
	seen := walk(t, u.path("mnt"))
	sub := 0
	for name, size := range seen {
		if strings.HasPrefix(name, "sub-01/") {
			sub++
		}
		if w, ok := want[name]; !ok || size != w.size && name != "participants.tsv" {
			t.Errorf("%s has %d bytes, in git %d", name, size, w.size)
		}
	}
	all := 0
	for name := range want {
		if strings.HasPrefix(name, "sub-01/") {
			all++
		}
	}
	if sub != all || all == 0 {
		t.Errorf("%d files of the subject, in git %d", sub, all)
	}
}
