package commit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/uniharmony/uniharmonyfs/index"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// Listing is one commit's full list of files, immutable.
type Listing struct {
	*tree.Tree
	Commit gitstore.OID
	Time   time.Time // of the commit
	// Subdatasets are the directories, all of them empty, that stand for another
	// dataset; in ascending order of their nodes.
	Subdatasets []Subdataset
	// Hidden are the files that cannot be shown, and why; in byte order.
	Hidden []Hidden
}

// Subdataset is a directory that stands for another dataset at one of its commits.
type Subdataset struct {
	Node   int
	Commit gitstore.OID
}

// Subdataset returns the one at a directory, if it is one.
func (l *Listing) Subdataset(dir int) (Subdataset, bool) {
	i, ok := slices.BinarySearchFunc(l.Subdatasets, dir, func(s Subdataset, dir int) int { return cmp.Compare(s.Node, dir) })
	if !ok {
		return Subdataset{}, false
	}
	return l.Subdatasets[i], true
}

// subdatasets finds those of a commit's directories that stand for other datasets.
func (l *Listing) subdatasets(all []gitlink) error {
	for _, g := range all {
		n, ok := l.Find(g.Path)
		if !ok || l.Kind(n) != tree.Dir {
			return fmt.Errorf("there is no directory for the subdataset %.200q", g.Path)
		}
		l.Subdatasets = append(l.Subdatasets, Subdataset{n, g.Commit})
	}
	slices.SortFunc(l.Subdatasets, func(a, b Subdataset) int { return cmp.Compare(a.Node, b.Node) })
	return nil
}

// gitlink is an entry of a commit that names one of another repository.
type gitlink struct {
	Path   string       `json:"path"`
	Commit gitstore.OID `json:"commit"`
}

// Hidden is a path of the commit that no view can show.
type Hidden struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

type plainHidden Hidden

type exactHidden struct {
	*plainHidden
	Exact []byte `json:"path_base64,omitempty"`
}

// MarshalJSON adds path_base64, the path exactly, when it is not UTF-8.
func (h Hidden) MarshalJSON() ([]byte, error) {
	e := exactHidden{plainHidden: (*plainHidden)(&h)}
	if !utf8.ValidString(h.Path) {
		e.Exact = []byte(h.Path)
	}
	return json.Marshal(e)
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (h *Hidden) UnmarshalJSON(data []byte) error {
	e := exactHidden{plainHidden: (*plainHidden)(h)}
	err := json.Unmarshal(data, &e)
	if e.Exact != nil {
		h.Path = string(e.Exact)
	}
	return err
}

// Progress is told how many of how many git objects were read so far; total
// is 0 while unknown. It is called from one goroutine at a time.
type Progress func(done, total int)

// Lister lists commits, and keeps what it has read.
type Lister struct {
	Kept index.Table
	Log  *slog.Logger
}

// List returns the listing of a commit: the one that was kept if it is whole,
// else from git, after which it is kept in the background. progress may be nil.
func (l Lister) List(ctx context.Context, git *gitstore.Store, id gitstore.OID, progress Progress) (*Listing, error) {
	s, err := l.load(id)
	if err == nil {
		return s, nil
	}
	if !errors.Is(err, index.ErrAbsent) {
		l.Log.Warn("a kept listing is read from git again", "commit", id, "why", err)
	}
	if progress == nil {
		progress = func(int, int) {}
	}
	s, err = read(ctx, git, id, newBudget(), progress)
	if err != nil {
		return nil, err
	}
	l.Kept.Later(func() {
		if err := l.store(s); err != nil {
			l.Log.Warn("a listing is not kept: it will be read from git again", "commit", id, "why", err)
		}
	})
	return s, nil
}

// format is the layout of a kept listing; one of another is read again.
const format = 4

// meta is what a kept listing says of itself; it is written last and counts
// what must be there.
type meta struct {
	Format int       `json:"format"`
	Time   time.Time `json:"time"`
	Dirs   int       `json:"dirs"`

	Subdatasets []gitlink `json:"subdatasets,omitempty"`

	Hidden []Hidden `json:"hidden,omitempty"`
}

// The keys of a listing: of what it says of itself, and of its directories.
func metaKey(c gitstore.OID) string   { return string(c) + "/m" }
func dirPrefix(c gitstore.OID) string { return string(c) + "/d/" }

func (l Lister) load(id gitstore.OID) (*Listing, error) {
	v, err := l.Kept.Load(metaKey(id))
	if err != nil {
		return nil, err
	}
	var m meta
	if err := json.Unmarshal(v, &m); err != nil {
		return nil, err
	}
	if m.Format != format {
		return nil, fmt.Errorf("it has format %d", m.Format)
	}
	s := &Listing{Commit: id, Time: m.Time, Hidden: m.Hidden}
	if s.Tree, err = l.loadDirs(dirPrefix(id), m.Dirs); err != nil {
		return nil, err
	}
	return s, s.subdatasets(m.Subdatasets)
}

// loadDirs relies on the byte order of paths: a directory comes after its
// parent.
func (l Lister) loadDirs(prefix string, want int) (*tree.Tree, error) {
	b, n := tree.NewBuilder(), 0
	err := l.Kept.LoadAll(prefix, func(path string, dir []byte) error {
		n++
		return b.AddEncoded(path, dir)
	})
	if err != nil {
		return nil, err
	}
	if n != want {
		return nil, fmt.Errorf("it has %d of %d directories", n, want)
	}
	return b.Tree()
}

func (l Lister) store(s *Listing) error {
	dirs := 0
	err := l.Kept.Save(func(b *index.Batch) error {
		for n := range s.Len() {
			if s.Kind(n) != tree.Dir {
				continue
			}
			dirs++
			if err := b.Set(dirPrefix(s.Commit)+s.Path(n), s.EncodeDir(n)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var links []gitlink
	for _, sub := range s.Subdatasets {
		links = append(links, gitlink{s.Path(sub.Node), sub.Commit})
	}
	m, err := json.Marshal(meta{Format: format, Time: s.Time, Dirs: dirs, Hidden: s.Hidden, Subdatasets: links})
	if err != nil {
		return err
	}
	return l.Kept.Save(func(b *index.Batch) error { return b.Set(metaKey(s.Commit), m) })
}
