package gitstore

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"syscall"
)

// ReadPath returns the blob at a path of a commit, for example
// "git-annex" and "remote.log". For a symlink that is its target. The error is
// an fs.ErrNotExist when the commit has no such file (or a submodule there),
// wraps syscall.EISDIR for a directory, and wraps ErrMissing when a tree on the
// way is not in the repository. The trees last used are remembered, so that
// many lookups in one commit given by its id are cheap.
func (s *Store) ReadPath(ctx context.Context, rev, path string) ([]byte, error) {
	return s.ReadPathMax(ctx, rev, path, s.max)
}

// ReadPathMax is ReadPath for a blob of at most max bytes; the error wraps
// ErrTooLarge when it is larger.
func (s *Store) ReadPathMax(ctx context.Context, rev, path string, max int64) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("%.80q in %.80q: %w", path, rev, err)
	}
	if !fs.ValidPath(strings.ToValidUTF8(path, "?")) || path == "." {
		return fail(fs.ErrNotExist)
	}
	at, err := s.rootTree(ctx, rev)
	if err != nil {
		return fail(err)
	}
	for {
		name, rest, more := strings.Cut(path, "/")
		entry, ok, err := s.entry(ctx, at, name)
		switch {
		case err != nil:
			return fail(err)
		case !ok || entry.Mode == ModeSubmodule || more && entry.Mode != ModeDir:
			return fail(fs.ErrNotExist)
		case !more && entry.Mode == ModeDir:
			return fail(syscall.EISDIR)
		case !more:
			_, data, err := s.read(ctx, entry.ID, min(max, s.max))
			if err != nil {
				return fail(err)
			}
			return data, nil
		}
		at, path = entry.ID, rest
	}
}

// maxCached bounds the entries of all remembered trees together: a few MB.
const maxCached = 20000

// A treeCache remembers the trees that ReadPath went through, by id, and the
// root trees of commits.
type treeCache struct {
	mu    sync.Mutex // guards the following
	trees map[OID]map[string]TreeEntry
	roots map[OID]OID
	size  int
}

// rootTree returns the tree of the commit that rev names.
func (s *Store) rootTree(ctx context.Context, rev string) (OID, error) {
	s.trees.mu.Lock()
	tree, ok := s.trees.roots[OID(rev)]
	s.trees.mu.Unlock()
	if ok {
		return tree, nil
	}
	id, err := s.Resolve(ctx, rev)
	if err != nil {
		return "", err
	}
	c, err := s.Commit(ctx, id)
	if err != nil {
		return "", err
	}
	s.trees.mu.Lock()
	defer s.trees.mu.Unlock()
	if s.trees.roots == nil || len(s.trees.roots) > 1000 {
		s.trees.roots = make(map[OID]OID)
	}
	s.trees.roots[id] = c.Tree // by id only: names move
	return c.Tree, nil
}

// entry returns the entry of a tree by its name, and whether there is one.
func (s *Store) entry(ctx context.Context, tree OID, name string) (TreeEntry, bool, error) {
	s.trees.mu.Lock()
	entries, ok := s.trees.trees[tree]
	s.trees.mu.Unlock()
	if !ok {
		var err error
		if entries, err = s.readTree(ctx, tree); err != nil {
			return TreeEntry{}, false, err
		}
	}
	e, ok := entries[name]
	return e, ok, nil
}

func (s *Store) readTree(ctx context.Context, id OID) (map[string]TreeEntry, error) {
	kind, data, err := s.Read(ctx, id)
	if err != nil {
		return nil, err
	}
	if kind != "tree" {
		return nil, fmt.Errorf("%s: %w: a %s where a tree should be", id, ErrDamaged, kind)
	}
	list, err := ParseTree(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	entries := make(map[string]TreeEntry, len(list))
	for _, e := range list {
		entries[e.Name] = e
	}
	s.trees.mu.Lock()
	defer s.trees.mu.Unlock()
	if s.trees.trees == nil || s.trees.size+len(entries) > maxCached {
		s.trees.trees, s.trees.size = make(map[OID]map[string]TreeEntry), 0
	}
	s.trees.trees[id] = entries
	s.trees.size += len(entries) + 1
	return entries, nil
}
