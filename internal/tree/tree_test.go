package tree

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

func TestTreeAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		s, err := m.build(m.paths())
		if err != nil {
			t.Fatal(err)
		}
		seen := 1
		for path, want := range m {
			dir, ok := s.Find(path)
			if !ok || s.Kind(dir) != Dir || s.Path(dir) != path {
				t.Fatalf("Find(%q) = %d %v, its path is %q", path, dir, ok, s.Path(dir))
			}
			first, count := s.Children(dir)
			if count != len(want) {
				t.Fatalf("%q has %d entries, want %d", path, count, len(want))
			}
			for i, e := range sorted(want) {
				n := first + i
				got := Entry{s.Name(n), s.Kind(n), s.Size(n), s.Key(n), s.Target(n)}
				if got != e {
					t.Fatalf("%q: entry %d is %+v, want %+v", path, i, got, e)
				}
				if s.Parent(n) != dir {
					t.Fatalf("parent of %q is %d, want %d", s.Path(n), s.Parent(n), dir)
				}
				if k, ok := s.Lookup(dir, e.Name); !ok || k != n {
					t.Fatalf("Lookup(%q, %q) = %d %v, want %d", path, e.Name, k, ok, n)
				}
				if e.Kind == Annexed && !slices.Contains(s.WithKey(e.Key), n) {
					t.Fatalf("WithKey(%s) lacks node %d", e.Key, n)
				}
				for _, other := range s.WithKey(e.Key) {
					if s.Kind(other) != Annexed || s.Key(other) != e.Key {
						t.Fatalf("WithKey(%s) has node %d with key %s", e.Key, other, s.Key(other))
					}
				}
			}
			seen += count
			for _, part := range []string{"", "sub-", "sub-01_"} {
				if n, ok := s.Lookup(dir, part); ok && s.Name(n) != part {
					t.Fatalf("Lookup(%q, %q) = %d, which is %q", path, part, n, s.Name(n))
				}
			}
			absent := names.Draw(t, "absent")
			if n, ok := s.Lookup(dir, absent); ok != slices.ContainsFunc(want, func(e Entry) bool { return e.Name == absent }) {
				t.Fatalf("Lookup(%q, %q) = %d %v", path, absent, n, ok)
			}
		}
		if s.Len() != seen || s.Files() != seen-len(m) {
			t.Fatalf("%d nodes, %d files; want %d, %d", s.Len(), s.Files(), seen, seen-len(m))
		}
	})
}

// Names that do not repeat must not be kept for others for ever.
func TestManyTails(t *testing.T) {
	b := NewBuilder()
	entries := make([]Entry, maxTails+2000)
	for i := range entries {
		entries[i] = Entry{Name: fmt.Sprintf("sub-01_run-%06d", i), Kind: Link, Target: "x", Size: 1}
	}
	must(t, b.AddDir("", entries))
	if len(b.tails) != maxTails {
		t.Errorf("%d tails are kept, want %d", len(b.tails), maxTails)
	}
	s, err := b.Tree()
	must(t, err)
	for i, e := range entries {
		if n, ok := s.Lookup(0, e.Name); !ok || s.Name(n) != e.Name || n != i+1 {
			t.Fatalf("%q is node %d %q, %v", e.Name, n, s.Name(n), ok)
		}
	}
	if _, ok := s.Lookup(0, "sub-01_run-"); ok {
		t.Error("a stem is found")
	}
}

func TestNumberingIsTheCommits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		s, err := m.build(m.paths())
		if err != nil {
			t.Fatal(err)
		}
		// Another order: depth first, entries shuffled.
		shuffled := model{}
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		var paths []string
		var walk func(string)
		walk = func(p string) {
			paths = append(paths, p)
			es := slices.Clone(m[p])
			r.Shuffle(len(es), func(i, j int) { es[i], es[j] = es[j], es[i] })
			shuffled[p] = es
			for _, e := range es {
				if e.Kind == Dir {
					walk(join(p, e.Name))
				}
			}
		}
		walk("")
		s2, err := shuffled.build(paths)
		if err != nil {
			t.Fatal(err)
		}
		for n := range s.Len() {
			if s.Path(n) != s2.Path(n) || s.Key(n) != s2.Key(n) {
				t.Fatalf("node %d is %q or %q", n, s.Path(n), s2.Path(n))
			}
		}
	})
}

func TestEncodeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		s, err := m.build(m.paths())
		if err != nil {
			t.Fatal(err)
		}
		b := NewBuilder()
		for _, path := range m.paths() {
			dir, _ := s.Find(path)
			value := s.EncodeDir(dir)
			got, err := decodeDir(value)
			if err != nil || !slices.Equal(got, sorted(m[path])) {
				t.Fatalf("%q: decoded %+v, %v; want %+v", path, got, err, sorted(m[path]))
			}
			if err := b.AddEncoded(path, value); err != nil {
				t.Fatal(err)
			}
			bad := slices.Clone(value)
			bit := rapid.IntRange(0, 8*len(bad)-1).Draw(t, "flipped bit")
			bad[bit/8] ^= 1 << (bit % 8)
			if _, err := decodeDir(bad); !errors.Is(err, ErrDamaged) {
				t.Fatalf("%q with a flipped bit: %v", path, err)
			}
		}
		s2, err := b.Tree()
		if err != nil {
			t.Fatal(err)
		}
		for n := range s.Len() {
			if s.record(n) != s2.record(n) || s.Path(n) != s2.Path(n) {
				t.Fatalf("node %d: %+v, after the round trip %+v", n, s.record(n), s2.record(n))
			}
		}
	})
}

func TestFindIsExact(t *testing.T) {
	b := NewBuilder()
	must(t, b.AddDir("", []Entry{{Name: "a"}}))
	must(t, b.AddDir("a", []Entry{{Name: "b"}}))
	must(t, b.AddDir("a/b", nil))
	s, err := b.Tree()
	must(t, err)
	for _, path := range []string{"/", "/a", "a/", "a//b", "a/./b", "a/b/", "a/b/..", "b", "a/b/c", "A"} {
		if n, ok := s.Find(path); ok {
			t.Errorf("Find(%q) = %d", path, n)
		}
	}
	if n, ok := s.Find("a/b"); !ok || n != 2 {
		t.Errorf("Find(a/b) = %d %v", n, ok)
	}
}

func TestRefusedNames(t *testing.T) {
	key := annex.GitKey(strings.Repeat("ab", 20), 1)
	for _, name := range []string{
		"", ".", "..", ".git", ".GIT", ".Git", "a/b", "/", "a\x00b", "a\nb", "\x1b[2J", "\x7f",
		strings.Repeat("x", 256), "git~1", "GIT~1", ".git ", ".git.", ".git . ", ".git::$INDEX_ALLOCATION", ".g\u200cit", "\ufeff.git",
	} {
		for _, e := range []Entry{{Name: name}, {Name: name, Kind: Git, Size: 1, Key: key}, {Name: name, Kind: Link, Target: "x"}} {
			b := NewBuilder()
			must(t, b.AddDir("", []Entry{{Name: "sub-01"}}))
			err := b.AddDir("sub-01", []Entry{{Name: "fine"}, e})
			if !errors.Is(err, ErrUnsafe) {
				t.Fatalf("%q: %v", name, err)
			}
			if q := strings.Trim(strings.Split(err.Error(), "entry ")[1], " "); !strings.Contains(err.Error(), `"sub-01"`) || q[0] != '"' {
				t.Errorf("%q: the error does not say where: %v", name, err)
			}
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < 0x20 || r == 0x7f }) {
				t.Errorf("%q: control characters in the error", name)
			}
		}
	}
}

func TestRefusedDirectories(t *testing.T) {
	key := annex.GitKey(strings.Repeat("ab", 20), 1)
	file := Entry{Name: "f", Kind: Git, Size: 1, Key: key}
	cases := map[string]struct {
		dirs []string
		add  []Entry
		want error
	}{
		"twice the name":      {nil, []Entry{file, file}, ErrDuplicate},
		"file and directory":  {nil, []Entry{file, {Name: "f"}}, ErrDuplicate},
		"no parent":           {[]string{"", "x/y"}, nil, ErrOrder},
		"below a file":        {[]string{"", "f"}, nil, ErrOrder},
		"twice":               {[]string{"", ""}, nil, ErrDuplicate},
		"no key":              {nil, []Entry{{Name: "g", Kind: Annexed}}, ErrInvalid},
		"negative size":       {nil, []Entry{{Name: "g", Kind: Git, Size: -1, Key: key}}, ErrInvalid},
		"size over 2^53":      {nil, []Entry{{Name: "g", Kind: Git, Size: 1 << 53, Key: key}}, ErrInvalid},
		"not really a key":    {nil, []Entry{{Name: "g", Kind: Git, Size: 1, Key: annex.GitKey("a\nb", 1)}}, ErrInvalid},
		"kind":                {nil, []Entry{{Name: "g", Kind: 9}}, ErrInvalid},
		"link without target": {nil, []Entry{{Name: "l", Kind: Link}}, ErrInvalid},
		"long link":           {nil, []Entry{{Name: "l", Kind: Link, Target: strings.Repeat("x", 4096)}}, ErrInvalid},
		"link with NUL":       {nil, []Entry{{Name: "l", Kind: Link, Target: "a\x00"}}, ErrInvalid},
	}
	for name, c := range cases {
		b := NewBuilder()
		var err error
		for _, d := range c.dirs {
			if err == nil {
				err = b.AddDir(d, []Entry{file})
			}
		}
		if c.dirs == nil {
			err = b.AddDir("", c.add)
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestMissingDirectories(t *testing.T) {
	if _, err := NewBuilder().Tree(); !errors.Is(err, ErrMissing) {
		t.Errorf("no root: %v", err)
	}
	b := NewBuilder()
	must(t, b.AddDir("", []Entry{{Name: "a"}, {Name: "b"}}))
	must(t, b.AddDir("a", nil))
	_, err := b.Tree()
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("no b: %v", err)
	}
	if err := b.AddDir("b", nil); err == nil {
		t.Error("a spent builder took another directory")
	}
	if _, err := b.Tree(); err == nil {
		t.Error("a spent builder gave another tree")
	}
}

func TestDepthIsBounded(t *testing.T) {
	b := NewBuilder()
	path := ""
	for range 10_000 {
		if err := b.AddDir(path, []Entry{{Name: "d"}}); err != nil {
			if !errors.Is(err, ErrTooLarge) || len(path) < 4000 || len(err.Error()) > 1000 {
				t.Errorf("path of %d bytes: %.200v", len(path), err)
			}
			return
		}
		path = join(path, "d")
	}
	t.Error("10,000 levels were taken")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
