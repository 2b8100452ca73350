package fs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	uhfs "github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// part is the fixture as one of the mount: its borders lead to others like it.
func (o *opener) part(t time.Time) *uhfs.Part {
	return &uhfs.Part{View: o.view, Opener: o, Time: t, Borders: &borders{o: o, time: t}}
}

type borders struct {
	o    *opener
	time time.Time
}

func (b *borders) Has(dir int) bool {
	first, count := b.o.tree.Children(dir)
	return b.o.tree.Kind(dir) == tree.Dir && first > 0 && count == 0 && b.o.tree.Name(dir) != "empty"
}

func (b *borders) Enter(ctx context.Context, dir int) (*uhfs.Part, error) {
	b.o.entered.Add(1)
	if err := b.o.pause(ctx, b.o.tree.Name(dir)); err != nil {
		return nil, err
	}
	return b.o.part(b.time.Add(time.Hour)), nil
}

// pause does on the way into a part what its name says.
func (o *opener) pause(ctx context.Context, name string) error {
	switch name {
	case "unreachable":
		return fmt.Errorf("nobody answers: %w", syscall.EHOSTUNREACH)
	case "offline":
		return fmt.Errorf("switched off: %w", syscall.ENETUNREACH)
	case "denied":
		return fmt.Errorf("go away: %w", syscall.EREMOTEIO)
	case "panic":
		panic("enter")
	case "stuck":
		o.waiting.Add(1)
		defer o.waiting.Add(-1)
		select {
		case <-o.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// nested are the paths of a part, and of the parts below it, some levels deep.
func nested(f *fixture, levels int) (files, dirs []string) {
	for p, n := range f.paths() {
		if f.tree.Kind(n) != tree.Dir {
			files = append(files, p)
			continue
		}
		dirs = append(dirs, p)
		if path.Base(p) == "again" && levels > 0 {
			below, in := nested(f, levels-1)
			for _, b := range below {
				files = append(files, path.Join(p, b))
			}
			for _, b := range in {
				dirs = append(dirs, path.Join(p, b))
			}
		}
	}
	return files, dirs
}

// own is a path within its part.
func own(p string) string {
	if i := strings.LastIndex(p, "again/"); i >= 0 {
		return p[i+len("again/"):]
	}
	return p
}

// What lies below borders is there like everything else: names, content, times, numbers
// of its own which stay the same. What is known without entering enters nothing.
func TestParts(t *testing.T) {
	s := start(t, config{Fixture: "nested"})
	if out, err := exec.Command("ls", "-laR", s.path("sub-01")).CombinedOutput(); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	if out, err := exec.Command("find", s.dir, "-maxdepth", "1", "-ls").CombinedOutput(); err != nil || strings.Count(string(out), "\n") != 11 {
		t.Fatalf("%s %v", out, err)
	}
	if st, err := os.Stat(s.path("again")); err != nil || !st.IsDir() || st.Sys().(*syscall.Stat_t).Nlink != 1 {
		t.Errorf("a border: %+v, %v", st, err)
	}
	s.want("entered", "0")
	files, dirs := nested(s.fixture, 2)
	seen := make(map[uint64]string)
	inodes := func() map[string]uint64 {
		found := make(map[string]uint64)
		for _, p := range append(append([]string{}, files...), dirs...) {
			st, err := os.Stat(s.path(p))
			if err != nil {
				t.Fatal(err)
			}
			found[p] = st.Sys().(*syscall.Stat_t).Ino
			if want := testTime.Add(time.Duration(strings.Count(p, "again/")) * time.Hour); !st.ModTime().Equal(want) {
				t.Errorf("%s is of %v, want %v", p, st.ModTime(), want)
			}
		}
		return found
	}
	before := inodes()
	for p, ino := range before {
		if other := seen[ino]; other != "" && p != "" {
			t.Errorf("%s and %s have the same number", p, other)
		}
		seen[ino] = p
	}
	for _, p := range files {
		got, err := os.ReadFile(s.path(p))
		if err != nil || !bytes.Equal(got, content(own(p), fixtures["nested"][own(p)])) {
			t.Errorf("%s: %d bytes, %v", p, len(got), err)
		}
	}
	entered := s.ask("entered")
	for _, p := range dirs {
		if p == "" {
			continue
		}
		up, err := os.Stat(s.path(p) + "/..")
		if err != nil {
			t.Fatal(err)
		}
		if want := before[strings.TrimPrefix(path.Dir("/"+p), "/")]; up.Sys().(*syscall.Stat_t).Ino != want {
			t.Errorf("%s/.. is another", p)
		}
	}
	s.want("entered", entered) // once for all
	s.want("unmount", "ok")
	s.want("wait", "ok")
	other := start(t, config{Fixture: "nested", Target: s.dir + "-again"}.made(t))
	s.dir = other.dir
	for p, ino := range inodes() {
		if before[p] != ino {
			t.Errorf("%s has another number in the next mount", p)
		}
	}
}

func (c config) made(t *testing.T) config {
	if err := os.Mkdir(c.Target, 0o755); err != nil {
		t.Fatal(err)
	}
	return c
}

// What cannot be entered gives a number, is told in the log, and harms nothing else.
func TestPartsThatCannotBeEntered(t *testing.T) {
	s := start(t, config{Fixture: "nested"})
	for name, want := range map[string]error{
		"unreachable": unix.EHOSTUNREACH, "offline": unix.ENETUNREACH, "denied": unix.EREMOTEIO, "panic": unix.EIO,
		"again/unreachable": unix.EHOSTUNREACH,
	} {
		for range 2 {
			if _, err := os.ReadDir(s.path(name)); !errors.Is(err, want) {
				t.Errorf("listing %s: %v", name, err)
			}
			if _, err := os.Stat(s.path(name) + "/README"); !errors.Is(err, want) {
				t.Errorf("looking into %s: %v", name, err)
			}
		}
	}
	if _, err := os.Stat(s.path("again/README")); err != nil {
		t.Error(err)
	}
	s.stopLogged(t, "nobody answers", "switched off", "go away", "path=again/unreachable", "panic while serving")
}

// Who waits for a part can be killed at once, others go on meanwhile, and once it comes
// it is there for all.
func TestKilledWhileEntering(t *testing.T) {
	s := start(t, config{Fixture: "nested"})
	for _, args := range [][]string{{"ls", s.path("stuck")}, {"cat", s.path("stuck/README")}} {
		cmd := exec.Command(args[0], args[1:]...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		s.until("waiting", "1")
		if got, err := os.ReadFile(s.path("again/README")); err != nil || len(got) != 77 {
			t.Errorf("meanwhile: %d bytes, %v", len(got), err)
		}
		cmd.Process.Kill()
		ended := make(chan struct{})
		go func() { cmd.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Fatalf("%v cannot be killed", args)
		}
		s.until("waiting", "0")
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			out, err := exec.Command("sh", "-c", `ls "$0" && cat "$0/README"`, s.path("stuck")).Output()
			if err != nil || !bytes.Contains(out, content("README", 77)) {
				t.Errorf("%v", err)
			}
		})
	}
	eventually(t, "somebody to wait", func() bool { return s.ask("waiting") != "0" })
	s.want("release", "ok")
	all.Wait()
}

// Datasets may contain each other. There is an end.
func TestPartsAreNotNestedForEver(t *testing.T) {
	s := start(t, config{Fixture: "nested"})
	deep := s.dir + strings.Repeat("/again", 257)
	if _, err := os.Stat(deep); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(deep); err != nil || len(entries) != 0 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}

// What nobody looks at is forgotten, and entered again when somebody does: everything is
// as it was, also for who had something open, or stood there.
func TestForgottenParts(t *testing.T) {
	s := start(t, config{Fixture: "nested", Members: true})
	sleeper := exec.Command("sh", "-c", "read line && cat sub-01/anat/x.nii && pwd -P")
	sleeper.Dir = s.path("again")
	in, err := sleeper.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	sleeper.Stdout = &out
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	paths := []string{"again", "again/again", "again/again/sub-01", "ds000001/again/README", "ds000001/README"}
	numbers := make([]uint64, len(paths))
	for i, p := range paths {
		numbers[i] = inode(t, s.path(p))
	}
	f, err := os.Open(s.path("again/deep/er/y.nii"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	entered := s.ask("entered")
	s.want("forget nothing", "[]")
	s.want("forget", "[again again/again ds000001 ds000001/again]")
	s.want("forget", "[again again/again ds000001 ds000001/again]")
	s.want("entered", entered)

	got := make([]byte, 300_000)
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, content("deep/er/y.nii", 300_000)) {
		t.Errorf("what is open: %v", err)
	}
	if got, err := os.ReadFile(s.path("again/again/sub-01/anat/x.nii")); err != nil || !bytes.Equal(got, content("sub-01/anat/x.nii", 5000)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	for i, p := range paths {
		if inode(t, s.path(p)) != numbers[i] {
			t.Errorf("%s has another number", p)
		}
	}
	if _, err := os.ReadDir(s.path("ds000001/again")); err != nil {
		t.Error(err)
	}
	fmt.Fprintln(in)
	if err := sleeper.Wait(); err != nil || !bytes.HasPrefix(out.Bytes(), content("sub-01/anat/x.nii", 5000)) || !bytes.HasSuffix(out.Bytes(), []byte(s.path("again")+"\n")) {
		t.Errorf("who stood there: %d bytes, %v", out.Len(), err)
	}
	if now := s.ask("entered"); now == entered {
		t.Error("nothing was entered again")
	}

	// While all is forgotten again and again, everybody sees the same.
	var all sync.WaitGroup
	files, _ := nested(s.fixture, 1)
	done := make(chan struct{})
	for range 4 {
		all.Go(func() {
			for _, p := range files {
				if got, err := os.ReadFile(s.path(p)); err != nil || !bytes.Equal(got, content(own(p), fixtures["nested"][own(p)])) {
					t.Errorf("%s: %d bytes, %v", p, len(got), err)
				}
				if _, err := os.ReadDir(path.Dir(s.path(p))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() { all.Wait(); close(done) }()
	for alive := true; alive; {
		select {
		case <-done:
			alive = false
		default:
			s.ask("forget")
		}
	}
}

// Walks side by side see the same.
func TestPartsConcurrently(t *testing.T) {
	s := start(t, config{Fixture: "nested"})
	files, _ := nested(s.fixture, 2)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for _, p := range files {
				if got, err := os.ReadFile(s.path(p)); err != nil || !bytes.Equal(got, content(own(p), fixtures["nested"][own(p)])) {
					t.Errorf("%s: %d bytes, %v", p, len(got), err)
				}
			}
		})
	}
	all.Wait()
}
