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
		ref, err := repo.Reference(plumbing.ReferenceName(fmt.Sprintf(rule, rev)), true)
		if err == nil {
			return OID(ref.Hash().String()), nil
		}
		if !errors.Is(err, plumbing.ErrReferenceNotFound) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return "", err
		}
	}
	h, err := repo.ResolveRevision(plumbing.Revision(rev))
	if err != nil {
		return "", fmt.Errorf("%w: %v", fs.ErrNotExist, err)
	}
	return OID(h.String()), nil
}

func (g *goGit) stream(ctx context.Context, ids []OID, bare bool, fn func(i int, o object) error) error {
	for i, id := range ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		o, done, err := g.find(id, bare)
		if err != nil {
			return err
		}
		err = fn(i, o)
		done()
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// find finds an object; done is to be called when its content was read.
func (g *goGit) find(id OID, bare bool) (o object, done func(), err error) {
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
	o, done, err = g.findIn(g.stores, id, bare)
	if errors.Is(err, ErrMissing) {
		for _, s := range g.stores {
			s.Reindex() // there may be new packs
		}
		o, done, err = g.findIn(g.stores, id, bare)
	}
	if err != nil || o.size <= goGitLarge || bare {
		return o, done, err
	}
	// Too large to hold the lock for, and to hold in memory.
	stores, err := g.open()
	if err != nil {
		return object{}, nil, err
	}
	done = func() { closeStores(stores) }
	if o, _, err = g.findIn(stores, id, bare); err != nil {
		done()
	}
	return o, done, err
}

func (g *goGit) findIn(stores []*filesystem.ObjectStorage, id OID, bare bool) (o object, done func(), err error) {
	defer recoverDamage(&err)
	h := plumbing.NewHash(string(id))
	err = plumbing.ErrObjectNotFound
	var found plumbing.EncodedObject
	for _, s := range stores {
		// Of a miss go-git makes a slow search through the alternates.
		if len(stores) > 1 && s.HasEncodedObject(h) == plumbing.ErrObjectNotFound {
			continue
		}
		if bare {
			o.size, err = s.EncodedObjectSize(h)
		} else {
			found, err = s.EncodedObject(plumbing.AnyObject, h)
		}
		if err == nil {
			break
		}
	}
	if err == plumbing.ErrObjectNotFound && id == emptyTree {
		return object{kind: "tree", content: bytes.NewReader(nil)}, func() {}, nil
	}
	if err != nil {
		return object{}, nil, goGitError(id, err)
	}
	if bare {
		return o, func() {}, nil
	}
	r, err := found.Reader()
	if err != nil {
		return object{}, nil, goGitError(id, err)
	}
	return object{kind: found.Type().String(), size: found.Size(), content: r}, func() { r.Close() }, nil
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
