package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

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
	if !errors.Is(err, ErrAbsent) {
		x.log.Warn("stored snapshot is read from git again", "commit", commit, "why", err)
	}
	if progress == nil {
		progress = func(int, int) {}
	}
	s, err = readSnapshot(ctx, git, commit, newBudget(), progress)
	if err != nil {
		return nil, err
	}
	x.Table(Listings).Later(func() {
		if err := x.storeSnapshot(s); err != nil {
			x.log.Warn("snapshot not stored: it will be read from git again", "commit", commit, "why", err)
		}
	})
	return s, nil
}

// The keys of a listing: of what it says of itself, and of its directories.
func metaKey(c gitstore.OID) string   { return string(c) + "/m" }
func dirPrefix(c gitstore.OID) string { return string(c) + "/d/" }

func (x *Index) loadSnapshot(commit gitstore.OID) (*Snapshot, error) {
	table := x.Table(Listings)
	v, err := table.Load(metaKey(commit))
	if err != nil {
		return nil, err
	}
	var m meta
	if err := json.Unmarshal(v, &m); err != nil {
		return nil, err
	}
	if m.Format != snapshotFormat {
		return nil, fmt.Errorf("index: snapshot format %d", m.Format)
	}
	s := &Snapshot{Commit: commit, Time: m.Time, Hidden: m.Hidden}
	s.Snapshot, err = loadDirs(table, dirPrefix(commit), m.Dirs)
	return s, err
}

// loadDirs relies on the byte order of paths: a directory comes after its
// parent.
func loadDirs(table Table, prefix string, want int) (*tree.Snapshot, error) {
	b, n := tree.NewBuilder(), 0
	err := table.LoadAll(prefix, func(path string, dir []byte) error {
		n++
		return b.AddEncoded(path, dir)
	})
	if err != nil {
		return nil, err
	}
	if n != want {
		return nil, fmt.Errorf("index: snapshot has %d of %d directories", n, want)
	}
	return b.Snapshot()
}

func (x *Index) storeSnapshot(s *Snapshot) error {
	dirs, table := 0, x.Table(Listings)
	err := table.Save(func(b *Batch) error {
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
	m, err := json.Marshal(meta{Format: snapshotFormat, Time: s.Time, Dirs: dirs, Hidden: s.Hidden})
	if err != nil {
		return err
	}
	return table.Save(func(b *Batch) error { return b.Set(metaKey(s.Commit), m) })
}
