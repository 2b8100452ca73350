package upper

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
)

// refused reports whether an error is of a kind, and says all of words.
func refused(t *testing.T, err error, kind advice.Kind, words ...string) {
	t.Helper()
	var f *advice.Error
	if !errors.As(err, &f) || f.Kind != kind {
		t.Errorf("%v, want one that is %s", err, kind)
		return
	}
	for _, w := range words {
		if !strings.Contains(f.Error()+strings.Join(f.Do, " "), w) {
			t.Errorf("%q does not say %q", f, w)
		}
	}
}

// open opens an upper directory for as long as a test runs.
func open(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := Open(path, 0o777)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// Network file systems and FUSE are told by name, with what to do.
func TestUnfitFileSystems(t *testing.T) {
	for magic, name := range map[int64]string{0x6969: "NFS", 0x65735546: "FUSE", 0xFF534D42: "SMB"} {
		err := fits(unix.Statfs_t{Type: magic})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%x: %v, want one of %s", magic, err, name)
		}
	}
	if err := fits(unix.Statfs_t{Type: unix.EXT4_SUPER_MAGIC}); err != nil {
		t.Error(err)
	}
	_, err := Open("/proc/uniharmonyfs", 0o777)
	refused(t, err, advice.CannotMount, "/proc")
}

// Whatever is in a directory, it is taken for an upper one, or is left alone.
func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir")
	d := open(t, path)
	_, err := Open(path, 0o777)
	refused(t, err, advice.CannotMount, "another command")
	if _, err := os.Stat(filepath.Join(path, "files")); err != nil {
		t.Errorf("whoever is refused takes away what another has: %v", err)
	}
	if err := d.Claim("one", "abc", json.RawMessage(`{"a": 1}`)); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if _, err := os.Stat(path); err == nil {
		t.Error("what nothing was written in is left")
	}
	d = open(t, path)
	if err := writeRecord(path, Record{Dataset: "one", Commit: "abc", Views: []json.RawMessage{[]byte(`{"a": 1}`)}, Way: byKernel}); err != nil {
		t.Fatal(err)
	}
	for _, view := range []string{`{"a":1}`, `{ "b":2 }`, `{"b": 2}`} {
		if err := d.Claim("one", "abc", json.RawMessage(view)); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, d.Claim("two", "def", json.RawMessage(`{}`)), advice.CannotMount, "over one at abc", "two at def", "--version abc")
	if r, err := Of(path); err != nil || len(r.Views) != 2 || r.Commit != "abc" {
		t.Errorf("%+v, %v", r, err)
	}
	d.Close()

	// An interrupted command leaves half of one.
	half := filepath.Join(t.TempDir(), "half")
	os.Mkdir(half, 0o777)
	os.Mkdir(filepath.Join(half, ".work"), 0o777)
	open(t, half)

	if err := os.WriteFile(filepath.Join(path, "view.json"), []byte("{torn"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = Open(path, 0o777)
	refused(t, err, advice.CannotMount, "view.json cannot be read")
	_, err = Of(t.TempDir())
	refused(t, err, advice.Usage, "is not the DIR")
}

func TestOutputs(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	got, err := Outputs([]string{"a=x", "b=" + dir + "/y", "z=1"})
	want := []Output{{"a", dir + "/x"}, {"b", dir + "/y"}, {"z", dir + "/1"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"a", "=x", "a=", "a/b=x", ".=x", "..=x", "../../a=x"} {
		_, err := Outputs([]string{bad})
		refused(t, err, advice.Usage, "NAME=DIR")
	}
	_, err = Outputs([]string{"a=x", "a=y"})
	refused(t, err, advice.Usage, "twice")
	_, err = Outputs([]string{"a=x"}, Place{"the cache", dir})
	refused(t, err, advice.CannotMount, "inside the cache")
	if err := os.WriteFile("plain", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = Outputs([]string{"a=plain"})
	refused(t, err, advice.CannotMount, "not a directory")
}

// What fuse-overlayfs notes by names and attributes is understood, too.
func TestChangesByNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"d/new", "d/.wh..wh..opq", ".wh.gone", ".wh.tree", "odd\xff", "copied", "e/.wh.not-empty", "over", "real/in", "empty/.wh..wh..opq", "empty/.wh..opq"} {
		path := filepath.Join(dir, "files", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		text := ""
		if strings.Contains(name, "not-empty") {
			text = "a file of that name"
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Setxattr(filepath.Join(dir, "files/copied"), "user.fuseoverlayfs.origin", []byte("copied"), 0); err != nil {
		t.Skip("skipped: this file system has no attributes: ", err)
	}
	below := []string{"tree/a", "tree/b", "gone", "d/old", "d/older", "d-other", "copied", "over/x", "real"}
	lines := func(below []string) (lines []string) {
		changes, err := Changes(dir, below)
		if err != nil {
			t.Error(err)
		}
		for _, c := range changes {
			lines = append(lines, string(c.What)+" "+c.Path)
			if odd := c.Path == "odd\xff"; odd != (string(c.Exact) == c.Path) {
				t.Errorf("%q is exactly %q", c.Path, c.Exact)
			}
		}
		return lines
	}
	want := []string{"changed copied", "created d/new", "deleted d/old", "deleted d/older", "created e/.wh.not-empty", "created empty/", "deleted gone", "created odd\xff",
		"created over", "deleted over/", "deleted real", "created real/in", "deleted tree/"}
	if got := lines(below); !slices.Equal(got, want) {
		t.Errorf("it is\n%q, want\n%q", got, want)
	}
	want = []string{"changed copied", "changed d/", "created d/new", "created e/.wh.not-empty", "changed empty/", "deleted gone", "created odd\xff", "created over", "created real/in", "deleted tree"}
	if got := lines(nil); !slices.Equal(got, want) {
		t.Errorf("without the view it is\n%q, want\n%q", got, want)
	}
}

// Whoever has just been killed may still have the directory for a moment.
func TestOpenAfterAKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "written")
	d, err := Open(dir, 0o777)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, d.Close)
	again, err := Open(dir, 0o777)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
