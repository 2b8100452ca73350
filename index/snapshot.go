package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// Snapshot is one commit's full list of files, immutable.
type Snapshot struct {
	*tree.Snapshot
	Commit gitstore.OID
	Time   time.Time // of the commit
	// Hidden are the files that cannot be shown, and why; in byte order.
	Hidden []Hidden
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

// meta is what a stored snapshot says of itself; it is written last and
// counts what must be there.
type meta struct {
	Format int       `json:"format"`
	Time   time.Time `json:"time"`
	Dirs   int       `json:"dirs"`
	Hidden []Hidden  `json:"hidden,omitempty"`
}

const snapshotFormat = 2

// Progress is told how many of how many git objects were read so far; total
// is 0 while unknown. It is called from one goroutine at a time.
type Progress func(done, total int)

// Snapshot returns the snapshot of a commit: from the index when it is there
// and whole, else from git, after which it is stored in the background.
// progress may be nil.
func (x *Index) Snapshot(ctx context.Context, git *gitstore.Store, commit gitstore.OID, progress Progress) (*Snapshot, error) {
	s, err := x.loadSnapshot(commit)
	if err == nil {
		return s, nil
	}
	if !errors.Is(err, badger.ErrKeyNotFound) {
		x.log.Warn("stored snapshot is read from git again", "commit", commit, "why", err)
	}
	if progress == nil {
		progress = func(int, int) {}
	}
	s, err = readSnapshot(ctx, git, commit, newBudget(), progress)
	if err != nil {
		return nil, err
	}
	x.storing.Go(func() {
		if err := x.storeSnapshot(s); err != nil {
			x.log.Warn("snapshot not stored: it will be read from git again", "commit", commit, "why", err)
		}
	})
	return s, nil
}

func metaKey(c gitstore.OID) []byte            { return []byte("s/" + string(c) + "/m") }
func dirPrefix(c gitstore.OID) []byte          { return []byte("s/" + string(c) + "/d/") }
func dirKey(c gitstore.OID, dir string) []byte { return append(dirPrefix(c), dir...) }

func (x *Index) loadSnapshot(commit gitstore.OID) (*Snapshot, error) {
	s := &Snapshot{Commit: commit}
	err := x.db.View(func(txn *badger.Txn) error {
		var m meta
		item, err := txn.Get(metaKey(commit))
		if err != nil {
			return err
		}
		err = item.Value(func(v []byte) error {
			v, err := unseal(v)
			if err != nil {
				return err
			}
			return json.Unmarshal(v, &m)
		})
		if err != nil {
			return err
		}
		if m.Format != snapshotFormat {
			return fmt.Errorf("index: snapshot format %d", m.Format)
		}
		s.Time, s.Hidden = m.Time, m.Hidden
		s.Snapshot, err = loadDirs(txn, dirPrefix(commit), m.Dirs)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// loadDirs relies on the byte order of paths: a directory comes after its
// parent.
func loadDirs(txn *badger.Txn, prefix []byte, want int) (*tree.Snapshot, error) {
	o := badger.DefaultIteratorOptions
	o.Prefix = prefix
	it := txn.NewIterator(o)
	defer it.Close()
	b, n := tree.NewBuilder(), 0
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		err := item.Value(func(v []byte) error {
			v, err := unseal(v)
			if err != nil {
				return err
			}
			return b.AddEncoded(string(item.Key()[len(prefix):]), v)
		})
		if err != nil {
			return nil, err
		}
		n++
	}
	if n != want {
		return nil, fmt.Errorf("index: snapshot has %d of %d directories", n, want)
	}
	return b.Snapshot()
}

func (x *Index) storeSnapshot(s *Snapshot) error {
	dirs := 0
	err := x.write(func(b *batch) error {
		for n := range s.Len() {
			if s.Kind(n) != tree.Dir {
				continue
			}
			dirs++
			if err := b.Set(dirKey(s.Commit, s.Path(n)), seal(s.EncodeDir(n))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	m, err := json.Marshal(meta{Format: snapshotFormat, Time: s.Time, Dirs: dirs, Hidden: s.Hidden})
	if err != nil {
		return err
	}
	return x.write(func(b *batch) error { return b.Set(metaKey(s.Commit), seal(m)) })
}
