package gitstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func loosePath(dir string, id OID) string {
	return filepath.Join(dir, ".git", "objects", string(id[:2]), string(id[2:]))
}

// TestMissing takes an object away: what came before is delivered, the rest
// is an error, and the store stays of use.
func TestMissing(t *testing.T) {
	dir := newRepository(t)
	ids := allObjects(t, dir)
	tree := OID(gitRun(t, dir, "rev-parse", "main:sub-01/anat"))
	at := -1
	for i, id := range ids {
		if id == tree {
			at = i
		}
	}
	if at < 1 {
		t.Fatalf("the tree is object %d", at)
	}
	if err := os.Remove(loosePath(dir, tree)); err != nil {
		t.Fatal(err)
	}
	backends(t, func(t *testing.T, o Options) {
		s := open(t, dir, o)
		ctx := context.Background()
		n := 0
		err := s.ReadAll(ctx, ids, func(int, string, []byte) error { n++; return nil })
		if n != at || !errors.Is(err, ErrMissing) {
			t.Errorf("read %d objects before the missing %d: %v", n, at, err)
		}
		n = 0
		err = s.Sizes(ctx, ids, func(int, int64) error { n++; return nil })
		if n != at || !errors.Is(err, ErrMissing) {
			t.Errorf("%d sizes before the missing %d: %v", n, at, err)
		}
		if b, err := s.ReadPath(ctx, "main", "sub-01/anat/sub-01_T1w.json"); !errors.Is(err, ErrMissing) {
			t.Errorf("a path through the missing tree: %q, %v", b, err)
		}
		if _, err := s.Copy(ctx, tree, io.Discard); !errors.Is(err, ErrMissing) {
			t.Errorf("copy: %v", err)
		}
		checkObjects(t, s, dir, ids[:at])
		checkObjects(t, s, dir, ids[at+1:])
	})
}

// TestMissingWithAlternates looks for an object that is in neither place.
func TestMissingWithAlternates(t *testing.T) {
	dir := newRepository(t)
	gitRun(t, dir, "clone", "-q", "--bare", "--shared", dir, dir+"2")
	tree := OID(gitRun(t, dir, "rev-parse", "main:sub-01/anat"))
	if err := os.Remove(loosePath(dir, tree)); err != nil {
		t.Fatal(err)
	}
	backends(t, func(t *testing.T, o Options) {
		s := open(t, dir+"2", o)
		if _, _, err := s.Read(context.Background(), tree); !errors.Is(err, ErrMissing) || errors.Is(err, ErrDamaged) {
			t.Errorf("read: %v", err)
		}
		if err := s.Sizes(context.Background(), []OID{tree}, func(int, int64) error { return nil }); !errors.Is(err, ErrMissing) {
			t.Errorf("size: %v", err)
		}
	})
}

// broken reports whether err is one that a damaged repository may give.
func broken(err error) bool { return errors.Is(err, ErrDamaged) || errors.Is(err, ErrMissing) }

// TestDamagedLoose changes each byte of an object's file, and cuts the file
// off at each length: the content is right or there is an error.
func TestDamagedLoose(t *testing.T) {
	dir := newRepository(t)
	id := OID(gitRun(t, dir, "rev-parse", "main:sub-01/anat"))
	other := OID(gitRun(t, dir, "rev-parse", "main:README"))
	path := loosePath(dir, id)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	backends(t, func(t *testing.T, o Options) {
		try := func(what string, content []byte) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(dir, o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			kind, data, err := s.Read(context.Background(), id)
			switch {
			case err == nil && hashObject(kind, data) != id:
				t.Errorf("%s: wrong content", what)
			case err != nil && !errors.Is(err, ErrDamaged):
				t.Errorf("%s: %v", what, err)
			}
			if _, _, err := s.Read(context.Background(), other); err != nil {
				t.Errorf("%s: another object: %v", what, err)
			}
		}
		for i := range whole {
			if i%3 == 0 || i < 8 {
				b := bytes.Clone(whole)
				b[i] ^= 0x15
				try(fmt.Sprintf("byte %d changed", i), b)
			}
		}
		for n := 0; n < len(whole); n += 7 {
			try(fmt.Sprintf("cut off at %d", n), whole[:n])
		}
		try("another object's file", mustRead(t, loosePath(dir, other)))
		try("whole", whole)
		if kind, _, err := open(t, dir, o).Read(context.Background(), id); kind != "tree" || err != nil {
			t.Errorf("whole again: %s, %v", kind, err)
		}
	})
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDamagedPack does the same to the pack and to its index. Reading all
// objects gives all of them, right, or an error.
func TestDamagedPack(t *testing.T) {
	dir := newRepository(t)
	gitRun(t, dir, "repack", "-qad")
	ids := allObjects(t, dir)
	packs, err := filepath.Glob(filepath.Join(dir, ".git", "objects", "pack", "pack-*.*"))
	if err != nil || len(packs) < 2 {
		t.Fatalf("%q, %v", packs, err)
	}
	for _, path := range packs {
		if ext := filepath.Ext(path); ext != ".pack" && ext != ".idx" {
			continue
		}
		whole := mustRead(t, path)
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Ext(path)[1:], func(t *testing.T) {
			backends(t, func(t *testing.T, o Options) {
				failed := 0
				try := func(what string, content []byte) {
					if err := os.WriteFile(path, content, 0o600); err != nil {
						t.Fatal(err)
					}
					s, err := Open(dir, o)
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					n := 0
					err = s.ReadAll(context.Background(), ids, func(i int, kind string, data []byte) error {
						n++
						if hashObject(kind, data) != ids[i] {
							t.Errorf("%s: object %d is wrong", what, i)
						}
						return nil
					})
					switch {
					case err == nil && n != len(ids):
						t.Errorf("%s: %d of %d objects and no error", what, n, len(ids))
					case err != nil && !broken(err):
						t.Errorf("%s: %v", what, err)
					case err != nil:
						failed++
					}
				}
				for i := 0; i < len(whole); i += len(whole)/40 + 1 {
					b := bytes.Clone(whole)
					b[i] ^= 0x15
					try(fmt.Sprintf("byte %d changed", i), b)
				}
				for n := 0; n < len(whole); n += len(whole)/8 + 1 {
					try(fmt.Sprintf("cut off at %d", n), whole[:n])
				}
				if failed < 10 {
					t.Errorf("only %d of the damages were seen", failed)
				}
				if err := os.WriteFile(path, whole, 0o600); err != nil {
					t.Fatal(err)
				}
				checkObjects(t, open(t, dir, o), dir, ids[:5])
			})
		})
	}
}

// TestMalformed has objects that git stores and that are none of what they
// say.
func TestMalformed(t *testing.T) {
	dir := newRepository(t)
	hash := func(kind, content string) OID {
		return OID(gitIn(t, dir, content, "hash-object", "-w", "--literally", "-t", kind, "--stdin"))
	}
	badTree := hash("tree", "100644 a\x00short")
	noTree := hash("commit", "author a <a> 1 +0000\n\nx\n")
	readme := gitRun(t, dir, "rev-parse", "main:README")
	backends(t, func(t *testing.T, o Options) {
		s := open(t, dir, o)
		ctx := context.Background()
		for name, content := range map[string]string{
			"bad tree":    "tree " + string(badTree) + "\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\nx\n",
			"no time":     "tree " + string(badTree) + "\ncommitter a <a>\n\nx\n",
			"odd time":    "tree " + string(badTree) + "\ncommitter a <a> soon +0000\n\nx\n",
			"blob a tree": "tree " + readme + "\ncommitter a <a> 1 +0000\n\nx\n",
		} {
			id := hash("commit", content)
			if b, err := s.ReadPath(ctx, string(id), "a"); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: %q, %v", name, b, err)
			}
		}
		if _, err := s.Commit(ctx, noTree); !errors.Is(err, ErrDamaged) {
			t.Errorf("a commit without a tree: %v", err)
		}
		if _, err := s.Resolve(ctx, string(hash("tag", "type commit\n\nx\n"))); !errors.Is(err, ErrDamaged) {
			t.Errorf("a tag of nothing: %v", err)
		}
		c, err := s.Commit(ctx, hash("commit", "tree "+string(badTree)+"\ncommitter committer 5 <x> <y> 7 +0100\n\ncommitter z <z> 9\n"))
		if err != nil || c.Time.Unix() != 7 {
			t.Errorf("an odd committer: %v, %v", c, err)
		}
	})
}
