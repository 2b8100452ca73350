package main_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// smokeTest is the one test of the whole program that a quick look runs.
const smokeTest = "TestSmoke"

// TestSmoke goes one way through the program: what a user does on the first day.
func TestSmoke(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, files("smoke", 5, 50_000))
	want := contents(t, m)
	mnt, target := u.path("mnt"), u.path("target")
	if said := u.must("list", "--dataset", m.Dir); strings.Count(said, "\n") < len(m.Files) {
		t.Errorf("list: %s", said)
	}
	u.must("mount", "--dataset", m.Dir, mnt)
	same := func(where string) {
		t.Helper()
		for name, data := range want {
			if got, err := os.ReadFile(filepath.Join(where, name)); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
	}
	same(mnt)
	if s := u.status(); len(s.Mounts) != 1 || s.Store.Objects != 5 {
		t.Errorf("status: %+v", s)
	}
	u.must("get", "--dataset", m.Dir, target)
	same(target)
	u.must("unmount", "--clean", mnt)
	if _, err := os.Stat(u.cache); !os.IsNotExist(err) {
		t.Errorf("the cache is still there: %v", err)
	}
}
