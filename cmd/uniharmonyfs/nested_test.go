package main_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// nested is three datasets within each other: top has mid, and leaf twice, mid has leaf.
type nested struct {
	top, mid, leaf *maker.Made
	parts          map[string]*maker.Made // by path in top, which itself is at ""
}

// nest makes three datasets within each other, each of n annexed files with content of
// their own, and has a server serve them.
func nest(t testing.TB, u *user, s *publisher.Server, remotes []maker.Remote, n int, size int64) nested {
	t.Helper()
	add := func(name string, below map[string]*maker.Made) *maker.Made {
		d := files(name, n, size)
		for i := range d.Files {
			d.Files[i].Seed += uint64(len(name)) << 32
		}
		var modules strings.Builder
		for path, m := range below {
			fmt.Fprintf(&modules, "[submodule %q]\n\tpath = %s\n\turl = ../%s.git\n", path, path, m.Dataset.Name)
			d.Files = append(d.Files, maker.File{Path: path, Commit: m.Commit()})
		}
		if len(below) > 0 {
			d.Files = append(d.Files, maker.File{Path: ".gitmodules", Data: []byte(modules.String())})
		}
		d.Remotes = remotes
		m, err := maker.Make(u.path(name), d)
		if err != nil {
			t.Fatal(err)
		}
		s.Add(m)
		return m
	}
	leaf := add("leaf", nil)
	mid := add("middle", map[string]*maker.Made{"deep/leaf": leaf})
	top := add("topmost", map[string]*maker.Made{"mid": mid, "leaf": leaf, "again/leaf": leaf})
	return nested{top, mid, leaf, map[string]*maker.Made{"": top, "mid": mid, "leaf": leaf, "again/leaf": leaf, "mid/deep/leaf": leaf}}
}

// want is the content of all files by their paths in top.
func (n nested) want(t testing.TB) map[string][]byte {
	t.Helper()
	want := make(map[string][]byte)
	for at, m := range n.parts {
		for path, data := range contents(t, m) {
			if m.Find(path).Commit == "" {
				want[filepath.Join(at, path)] = data
			}
		}
	}
	return want
}

// image is the path in top of the i-th annexed file of a part.
func (n nested) image(at string, i int) string {
	m := n.parts[at]
	return filepath.Join(at, m.Files[annexedFiles(m)[i]].Path)
}

// asked counts what a server is asked by git, and for content.
func asked(s *publisher.Server) (sinceThen func() int) {
	var git atomic.Int64
	s.SetGitFault(func(publisher.Request) publisher.Fault { git.Add(1); return nil })
	s.ResetCounts()
	return func() int { return int(git.Load()) + s.Counts().Requests }
}

// numbers are those of all that is below a directory, by path.
func numbers(t *testing.T, dir string) map[string]uint64 {
	t.Helper()
	all := make(map[string]uint64)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		all[rel] = info.Sys().(*syscall.Stat_t).Ino
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A damaged object of a subdataset is found where all of the mount is verified, and
// readers at all of its paths have the right bytes then.
func TestDamagedObjectOfASubdataset(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, unused := serve(t, u, files("unused", 1, 1000))
	n := nest(t, u, s, unused.Dataset.Remotes, 3, 20_000)
	want, mnt := n.want(t), u.path("mnt")
	u.must("mount", "--dataset", s.GitURL(n.top), mnt)
	readers(t, mnt, want, 4)()
	bad := map[*maker.Made]int{n.leaf: 1, n.mid: 0}
	for m, i := range bad {
		f := m.Files[annexedFiles(m)[i]]
		damage(t, u.cache, f.Key.FileName(), contents(t, m)[f.Path])
	}
	if said := u.must("verify", "--repair", mnt); !strings.Contains(said, "2 files had been damaged") || !strings.Contains(said, "Verified 9 files") {
		t.Errorf("verify says\n%s", said)
	}
	readers(t, mnt, want, 4)()

	// Of one part, by its path and by its dataset.
	one := n.leaf.Files[annexedFiles(n.leaf)[2]]
	for _, args := range [][]string{{filepath.Join(mnt, "again")}, {"--dataset", s.GitURL(n.leaf)}} {
		damage(t, u.cache, one.Key.FileName(), contents(t, n.leaf)[one.Path])
		if said := u.must(append([]string{"verify", "--repair"}, args...)...); !strings.Contains(said, "1 file had been damaged") {
			t.Errorf("%q says\n%s", args, said)
		}
		readers(t, mnt, want, 4)()
	}
	u.must("unmount", mnt)
}

// What is done to a directory is done to the files of the subdatasets below it that
// somebody has looked into; of one that nobody has looked into it is told.
func TestDirectoriesWithSubdatasets(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, unused := serve(t, u, files("unused", 1, 1000))
	n := nest(t, u, s, unused.Dataset.Remotes, 3, 20_000)
	mnt := u.path("mnt")
	u.must("mount", "--no-readahead", "--dataset", s.GitURL(n.top), mnt)
	u.fails(4, []string{"nobody has looked into", "ls " + filepath.Join(mnt, "mid")}, "pin", filepath.Join(mnt, "mid"))
	numbers(t, mnt)
	for _, c := range []struct{ do, at, says string }{
		{"prefetch", "mid", "Fetched 6 files"}, {"pin", "", "Pinned 9 files"}, {"unpin", "mid/deep", "Unpinned 3 files"},
		{"unpin", "", "Unpinned 9 files"}, {"evict", "again", "Dropped 3 files"}, {"evict", "", "Dropped 6 files"},
	} {
		if said := u.must(c.do, filepath.Join(mnt, c.at)); !strings.Contains(said, c.says) {
			t.Errorf("%s %q says\n%s", c.do, c.at, said)
		}
	}
	// What fails is told by its path in the mount.
	s.SetFault(publisher.Always(publisher.Status(404, 0)))
	u.fails(7, []string{"mid/deep/leaf/sub-00/anat/sub-00_run-000_T1w.nii.gz: "}, "prefetch", filepath.Join(mnt, "mid/deep"))
	if said := u.must("status", filepath.Join(mnt, "again")); !strings.Contains(said, "again/leaf/README") {
		t.Errorf("status says\n%s", said)
	}
	u.must("unmount", mnt)
}

// unmount --clean takes what the mount brought of its subdatasets, also what it brought
// before the daemon was ended, and leaves what another mount brought of them, has open, or reads.
func TestCleanOfANestedMountBesideAnother(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, unused := serve(t, u, files("unused", 1, 1000))
	n := nest(t, u, s, unused.Dataset.Remotes, 4, 20_000)
	want, mnt, other := n.want(t), u.path("mnt"), u.path("other")
	both := func() {
		t.Helper()
		u.must("mount", "--no-readahead", "--dataset", s.GitURL(n.top), mnt)
		u.must("mount", "--no-readahead", "--dataset", s.GitURL(n.mid), other)
	}
	read := func(dir, path string) {
		t.Helper()
		rel := path
		if dir == other {
			rel = strings.TrimPrefix(path, "mid/")
		}
		if got, err := os.ReadFile(filepath.Join(dir, rel)); err != nil || !bytes.Equal(got, want[path]) {
			t.Errorf("%s of %s: %d bytes, %v", rel, dir, len(got), err)
		}
	}
	for _, again := range []bool{false, true} {
		both()
		read(other, n.image("mid", 0))           // the other's
		read(other, n.image("mid/deep/leaf", 0)) // the other's
		read(mnt, n.image("mid", 1))
		read(mnt, n.image("mid/deep/leaf", 1))
		read(mnt, n.image("", 1))
		read(mnt, n.image("mid/deep/leaf", 2))
		if again {
			u.leaveDaemon()
			both() // and nobody looks into anything
		}
		f, err := os.Open(filepath.Join(other, "deep/leaf", n.leaf.Files[annexedFiles(n.leaf)[2]].Path))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if said := u.must("unmount", "--clean", mnt); !strings.Contains(said, "3 files") {
			t.Errorf("mounted again %v: it says\n%s", again, said)
		}
		since := asked(s)
		read(other, n.image("mid", 0))
		read(other, n.image("mid/deep/leaf", 0))
		if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, want[n.image("leaf", 2)]) {
			t.Errorf("what is open: %d bytes, %v", len(got), err)
		}
		if n := since(); n != 0 {
			t.Errorf("mounted again %v: %d requests for what the other mount uses", again, n)
		}
		read(other, n.image("mid", 1))
		f.Close()
		u.must("unmount", "--clean", other)
	}
}
