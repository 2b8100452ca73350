package gitstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
)

// defaultMaxObject is the size in bytes up to which objects are held in
// memory: far above every tree, link and sidecar of a dataset.
const defaultMaxObject = 64 << 20

var (
	// ErrMissing says that the repository should have an object and does not.
	ErrMissing = errors.New("object is missing")
	// ErrDamaged says that an object is there and cannot be read, is not what
	// its id says, or is malformed.
	ErrDamaged = errors.New("object is damaged")
	// ErrTooLarge says that an object is larger than Options.MaxObject.
	ErrTooLarge = errors.New("object is too large")
	// ErrClosed says that the store was closed before or during the call.
	ErrClosed = errors.New("store is closed")
)

// An OID is a git object id in lower-case hexadecimal, 40 digits.
type OID string

// valid reports whether id could name an object.
func (id OID) valid() bool {
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(id) == 2*rawID
}

// Options of a [Store]. The zero value reads through go-git.
type Options struct {
	// Git is the path of the git program; empty: go-git.
	Git string
	// MaxObject is the size in bytes of the largest object that is read as a
	// whole; 0: 64 MiB. Copy has no limit.
	MaxObject int64
}

// A Store reads one repository. It is safe for concurrent use.
type Store struct {
	backend backend
	max     int64
	trees   treeCache
}

// A backend finds objects; Store makes sense of them.
type backend interface {
	// resolve returns the object a revision names, without peeling tags;
	// an error is an fs.ErrNotExist when it names nothing.
	resolve(ctx context.Context, rev string) (OID, error)
	// stream calls fn with the objects, in order. With bare set, the objects
	// have no content. When reading the content fails, fn must return; it may
	// then be called again for the same object, which starts over.
	stream(ctx context.Context, ids []OID, bare bool, fn func(i int, o object) error) error
	io.Closer
}

// An object is one answer of a backend; content is valid during the call.
type object struct {
	kind    string // "blob", "tree", "commit", "tag"
	size    int64
	content io.Reader
}

// Open opens the repository in dir: bare, with a work tree, or a linked work
// tree. It fails on a directory that is no repository itself, even if one of
// its parents is, and on a repository with SHA-256 ids.
func Open(dir string, o Options) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	repo, err := findRepository(dir)
	if err != nil {
		return nil, fmt.Errorf("open git repository %s: %w", dir, err)
	}
	s := &Store{max: o.MaxObject}
	if s.max <= 0 {
		s.max = defaultMaxObject
	}
	if o.Git != "" {
		s.backend = newGit(o.Git, repo)
	} else {
		s.backend = newGoGit(repo)
	}
	return s, nil
}

// Close ends the children and lets go of all files. Calls under way fail with
// ErrClosed. It may be called more than once.
func (s *Store) Close() error { return s.backend.Close() }

// Resolve returns the commit that rev names: a branch, tag, full ref name,
// "HEAD" or commit id, or what git's revision syntax makes of them. Tags are
// peeled. The error is an fs.ErrNotExist when the repository knows no such
// revision, and wraps ErrMissing when it does but lacks the objects.
func (s *Store) Resolve(ctx context.Context, rev string) (OID, error) {
	id := OID(rev)
	if !id.valid() {
		if rev == "" || strings.HasPrefix(rev, "-") || strings.ContainsFunc(rev, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return "", fmt.Errorf("revision %.80q: %w", rev, fs.ErrNotExist)
		}
		var err error
		if id, err = s.backend.resolve(ctx, rev); err != nil {
			return "", fmt.Errorf("revision %.80q: %w", rev, err)
		}
	}
	for range 16 { // tags of tags; nobody nests them deeper
		kind, data, err := s.Read(ctx, id)
		if err != nil {
			return "", fmt.Errorf("revision %.80q: %w", rev, err)
		}
		switch kind {
		case "commit":
			return id, nil
		case "tag":
			if id, err = parseTag(data); err != nil {
				return "", fmt.Errorf("revision %.80q: tag: %w", rev, err)
			}
		default:
			return "", fmt.Errorf("revision %.80q is a %s, not a commit", rev, kind)
		}
	}
	return "", fmt.Errorf("revision %.80q: %w: too many tags of tags", rev, ErrDamaged)
}

// Commit reads a commit.
func (s *Store) Commit(ctx context.Context, id OID) (Commit, error) {
	kind, data, err := s.Read(ctx, id)
	if err != nil {
		return Commit{}, err
	}
	if kind != "commit" {
		return Commit{}, fmt.Errorf("%s is a %s, not a commit", id, kind)
	}
	c, err := parseCommit(data)
	if err != nil {
		return Commit{}, fmt.Errorf("commit %s: %w", id, err)
	}
	c.ID = id
	return c, nil
}

// Read returns a whole object. The error wraps ErrMissing, ErrDamaged or
// ErrTooLarge where one of them is the reason.
func (s *Store) Read(ctx context.Context, id OID) (kind string, data []byte, err error) {
	return s.read(ctx, id, s.max)
}

func (s *Store) read(ctx context.Context, id OID, max int64) (kind string, data []byte, err error) {
	err = s.readAll(ctx, []OID{id}, max, func(_ int, k string, d []byte) error {
		kind, data = k, d
		return nil
	})
	if err != nil {
		return "", nil, err
	}
	return kind, data, nil
}

// ReadAll calls fn with each of the objects, whole and in order. The ids are
// asked for ahead of the answers, so that many small objects cost no round
// trips. data is valid during the call only. ReadAll ends with the first
// error: fn's own, or that of an object, after which no further object is
// delivered. fn must not call the store: it would wait for a free child that
// it holds itself.
func (s *Store) ReadAll(ctx context.Context, ids []OID, fn func(i int, kind string, data []byte) error) error {
	return s.readAll(ctx, ids, s.max, fn)
}

// readAll is ReadAll for objects of at most max bytes.
func (s *Store) readAll(ctx context.Context, ids []OID, max int64, fn func(i int, kind string, data []byte) error) error {
	if err := validIDs(ids); err != nil {
		return err
	}
	var buf []byte
	return s.backend.stream(ctx, ids, false, func(i int, o object) error {
		if o.size > max {
			return fmt.Errorf("%s has %d bytes: %w", ids[i], o.size, ErrTooLarge)
		}
		if int64(cap(buf)) < o.size {
			buf = make([]byte, o.size+4096)
		}
		data := buf[:o.size]
		if _, err := io.ReadFull(o.content, data); err != nil {
			return fmt.Errorf("%s: %w: %v", ids[i], ErrDamaged, err)
		}
		if sum := hashObject(o.kind, data); sum != ids[i] {
			return fmt.Errorf("%s: %w: content has the id %s", ids[i], ErrDamaged, sum)
		}
		return fn(i, o.kind, data)
	})
}

// Sizes calls fn with the size in bytes of each of the objects, in order,
// without reading their content. It ends with the first error, as ReadAll
// does; fn must not call the store.
func (s *Store) Sizes(ctx context.Context, ids []OID, fn func(i int, size int64) error) error {
	if err := validIDs(ids); err != nil {
		return err
	}
	return s.backend.stream(ctx, ids, true, func(i int, o object) error { return fn(i, o.size) })
}

func validIDs(ids []OID) error {
	for _, id := range ids {
		if !id.valid() {
			return notAnID(id)
		}
	}
	return nil
}

func notAnID(id OID) error { return fmt.Errorf("not a git object id: %.80q", string(id)) }
