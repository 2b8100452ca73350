package main_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

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

// A subdataset that is open in a mount is not removed from under it, nor is a member of a
// folder; both go when the mount is gone.
func TestSubdatasetInAMountIsNotCleaned(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, top, want := tree(t, u)
	_, folder := openNeuro(t, u)
	mnt, members := u.path("mnt"), u.path("members")
	u.must("mount", "--dataset", s.GitURL(top), mnt)
	u.must(append(folder, members)...)
	// One that nobody has looked into is not in use, whoever brought it.
	u.must("list", "--count", "--dataset", s.URL+"/git/leaf.git")
	u.must("clean", "leaf")
	readers(t, mnt, want, 4)()
	if _, err := os.ReadDir(filepath.Join(members, "ds000002")); err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]string{"leaf": mnt, "middle": mnt, "topmost": mnt, "ds000002": members, "all": members, "derivatives": members} {
		u.fails(1, []string{"it is mounted at " + at, "uniharmonyfs unmount " + at}, "clean", name)
	}
	u.fails(1, []string{"it is mounted at "}, "clean", "--all")
	readers(t, mnt, want, 4)()
	u.must("unmount", mnt)
	for _, name := range []string{"leaf", "middle", "topmost"} {
		if said := u.must("clean", name); !strings.Contains(said, "1 hidden clone and 3 files") {
			t.Errorf("it says\n%s", said)
		}
	}
	u.fails(1, []string{"it is mounted at " + members}, "clean", "ds000002")
	u.must("unmount", members)
	u.must("clean", "ds000002")
	u.must("clean", "--all")
	if left := namesIn(u.cache); len(left) > 0 {
		t.Errorf("left in the cache: %q", left)
	}
}
