package job

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/control"
)

func inTemp(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return dir
}

func isThere(path string) bool { _, err := os.Lstat(path); return err == nil }

// A room that somebody is at work in stays, and one that was left goes, with what is ours
// in it and nothing else.
func TestSweep(t *testing.T) {
	dir := inTemp(t)
	mine := new(Room)
	if err := mine.Make(); err != nil {
		t.Fatal(err)
	}
	if err := mine.Make(); err != nil || !isThere(mine.View()) {
		t.Errorf("the second time: %v", err)
	}
	left := func(name string) string {
		t.Helper()
		room := filepath.Join(dir, roomName+name)
		if err := os.MkdirAll(filepath.Join(room, "view"), 0o700); err != nil {
			t.Fatal(err)
		}
		return room
	}
	empty, cached, served, others := left("EMPTY"), left("CACHED"), left("SERVED"), left("OTHERS")
	for _, room := range []string{cached, served} {
		if err := cacheIn(room).Make(); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := cacheIn(served).Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := os.WriteFile(filepath.Join(others, "somebody's"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "view")
	if err := os.Mkdir(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, roomName+"LINK")
	if err := os.Symlink(filepath.Dir(elsewhere), link); err != nil {
		t.Fatal(err)
	}
	Sweep()
	for path, stays := range map[string]bool{
		mine.View(): true, empty: false, cached: false, served: true, filepath.Join(others, "somebody's"): true, link: true, elsewhere: true,
	} {
		if isThere(path) != stays {
			t.Errorf("%s is there: %v", path, !stays)
		}
	}
	if err := mine.Close(); err != nil || isThere(filepath.Dir(mine.View())) {
		t.Errorf("at the end it is there: %v", err)
	}
	if err := new(Room).Close(); err != nil {
		t.Errorf("one that was never made: %v", err)
	}
	lock.Close()
	Sweep()
	if isThere(served) {
		t.Error("what nobody serves any more is there")
	}
}

// Two that make rooms, and sweep, at the same time are in nobody's way.
func TestRoomsAtTheSameTime(t *testing.T) {
	dir := inTemp(t)
	failed := make(chan error)
	for range 8 {
		go func() {
			var errs []error
			for range 50 {
				r := new(Room)
				errs = append(errs, r.Make())
				if r.dir != nil && !isThere(r.View()) {
					errs = append(errs, errors.New("it was swept"))
				}
				Sweep()
				errs = append(errs, r.Close())
			}
			failed <- errors.Join(errs...)
		}()
	}
	for range 8 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

func TestRoomThatCannotBe(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "nothing"))
	err := new(Room).Make()
	if !errors.Is(err, fs.ErrNotExist) || !slices.Contains(control.ToAdvice(err).Do, "set TMPDIR to a directory on a disk of this host") {
		t.Error(err)
	}
}

// A status is told of the view that it is about, and of all that waits.
func TestMoment(t *testing.T) {
	v := &Held{}
	v.Info.Target = "/view"
	var s control.Status
	if _, ok := v.moment(s); ok {
		t.Error("of a view that is not there")
	}
	s.Mounts = []control.MountInfo{{Target: "/other", Files: 9}, {Target: "/view", Files: 5, Cached: 2}}
	s.Store.Transfers = []cache.TransferStatus{
		{Name: "a", Done: 1, Total: 10}, {Name: "b", Done: 2, Total: 20, Waiters: 2, Out: "no network"}, {Name: "c", Total: 5},
	}
	m, ok := v.moment(s)
	if want := (Moment{Files: 5, Cached: 2, Fetching: 3, Done: 3, Total: 35, Name: "b", Waiting: 2, Out: "no network"}); !ok || m != want {
		t.Errorf("%+v, %v", m, ok)
	}
}

// What cannot be run is told by the exit codes that shells have.
func TestCannotRun(t *testing.T) {
	for name, code := range map[string]int{"/nothing/there": 127, "no such command": 127, "/etc/passwd": 126, "sh": 0, "{}/later": 0} {
		err := CanRun(name)
		exit := new(Exit)
		if errors.As(err, &exit); (err != nil) != (code != 0) || exit.Code != code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := CannotRun("sh", syscall.ENOEXEC); err.(*Exit).Code != 126 {
		t.Error(err)
	}
}
