package gitstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/go-git/go-billy/v5/osfs"
	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

const (
	// goGitCache is the memory, in bytes, for the objects that others are
	// stored as differences from.
	goGitCache = 16 << 20
	// goGitLarge is the size in bytes from which on an object is streamed.
	goGitLarge = 8 << 20
	// emptyTree is an id that git knows without having the object.
	emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
)

// goGit is the backend without a git program.
//
// go-git's storage is for one goroutine at a time; it keeps the packs open and
// seeks in them. Objects are therefore found under the lock, and what fn gets
// is in memory or has a file of its own.
type goGit struct {
	repo repository

	mu     sync.Mutex // guards the following
	stores []*filesystem.ObjectStorage
	closed bool
}

func newGoGit(repo repository) *goGit { return &goGit{repo: repo} }

func (g *goGit) resolve(ctx context.Context, rev string) (id OID, err error) {
	defer recoverDamage(&err)
	if err := ctx.Err(); err != nil {
		return "", err
	}
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed {
		return "", ErrClosed
	}
	dir := dotgit.NewRepositoryFilesystem(osfs.New(g.repo.own), osfs.New(g.repo.common))
	storage := filesystem.NewStorage(dir, cache.NewObjectLRU(goGitCache))
	defer storage.Close()
	repo, err := gogit.Open(storage, nil)
	if err != nil {
		return "", err
	}
	for _, rule := range plumbing.RefRevParseRules {
		name := fmt.Sprintf(rule, rev)
		if !strings.HasPrefix(name, "refs/") && name != "HEAD" {
			continue
		}
		ref, err := repo.Reference(plumbing.ReferenceName(name), true)
		if err == nil {
			return OID(ref.Hash().String()), nil
		}
		if !noReference(err) {
			return "", err
		}
	}
	h, err := repo.ResolveRevision(plumbing.Revision(rev))
	if err != nil {
		return "", fmt.Errorf("%w: %v", fs.ErrNotExist, err)
	}
	return OID(h.String()), nil
}

// noReference reports whether err says that there is no reference of a name,
// or can be none.
func noReference(err error) bool {
	for _, e := range []error{
		plumbing.ErrReferenceNotFound, dotgit.ErrReferenceNameEscape,
		fs.ErrNotExist, syscall.ENOTDIR, syscall.EISDIR, syscall.ENAMETOOLONG,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (g *goGit) stream(ctx context.Context, ids []OID, bare bool, fn func(i int, o object) error) error {
	for i, id := range ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		o, done, err := g.find(ctx, id, bare)
		if err != nil {
			return err
		}
		err = fn(i, o)
		done()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// find finds an object; done is to be called when its content was read.
func (g *goGit) find(ctx context.Context, id OID, bare bool) (o object, done func(), err error) {
	defer recoverDamage(&err)
	done = func() {}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return object{}, nil, ErrClosed
	}
	if g.stores == nil {
		if g.stores, err = g.open(); err != nil {
			return object{}, nil, err
		}
	}
	if bare {
		o.size, err = lookup(g.stores, id, (*filesystem.ObjectStorage).EncodedObjectSize)
		return o, done, err
	}
	found, err := lookup(g.stores, id, readObject)
	if err != nil {
		if errors.Is(err, ErrMissing) && id == emptyTree {
			return object{kind: "tree", content: bytes.NewReader(nil)}, done, nil
		}
		return object{}, nil, err
	}
	o = object{kind: found.Type().String(), size: found.Size()}
	if o.size > goGitLarge {
		o.content, done, err = g.openLarge(ctx, id)
		return o, done, err
	}
	r, err := found.Reader()
	if err != nil {
		return object{}, nil, goGitError(id, err)
	}
	o.content = r
	return o, func() { r.Close() }, nil
}

func readObject(s *filesystem.ObjectStorage, h plumbing.Hash) (plumbing.EncodedObject, error) {
	return s.EncodedObject(plumbing.AnyObject, h)
}

// lookup asks the stores in turn, and again if there may be new packs.
func lookup[T any](stores []*filesystem.ObjectStorage, id OID, get func(*filesystem.ObjectStorage, plumbing.Hash) (T, error)) (T, error) {
	h := plumbing.NewHash(string(id))
	var none T
	var err error
	for range 2 {
		err = plumbing.ErrObjectNotFound
		for _, s := range stores {
			// After a miss go-git itself makes a slow search of alternates.
			if len(stores) > 1 && s.HasEncodedObject(h) == plumbing.ErrObjectNotFound {
				continue
			}
			var found T
			if found, err = get(s, h); err == nil {
				return found, nil
			}
		}
		if err = goGitError(id, err); !errors.Is(err, ErrMissing) {
			return none, err
		}
		for _, s := range stores {
			s.Reindex()
		}
	}
	return none, err
}

// goGitError says whether an object is missing or damaged.
func goGitError(id OID, err error) error {
	errno := syscall.Errno(0)
	switch {
	case errors.Is(err, plumbing.ErrObjectNotFound), errors.Is(err, dotgit.ErrPackfileNotFound):
		return fmt.Errorf("%s: %w: %v", id, ErrMissing, err)
	case errors.As(err, &errno):
		return fmt.Errorf("%s: %w", id, err) // the system's fault, not the object's
	}
	return fmt.Errorf("%s: %w: %v", id, ErrDamaged, err)
}

// recoverDamage makes an error of a panic inside go-git: damaged packs have
// led to some.
func recoverDamage(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", ErrDamaged, p)
	}
}

// open opens the objects of the repository and of its alternates.
func (g *goGit) open() ([]*filesystem.ObjectStorage, error) {
	dirs := []string{filepath.Join(g.repo.common, "objects")}
	for i := 0; i < len(dirs) && i < 32; i++ {
		more, err := alternates(dirs[i])
		if err != nil {
			return nil, err
		}
		for _, d := range more {
			if !slices.Contains(dirs, d) {
				dirs = append(dirs, d)
			}
		}
	}
	shared := cache.NewObjectLRU(goGitCache)
	var stores []*filesystem.ObjectStorage
	for _, d := range dirs {
		if filepath.Base(d) != "objects" {
			continue // go-git cannot look there; what is in it will be missed
		}
		stores = append(stores, filesystem.NewObjectStorageWithOptions(
			dotgit.New(osfs.New(filepath.Dir(d))), shared,
			filesystem.Options{KeepDescriptors: true, LargeObjectThreshold: goGitLarge}))
	}
	return stores, nil
}

// alternates returns the further object directories that one names.
func alternates(objects string) (dirs []string, err error) {
	b, err := readFileIfAny(filepath.Join(objects, "info", "alternates"))
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" && line[0] != '#' {
			dirs = append(dirs, beside(objects, line))
		}
	}
	return dirs, err
}

func closeStores(stores []*filesystem.ObjectStorage) error {
	var errs []error
	for _, s := range stores {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// Close lets go of the packs.
func (g *goGit) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	stores := g.stores
	g.closed, g.stores = true, nil
	return closeStores(stores)
}
