package fs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	uhfs "github.com/uniharmony/uniharmonyfs/fs"
)

// Names implements [uhfs.Members].
func (o *opener) Names() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.names)
}

// Find implements [uhfs.Members].
func (o *opener) Find(_ context.Context, name string) error {
	switch {
	case slices.Contains(o.Names(), name), name == "unlisted":
		return nil
	case name == "unknown":
		return fmt.Errorf("nobody says: %w", syscall.EHOSTUNREACH)
	}
	return fmt.Errorf("%q: %w", name, fs.ErrNotExist)
}

// Enter implements [uhfs.Members].
func (o *opener) Enter(ctx context.Context, name string) (*uhfs.Part, error) {
	o.entered.Add(1)
	if err := o.pause(ctx, strings.TrimPrefix(name, "is-")); err != nil {
		return nil, err
	}
	return o.part(testTime.Add(2 * time.Hour)), nil
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Sys().(*syscall.Stat_t).Ino
}

// names are what is listed in a directory, as the kernel sorts nothing: in order.
func listed(t *testing.T, dir string) []string {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	all, err := d.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Members are directories beside those of the view: found by name, listed or not, with
// numbers of their own that stay.
func TestMembers(t *testing.T) {
	s := start(t, config{Fixture: "nested", Members: true})
	if out, err := exec.Command("ls", "-la", s.dir).CombinedOutput(); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	if all := listed(t, s.dir); !slices.Equal(all[len(all)-4:], []string{"ds000001", "ds000002", "is-unreachable", "is-stuck"}) {
		t.Errorf("it lists %q", all)
	}
	for _, name := range []string{"ds000001", "ds000002", "unlisted"} {
		st, err := os.Stat(s.path(name))
		if err != nil || !st.IsDir() || !st.ModTime().Equal(testTime) || st.Sys().(*syscall.Stat_t).Nlink != 1 {
			t.Fatalf("%s: %+v, %v", name, st, err)
		}
	}
	if st, err := os.Stat(s.dir); err != nil || st.Sys().(*syscall.Stat_t).Nlink != 1 {
		t.Errorf("the root: %+v, %v", st, err)
	}
	s.want("entered", "0")
	if slices.Contains(listed(t, s.dir), "unlisted") {
		t.Error("what is found by name is listed")
	}
	for range 2 {
		if _, err := os.Stat(s.path("none")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what is not there: %v", err)
		}
		if _, err := os.Stat(s.path("unknown")); !errors.Is(err, unix.EHOSTUNREACH) {
			t.Errorf("what cannot be known: %v", err)
		}
	}

	numbers := make(map[uint64]string)
	paths := []string{"", "ds000001", "ds000002", "unlisted", "ds000001/README", "ds000001/sub-01", "ds000001/sub-01/anat/x.nii",
		"ds000001/again", "ds000001/again/README", "ds000001/again/sub-01", "unlisted/README", "README", "sub-01", "again", "again/sub-01"}
	for _, p := range paths {
		ino := inode(t, s.path(p))
		if other, is := numbers[ino]; is {
			t.Errorf("%q and %q have the same number", p, other)
		}
		numbers[ino] = p
	}
	for p, up := range map[string]string{
		"ds000001": "", "unlisted": "", "ds000001/sub-01": "ds000001", "ds000001/again": "ds000001", "ds000001/again/sub-01": "ds000001/again",
	} {
		if inode(t, s.path(p)+"/..") != inode(t, s.path(up)) {
			t.Errorf("%s/.. is not %q", p, up)
		}
	}
	for _, p := range []string{"ds000001/README", "unlisted/README", "ds000001/again/README"} {
		if got, err := os.ReadFile(s.path(p)); err != nil || !bytes.Equal(got, content("README", 77)) {
			t.Errorf("%s: %d bytes, %v", p, len(got), err)
		}
	}
	s.want("entered", "4") // two members, and two borders
	out, err := exec.Command("sh", "-c", `cd "$0" && pwd -P && cd .. && pwd -P && cd .. && pwd -P`, s.path("ds000001/again/sub-01")).Output()
	if want := strings.Join([]string{s.path("ds000001/again/sub-01"), s.path("ds000001/again"), s.path("ds000001"), ""}, "\n"); err != nil || string(out) != want {
		t.Errorf("%s, %v", out, err)
	}

	other := start(t, config{Fixture: "nested", Members: true, Target: s.dir + "-again"}.made(t))
	for i := len(paths) - 1; i >= 0; i-- { // in another order
		if got := inode(t, other.path(paths[i])); numbers[got] != paths[i] {
			t.Errorf("in the next mount %q has the number of %q", paths[i], numbers[got])
		}
	}
}

// What cannot be entered is told, and who waits can be killed.
func TestMembersThatCannotBeEntered(t *testing.T) {
	s := start(t, config{Fixture: "nested", Members: true})
	ls := exec.Command("ls", s.path("is-stuck"))
	if err := ls.Start(); err != nil {
		t.Fatal(err)
	}
	s.until("waiting", "1")
	if _, err := os.ReadFile(s.path("ds000002/README")); err != nil {
		t.Error(err)
	}
	ls.Process.Kill()
	ls.Wait()
	s.until("waiting", "0")
	for range 2 {
		if _, err := os.ReadDir(s.path("is-unreachable")); !errors.Is(err, unix.EHOSTUNREACH) {
			t.Errorf("listing it: %v", err)
		}
	}
}

// Names that come are listed, also where the kernel knew a listing, and found, also where
// it was told that there is nothing of that name.
func TestMembersThatCome(t *testing.T) {
	s := start(t, config{Fixture: "nested", Members: true})
	before := listed(t, s.dir)
	if _, err := os.Stat(s.path("a-new-one")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	old := inode(t, s.path("ds000002"))
	d, err := os.Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	some, err := d.Readdirnames(2)
	if err != nil {
		t.Fatal(err)
	}
	s.want("come", "ok")
	if got := listed(t, s.dir); !slices.Equal(got, append(before, "a-new-one")) {
		t.Errorf("it lists %q", got)
	}
	rest, err := d.Readdirnames(-1)
	if got := append(some, rest...); err != nil || !slices.Equal(got[:len(before)], before) {
		t.Errorf("who was listing sees %q, %v", got, err)
	}
	if _, err := os.ReadFile(s.path("a-new-one/README")); err != nil {
		t.Error(err)
	}
	if inode(t, s.path("ds000002")) != old {
		t.Error("another has a new number")
	}
}

// Walks side by side see the same, and enter each member once.
func TestMembersConcurrently(t *testing.T) {
	s := start(t, config{Fixture: "nested", Members: true})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for _, name := range []string{"ds000001", "ds000002", "unlisted"} {
				if got, err := os.ReadFile(s.path(name + "/README")); err != nil || len(got) != 77 {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
				inode(t, s.path(name))
			}
		})
	}
	all.Wait()
}
