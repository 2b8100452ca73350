package commit

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// tangle makes the same random tree of directories, files and links on disk and
// as a tree.
func tangle(t *testing.T, rng *rand.Rand, root string) *tree.Tree {
	t.Helper()
	dirs := []string{""}
	entries := map[string][]tree.Entry{"": nil}
	names := []string{"a", "b", "c", "d"}
	used := func(dir, name string) bool {
		return slices.ContainsFunc(entries[dir], func(e tree.Entry) bool { return e.Name == name })
	}
	add := func(kind tree.Kind, target string) {
		dir, name := dirs[rng.IntN(len(dirs))], names[rng.IntN(len(names))]
		if used(dir, name) || strings.Count(dir, "/") > 4 {
			return
		}
		at := path.Join(dir, name)
		e := tree.Entry{Name: name, Kind: kind, Target: target}
		var err error
		switch kind {
		case tree.Dir:
			dirs, entries[at] = append(dirs, at), nil
			err = os.Mkdir(filepath.Join(root, at), 0o755)
		case tree.Link:
			err = os.Symlink(target, filepath.Join(root, at))
		default:
			e.Key = annex.GitKey(strings.Repeat("0", 40), 0)
			err = os.WriteFile(filepath.Join(root, at), nil, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		entries[dir] = append(entries[dir], e)
	}
	for range 4 + rng.IntN(8) {
		add(tree.Dir, "")
	}
	for range 3 {
		add(tree.Git, "")
	}
	parts := append(names, "..", "..", "..", ".", "", "a", "b")
	for range 3 + rng.IntN(12) {
		var target []string
		for range 1 + rng.IntN(7) {
			target = append(target, parts[rng.IntN(len(parts))])
		}
		if to := strings.Join(target, "/"); to != "" {
			add(tree.Link, to)
		}
	}
	b := tree.NewBuilder()
	for _, dir := range dirs {
		if err := b.AddDir(dir, entries[dir]); err != nil {
			t.Fatal(err)
		}
	}
	s, err := b.Tree()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Links lead where the kernel says they do, which never leaves the tree.
func TestLinksAreFollowedAsTheKernelDoes(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	followedLinks := 0
	for round := range 300 {
		outer := t.TempDir()
		// What a link could reach outside.
		root := filepath.Join(outer, "a")
		os.MkdirAll(filepath.Join(outer, "b", "c"), 0o755)
		os.Mkdir(root, 0o755)
		s := tangle(t, rng, root)
		f := follower{s: s, known: make(map[int]followed)}
		fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		for n := range s.Len() {
			if s.Kind(n) != tree.Link {
				continue
			}
			want := -1
			at, err := openBeneath(fd, s.Path(n))
			if err == nil {
				real, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", at))
				unix.Close(at)
				rel, _ := filepath.Rel(root, real)
				if rel == "." {
					rel = ""
				}
				want, _ = s.Find(rel)
				followedLinks++
			} else if err == unix.ENOSYS {
				t.Skip("skipped: no openat2 on this machine")
			}
			if got := f.follow(n, 1).node; got != want {
				t.Fatalf("seed %d, round %d: %s -> %s leads to node %d, for the kernel (%v) to %d", seed, round, s.Path(n), s.Target(n), got, err, want)
			}
		}
	}
	if followedLinks < 100 {
		t.Errorf("only %d links led anywhere", followedLinks)
	}
}

// openBeneath opens what a path leads to. Where anything on the machine is renamed
// or mounted meanwhile, the kernel cannot say whether a ".." led out, and the
// caller is to ask again: openat2(2), EAGAIN.
func openBeneath(dir int, path string) (fd int, err error) {
	for {
		fd, err = unix.Openat2(dir, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH})
		if err != unix.EAGAIN && err != unix.EINTR {
			return fd, err
		}
	}
}

// A chain of links may have as many as the kernel follows.
func TestLongChainsOfLinks(t *testing.T) {
	b := tree.NewBuilder()
	var entries []tree.Entry
	const chain = 60
	for i := range chain {
		entries = append(entries, tree.Entry{Name: fmt.Sprintf("l%02d", i), Kind: tree.Link, Target: fmt.Sprintf("l%02d", i+1)})
	}
	entries = append(entries, tree.Entry{Name: fmt.Sprintf("l%02d", chain), Kind: tree.Dir})
	if err := b.AddDir("", entries); err != nil {
		t.Fatal(err)
	}
	if err := b.AddDir(fmt.Sprintf("l%02d", chain), nil); err != nil {
		t.Fatal(err)
	}
	s, err := b.Tree()
	if err != nil {
		t.Fatal(err)
	}
	f := follower{s: s, known: make(map[int]followed)}
	for i := range chain {
		n, _ := s.Find(fmt.Sprintf("l%02d", i))
		if leads := f.follow(n, 1).node >= 0; leads != (chain-i <= maxHops) {
			t.Errorf("a chain of %d links leads somewhere: %v", chain-i, leads)
		}
	}
}

// FuzzFollow: any target leads to a node of the tree, or to nothing.
func FuzzFollow(f *testing.F) {
	f.Add("a/../b", "../a", "./a//b/")
	f.Add("a", "b", "c")
	f.Add("..", "../..", "/")
	f.Fuzz(func(t *testing.T, x, y, z string) {
		b := tree.NewBuilder()
		key := annex.GitKey(strings.Repeat("0", 40), 0)
		top := []tree.Entry{{Name: "a", Kind: tree.Dir}, {Name: "b", Kind: tree.Link, Target: x}, {Name: "c", Kind: tree.Git, Key: key}}
		below := []tree.Entry{{Name: "a", Kind: tree.Git, Key: key}, {Name: "b", Kind: tree.Link, Target: y}, {Name: "c", Kind: tree.Link, Target: z}}
		if b.AddDir("", top) != nil || b.AddDir("a", below) != nil {
			return // no target of a link
		}
		s, err := b.Tree()
		if err != nil {
			t.Fatal(err)
		}
		walk := follower{s: s, known: make(map[int]followed)}
		for n := range s.Len() {
			if s.Kind(n) != tree.Link {
				continue
			}
			if to := walk.follow(n, 1); to.node >= 0 && (to.node >= s.Len() || s.Kind(to.node) == tree.Link || to.hops > maxHops) {
				t.Errorf("%s leads to %+v", s.Path(n), to)
			}
		}
	})
}

// FuzzStoredDirectory: what the index has kept is a directory or an error.
func FuzzStoredDirectory(f *testing.F) {
	f.Add("", []byte{1, 0})
	f.Add("a", []byte{})
	f.Fuzz(func(t *testing.T, path string, value []byte) {
		b := tree.NewBuilder()
		b.AddEncoded(path, value)
		b.Tree()
	})
}
