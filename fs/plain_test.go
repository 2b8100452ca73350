package fs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// TestPlain looks at one dataset in all ways, served in all ways.
func TestPlain(t *testing.T) {
	for name, run := range map[string]func(*testing.T) *server{
		"cached": func(t *testing.T) *server { return start(t, config{Fixture: "plain"}) },
		"one CPU": func(t *testing.T) *server {
			return start(t, config{Fixture: "plain", StatFs: true}, "GOMAXPROCS=1")
		},
		"passthrough": func(t *testing.T) *server {
			s := start(t, config{Fixture: "plain", Objects: t.TempDir()})
			if s.ask("passthrough") != "true" {
				t.Skip("no passthrough here: it needs root and Linux 6.9")
			}
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := run(t)
			for _, c := range []struct {
				name string
				test func(*testing.T, *server)
			}{
				{"TestFS", testFS}, {"readers", testReaders}, {"stat", testStat}, {"big directory", testBigDirectory},
				{"statfs", testStatfs}, {"links", testLinks}, {"absent", testAbsent}, {"control", testControl},
				{"tools", testTools}, {"mmap", testMmap},
			} {
				t.Run(c.name, func(t *testing.T) { c.test(t, s) })
			}
			s.until("open", "0")
		})
	}
}

func testFS(t *testing.T, s *server) {
	sub, err := fs.Sub(os.DirFS(s.dir), "sub-01")
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(sub, "anat/sub-01_T1w.nii.gz", "anat/sub-01_T1w.json", "func/sub-01_task-rest_bold.nii.gz", "link"); err != nil {
		t.Error(err)
	}
}

func testReaders(t *testing.T, s *server) {
	for name, size := range fixtures["plain"] {
		if strings.HasPrefix(name, "many/") && name < "many/file-48" || path.Base(name) == "not-shown" {
			continue
		}
		want := content(name, size)
		got, err := os.ReadFile(s.path(name))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: %d bytes, %v; want %d", name, len(got), err, size)
		}
		if size > 5000 || strings.HasPrefix(name, "many/") {
			continue
		}
		f, err := os.Open(s.path(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(f, want); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		f.Close()
	}
}

func testStat(t *testing.T, s *server) {
	for name, n := range s.paths() {
		var st unix.Stat_t
		if err := unix.Lstat(s.path(name), &st); err != nil {
			t.Fatal(err)
		}
		mode, links := uint32(unix.S_IFREG|0o444), 1
		switch s.tree.Kind(n) {
		case tree.Link:
			mode = unix.S_IFLNK | 0o777
		case tree.Dir:
			mode, links = unix.S_IFDIR|0o555, 2
			for _, c := range s.view.Entries(n) {
				if s.tree.Kind(int(c)) == tree.Dir {
					links++
				}
			}
		}
		size := s.view.Size(n)
		want := fmt.Sprint(n+1, size, (size+511)/512, mode, links, os.Geteuid(), os.Getegid(), testTime.Unix(), testTime.Nanosecond())
		if got := fmt.Sprint(st.Ino, st.Size, st.Blocks, st.Mode, st.Nlink, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

func testBigDirectory(t *testing.T, s *server) {
	for range 2 { // from the server, from the kernel
		entries, err := os.ReadDir(s.path("many"))
		if err != nil || len(entries) != 5000 {
			t.Fatalf("%d entries, %v", len(entries), err)
		}
		f, err := os.Open(s.path("many"))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for {
			some, err := f.Readdirnames(17)
			names = append(names, some...)
			if err != nil {
				break
			}
		}
		f.Close()
		if !slices.IsSorted(names) || len(slices.Compact(names)) != 5000 {
			t.Fatalf("%d names, or not in order", len(names))
		}
		if out, err := exec.Command("ls", "-l", s.path("many")).Output(); err != nil || bytes.Count(out, []byte("\n")) != 5001 {
			t.Fatalf("ls -l: %d lines, %v", bytes.Count(out, []byte("\n")), err)
		}
	}
}

func testStatfs(t *testing.T, s *server) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		t.Fatal(err)
	}
	total, free := uint64(s.view.Bytes()+4095)/4096, uint64(0)
	if s.cfg.StatFs {
		total, free = 1<<28, 1<<27
	}
	want := fmt.Sprint(total, free, free, s.view.Nodes(), 4096, 255)
	if got := fmt.Sprint(st.Blocks, st.Bfree, st.Bavail, st.Files, st.Bsize, st.Namelen); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if flags := st.Flags; flags&unix.ST_RDONLY == 0 || flags&unix.ST_NOSUID == 0 || flags&unix.ST_NODEV == 0 {
		t.Errorf("flags are %#x", flags)
	}
}

func testLinks(t *testing.T, s *server) {
	for name, want := range map[string]string{"sub-01/link": "anat/sub-01_T1w.json", "dangling": "../no/where"} {
		for range 2 {
			if got, err := os.Readlink(s.path(name)); got != want || err != nil {
				t.Errorf("%s -> %q, %v", name, got, err)
			}
		}
	}
	if got, err := os.ReadFile(s.path("sub-01/link")); err != nil || len(got) != 4095 {
		t.Errorf("through the link: %d bytes, %v", len(got), err)
	}
	if _, err := os.ReadFile(s.path("dangling")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the dangling link: %v", err)
	}
}

func testAbsent(t *testing.T, s *server) {
	for _, name := range []string{
		".DS_Store", ".Trash", ".Trash-1000", ".hidden", "autorun.inf", ".directory", ".xdg-volume-info", "desktop.ini",
		"Thumbs.db", ".git", ".datalad", "README ", "readme", "sub-02/hidden", "sub-02/hidden/not-shown", "zzz", "a",
		"sub-01/.uniharmonyfs", strings.Repeat("y", 255),
	} {
		for range 2 {
			if _, err := os.Lstat(s.path(name)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	if _, err := os.Lstat(s.path("README/x")); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("below a file: %v", err)
	}
	if _, err := os.Lstat(s.path(strings.Repeat("y", 256))); !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Errorf("a long name: %v", err)
	}
	if _, err := unix.Getxattr(s.path("README"), "user.x", make([]byte, 9)); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("getxattr: %v", err)
	}
}

func testControl(t *testing.T, s *server) {
	root, err := os.ReadDir(s.dir)
	if err != nil || slices.ContainsFunc(root, func(e os.DirEntry) bool { return e.Name() == ".uniharmonyfs" }) {
		t.Errorf("the control directory is listed, or %v", err)
	}
	dir := s.path(".uniharmonyfs")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 || entries[0].Name() != "errors" || entries[1].Name() != "status" {
		t.Errorf("it lists %v, %v", entries, err)
	}
	for i := 1; i <= 3; i++ { // made anew each time
		got, err := os.ReadFile(filepath.Join(dir, "status"))
		if want := fmt.Sprintf("read %d times\n", i); err != nil || !strings.HasPrefix(string(got), want) || len(got) != len(want)+10_000 {
			t.Errorf("status has %d bytes, %.20q, %v; want %q", len(got), got, err, want)
		}
	}
	if got, err := os.ReadFile(filepath.Join(dir, "errors")); err != nil || len(got) != 0 {
		t.Errorf("errors: %q, %v", got, err)
	}
	if _, err := os.ReadFile(filepath.Join(dir, "other")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("other: %v", err)
	}
	if _, err := os.ReadFile(dir); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("reading the directory: %v", err)
	}
	if st, err := os.Stat(filepath.Join(dir, "status")); err != nil || st.Mode() != 0o444 {
		t.Errorf("stat: %v, %v", st, err)
	}
}

func testTools(t *testing.T, s *server) {
	to := t.TempDir()
	script := `set -e; cd "$1"
test "$(find . -type f | wc -l)" = "$3"; test "$(find . -size +0 -type f | wc -l)" = "$4"; test "$(find . -type l | wc -l)" = 2
ls -lRa . >/dev/null; du -s . >/dev/null; cat many/file-00* | md5sum; cp -r sub-01 sub-02 "$2"; diff -r sub-01 "$2/sub-01"
(cd "$2" && find . -type f -print0 | xargs -0 md5sum) | md5sum -c --quiet
tar cf - sub-01 | tar tf - | wc -l; head -c 348 sub-01/anat/sub-01_T1w.nii.gz | wc -c; tail -c 5 README | wc -c; chmod -R u+w "$2"`
	files, filled := 0, 0
	for name, n := range s.paths() {
		if k := s.tree.Kind(n); k == tree.Annexed && name != "" {
			files++
			if s.view.Size(n) > 0 {
				filled++
			}
		}
	}
	out, err := exec.Command("sh", "-c", script, "sh", s.dir, to, fmt.Sprint(files), fmt.Sprint(filled)).CombinedOutput()
	if err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

func testMmap(t *testing.T, s *server) {
	const name = "sub-02/anat/sub-02_T1w.nii.gz"
	f, err := os.Open(s.path(name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := content(name, fixtures["plain"][name])
	for _, flags := range []int{unix.MAP_SHARED, unix.MAP_PRIVATE} {
		mem, err := unix.Mmap(int(f.Fd()), 0, len(want), unix.PROT_READ, flags)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(mem, want) {
			t.Error("the map has other bytes")
		}
		unix.Munmap(mem)
	}
	if _, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); !errors.Is(err, unix.EACCES) {
		t.Errorf("a writable map: %v", err)
	}
}
