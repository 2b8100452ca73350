package index

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

const (
	// maxPointer is the size in bytes above which git-annex takes no file
	// for a pointer file (https://git-annex.branchable.com/internals/pointer_file/).
	maxPointer = 32 << 10

	// maxDepth bounds directories below each other; Linux paths end near it.
	maxDepth = 1000
)

// git's file modes, as tree objects spell them.
const (
	modeDir       = 0o040000
	modeLink      = 0o120000
	modeSubmodule = 0o160000
)

// reader reads one commit: all trees level by level, then the sizes of blobs,
// then symlinks and whatever could be a pointer file.
type reader struct {
	git      *gitstore.Store
	progress Progress

	dirs  []*dir // parents first
	links []place
	blobs []place

	done, total int
}

type dir struct {
	path    string
	id      gitstore.OID
	entries []tree.Entry
	gone    []bool // entries that turned out to be unshowable
}

// place is where an entry whose content must be looked at stands.
type place struct {
	dir   *dir
	entry int
	id    gitstore.OID
}

func (p place) at() *tree.Entry { return &p.dir.entries[p.entry] }
func (p place) path() string    { return path.Join(p.dir.path, p.at().Name) }

func readSnapshot(ctx context.Context, git *gitstore.Store, commit gitstore.OID, progress Progress) (*Snapshot, error) {
	c, err := git.Commit(ctx, commit)
	if err != nil {
		return nil, err
	}
	r := &reader{git: git, progress: progress}
	if err := r.readTrees(ctx, c.Tree); err != nil {
		return nil, err
	}
	if err := r.readBlobs(ctx); err != nil {
		return nil, err
	}
	hidden, err := r.readLinks(ctx)
	if err != nil {
		return nil, err
	}
	return r.finish(&Snapshot{Commit: c.ID, Time: c.Time, Hidden: hidden})
}

func (r *reader) readTrees(ctx context.Context, root gitstore.OID) error {
	level := []*dir{{id: root}}
	for depth := 0; len(level) > 0; depth++ {
		if depth > maxDepth {
			return fmt.Errorf("directories are nested deeper than %d, at %.200q", maxDepth, level[0].path)
		}
		ids := make([]gitstore.OID, len(level))
		for i, d := range level {
			ids[i] = d.id
		}
		var below []*dir
		err := r.git.ReadAll(ctx, ids, func(i int, kind string, data []byte) error {
			if kind != "tree" {
				return fmt.Errorf("%w: %s of directory %q is a %s, not a tree", gitstore.ErrDamaged, ids[i], level[i].path, kind)
			}
			sub, err := r.parse(level[i], data)
			below = append(below, sub...)
			return err
		})
		if err != nil {
			return err
		}
		r.dirs = append(r.dirs, level...)
		level = below
	}
	return nil
}

// parse fills d from its tree object and returns its sub-directories.
func (r *reader) parse(d *dir, data []byte) (below []*dir, err error) {
	list, err := gitstore.ParseTree(data)
	if err != nil {
		return nil, fmt.Errorf("directory %q: %w", d.path, err)
	}
	d.entries = make([]tree.Entry, len(list))
	d.gone = make([]bool, len(list))
	for i, e := range list {
		d.entries[i].Name = e.Name
		p := place{dir: d, entry: i, id: e.ID}
		switch e.Mode {
		case modeDir:
			d.entries[i].Kind = tree.Dir
			below = append(below, &dir{path: path.Join(d.path, e.Name), id: e.ID})
		case modeSubmodule:
			// A subdataset that was not asked for: an empty directory.
			d.entries[i].Kind = tree.Dir
			r.dirs = append(r.dirs, &dir{path: path.Join(d.path, e.Name)})
		case modeLink:
			d.entries[i].Kind = tree.Link
			r.links = append(r.links, p)
		default:
			d.entries[i].Kind = tree.Git
			r.blobs = append(r.blobs, p)
		}
	}
	r.total += len(list)
	r.step(len(below))
	return below, nil
}

func (r *reader) step(n int) {
	r.done += n
	r.progress(r.done, r.total)
}

// readBlobs finds the sizes of regular files and the unlocked annexed ones
// among them.
func (r *reader) readBlobs(ctx context.Context) error {
	var small []place
	err := r.git.Sizes(ctx, ids(r.blobs), func(i int, size int64) error {
		p := r.blobs[i]
		p.at().Size, p.at().Key = size, annex.GitKey(string(p.id), size)
		if size <= maxPointer {
			small = append(small, p)
		} else {
			r.step(1)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.git.ReadAll(ctx, ids(small), func(i int, kind string, data []byte) error {
		r.step(1)
		if kind != "blob" {
			return fmt.Errorf("%w: %q is a %s, not a file", gitstore.ErrDamaged, small[i].path(), kind)
		}
		if key, ok := annex.ParsePointer(data); ok {
			small[i].annexed(key)
		}
		return nil
	})
}

// annexed makes the entry the annexed file of key.
func (p place) annexed(key annex.Key) {
	e := p.at()
	e.Kind, e.Key, e.Target = tree.Annexed, key, ""
	e.Size, _ = key.Size()
	if _, ok := key.Size(); !ok {
		e.Size = -1
	}
}

// readLinks turns git-annex's symlinks into annexed files. Other symlinks to
// a file of the dataset become that file, those to a directory stay links,
// and the rest can mean nothing inside a mount and are hidden.
func (r *reader) readLinks(ctx context.Context) (hidden []Hidden, err error) {
	var others []place
	err = r.git.ReadAll(ctx, ids(r.links), func(i int, kind string, data []byte) error {
		r.step(1)
		p := r.links[i]
		if kind != "blob" {
			return fmt.Errorf("%w: symlink %q is a %s", gitstore.ErrDamaged, p.path(), kind)
		}
		if key, ok := annex.ParseLink(string(data)); ok {
			p.annexed(key)
			return nil
		}
		p.at().Target = string(data)
		others = append(others, p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	hide := func(p place, why string) {
		hidden = append(hidden, Hidden{Path: p.path(), Why: why})
		p.dir.gone[p.entry] = true
	}
	if len(others) > 0 {
		r.follow(others, hide)
	}
	for _, d := range r.dirs {
		for i, e := range d.entries {
			if e.Size < 0 {
				hide(place{dir: d, entry: i}, "its git-annex key says no size: "+e.Key.String())
			}
		}
	}
	slices.SortFunc(hidden, func(a, b Hidden) int { return cmp.Compare(a.Path, b.Path) })
	return hidden, nil
}

// follow resolves symlinks inside the commit, by name only.
func (r *reader) follow(links []place, hide func(place, string)) {
	entries := make(map[string]*tree.Entry)
	for _, d := range r.dirs {
		for i := range d.entries {
			entries[path.Join(d.path, d.entries[i].Name)] = &d.entries[i]
		}
	}
	target := func(from string, e *tree.Entry) (string, bool) {
		if path.IsAbs(e.Target) || e.Target == "" || strings.IndexByte(e.Target, 0) >= 0 {
			return "", false
		}
		to := path.Join(path.Dir(from), e.Target)
		return to, to != ".." && !strings.HasPrefix(to, "../")
	}
	type found struct {
		p place
		e tree.Entry
	}
	var files []found
	for _, p := range links {
		at, e := p.path(), p.at()
		for hops := 0; e != nil && e.Kind == tree.Link; hops++ {
			to, inside := target(at, e)
			if !inside || hops == 40 {
				e = nil
				break
			}
			at, e = to, entries[to]
			if to == "." {
				e = &tree.Entry{Kind: tree.Dir}
			}
		}
		switch {
		case e == nil:
			hide(p, fmt.Sprintf("a symlink to nothing inside the dataset: %.200q", p.at().Target))
		case e.Kind == tree.Dir:
		default:
			files = append(files, found{p, *e})
		}
	}
	for _, f := range files {
		name := f.p.at().Name
		*f.p.at() = f.e
		f.p.at().Name = name
	}
}

func (r *reader) finish(s *Snapshot) (*Snapshot, error) {
	slices.SortStableFunc(r.dirs, func(a, b *dir) int { return cmp.Compare(a.path, b.path) })
	b := tree.NewBuilder()
	for _, d := range r.dirs {
		shown := make([]tree.Entry, 0, len(d.entries))
		for i, e := range d.entries {
			if d.gone[i] {
				continue
			}
			shown = append(shown, e)
			s.Bytes += e.Size
			if e.Kind == tree.Annexed {
				s.Annexed++
			}
		}
		if err := b.AddDir(d.path, shown); err != nil {
			return nil, err
		}
	}
	var err error
	s.Snapshot, err = b.Snapshot()
	return s, err
}

func ids(places []place) []gitstore.OID {
	out := make([]gitstore.OID, len(places))
	for i, p := range places {
		out[i] = p.id
	}
	return out
}
