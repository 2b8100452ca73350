package main_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// unlisted is a user whom no list of users knows.
const unlisted = 64321

// oneImage is the one file with content of files(…, 1, 20_000), of 10,000 bytes.
const oneImage = "sub-00/anat/sub-00_run-000_T1w.nii.gz"

// becomeUnlisted makes the user one without HOME, a name and a cache of their choice.
func (u *user) becomeUnlisted() {
	u.t.Helper()
	u.becomeOrdinary()
	u.uid = unlisted
	if err := os.Chown(u.dir, unlisted, unlisted); err != nil {
		u.t.Fatal(err)
	}
	u.env = append(u.env, "UNIHARMONYFS_CACHE=", "HOME=")
}

// Without HOME, as services and containers start programs, the cache is in the home
// directory that the list of users has; where there is none, or none that can be used,
// what to do is told.
func TestWithoutAHome(t *testing.T) {
	t.Parallel()
	u := execUser(t)
	u.becomeUnlisted()
	made := u.own(t, "one")
	who := fmt.Sprint("user ", unlisted)
	for _, args := range [][]string{{"list", "--dataset", made}, {"mount", "--dataset", made, u.path("mnt")}, {"exec", "--dataset", made, "--", "true"}, {"status"}} {
		u.fails(1, []string{"no place for the cache", "HOME is not set", who, "--cache DIR", "UNIHARMONYFS_CACHE"}, args...)
	}
	env := u.env
	for _, c := range []struct{ home, why string }{
		{"/", "HOME is /, and the list of users has no home directory for " + who},
		{u.path("nowhere"), "no such file"},
		{"somewhere", "not an absolute path"},
		{"/proc", "cannot use /proc/.cache/uniharmonyfs as the cache"}, // nobody can write there
	} {
		u.env = append(slices.Clip(env), "HOME="+c.home)
		u.fails(1, []string{c.why, "--cache DIR", "UNIHARMONYFS_CACHE"}, "list", "--dataset", made)
	}
	if _, err := os.Stat(u.path("nowhere")); err == nil {
		t.Error("a home directory was made")
	}

	// The list of users may be elsewhere than in /etc/passwd.
	home, bin := u.path("home"), u.path("bin")
	for _, dir := range []string{home, bin} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(home, unlisted, unlisted); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(bin, "getent"), fmt.Sprintf("#!/bin/sh\necho \"$1 $2\" >&2\necho somebody:x:%d:%[1]d::%s:/bin/sh\n", unlisted, home))
	os.Chmod(filepath.Join(bin, "getent"), 0o755)
	u.env, u.cache = append(env, "PATH="+bin+":"+os.Getenv("PATH")), filepath.Join(home, ".cache/uniharmonyfs")
	cmd := u.command(context.Background(), "get", "--dataset", made, u.path("target"))
	cmd.Env = slices.DeleteFunc(cmd.Env, func(kv string) bool { return strings.HasPrefix(kv, "HOME=") })
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s, %v", out, err)
	}
	if st, err := os.Stat(filepath.Join(u.path("target"), oneImage)); err != nil || st.Size() != 10_000 {
		t.Errorf("%v, %v", st, err)
	}
	if _, err := os.Stat(filepath.Join(u.cache, "CACHEDIR.TAG")); err != nil {
		t.Error(err)
	}
	needNamespaces(t, u) // fusermount3 mounts for nobody whose name it cannot find
	at := u.path("data")
	if err := os.Mkdir(at, 0o777); err != nil {
		t.Fatal(err)
	}
	if out := u.must("exec", "--clean", "--dataset", made, "--at", at, "--", "sh", "-c", "cat {}/sub-00/anat/* | wc -c"); out != "10000\n" {
		t.Errorf("it says %q", out)
	}
}
