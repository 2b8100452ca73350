package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/sevenzip"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/web"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/plain"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// archivePath is where a RIA store's directory of a dataset has its archive.
const archivePath = "archives/archive.7z"

const (
	// keepList is how long the list of an archive is believed: one that is replaced
	// by another of the same size may not show it.
	keepList = 10 * time.Minute
	// keepFailure is how long an archive that is not there is not looked for again.
	keepFailure = time.Minute
)

// archive is an archive of keys, of which the list of members is read once.
type archive struct {
	file  file
	turn  chan struct{} // holds the turn of who reads the list
	lists *lists        // that are kept; nil: this one is, whatever others are

	mu     sync.Mutex // guards the following
	known  *list
	failed error // why there is none, until
	until  time.Time
}

// file is where an archive lies.
type file struct {
	name string
	// find says what is there now: its size in bytes, and how just that is read.
	find func(ctx context.Context) (sevenzip.Bytes, int64, error)
}

// list is an archive at one time.
type list struct {
	*sevenzip.Archive
	from sevenzip.Bytes
}

func newArchive(f file) *archive { return &archive{file: f, turn: make(chan struct{}, 1)} }

func remoteFile(c *web.Client, url string) file {
	return file{name: plain.Short(url, web.MaxURL), find: func(ctx context.Context) (sevenzip.Bytes, int64, error) {
		s, size, err := c.Find(ctx, url)
		return s, size, err
	}}
}

// list returns the list of members. One asker at a time reads it.
func (a *archive) list(ctx context.Context) (*list, error) {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l, err := a.remembered(time.Now())
	if l == nil && err == nil {
		l, err = a.read(ctx)
		a.remember(l, err, ctx.Err() == nil && !source.IsOutage(err))
	}
	if err == nil {
		a.lists.keep(a)
	}
	return l, err
}

// remember takes note of a list, or of why there is none, if that is final.
func (a *archive) remember(l *list, err error, isFinal bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil:
		a.known, a.failed, a.until = l, nil, time.Now().Add(keepList)
	case isFinal:
		a.known, a.failed, a.until = nil, err, time.Now().Add(keepFailure)
	}
}

func (a *archive) remembered(now time.Time) (*list, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.After(a.until) {
		return nil, nil
	}
	return a.known, a.failed
}

func (a *archive) read(ctx context.Context) (*list, error) {
	from, size, err := a.file.find(ctx)
	if err != nil {
		return nil, err
	}
	members, err := sevenzip.Open(ctx, from, size)
	if err != nil {
		return nil, err
	}
	return &list{members, from}, nil
}

// forget sees to it that the list is read anew.
func (a *archive) forget(l *list) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known == l {
		a.known, a.until = nil, time.Time{}
	}
}

// lists are the archives whose lists are kept: those that were used last, since a
// dataset can name many, each with a list that takes a hundred megabytes.
type lists struct {
	mu   sync.Mutex // guards the following
	kept []*archive
}

// maxLists is how many are kept.
const maxLists = 4

// keep notes that an archive's list was used.
func (l *lists) keep(a *archive) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = append(slices.DeleteFunc(l.kept, func(other *archive) bool { return other == a }), a)
	if len(l.kept) > maxLists {
		oldest := l.kept[0]
		l.kept = slices.Delete(l.kept, 0, 1)
		oldest.mu.Lock()
		defer oldest.mu.Unlock()
		oldest.known, oldest.until = nil, time.Time{}
	}
}

// member returns the member with a key's content.
func (a *archive) member(key annex.Key) source.Source { return &member{a: a, key: key} }

type member struct {
	a   *archive
	key annex.Key
}

func (m *member) String() string { return m.a.file.name }
func (m *member) Exact() bool    { return false }

// Fetch reads the member, by the list that is known. If that fails, the archive may
// have been replaced: before a byte was written it is looked at once more.
func (m *member) Fetch(ctx context.Context, off, n int64, w io.Writer) error {
	out := &counted{w: w}
	for again := false; ; again = true {
		l, err := m.a.list(ctx)
		if err != nil {
			return err
		}
		err = m.fetch(ctx, l, off, n, out)
		switch {
		case err == nil, ctx.Err() != nil, out.err != nil, source.IsOutage(err), errors.Is(err, errNotThere), errors.Is(err, source.ErrWholeOnly):
			return err
		}
		m.a.forget(l)
		if again || out.n > 0 || !errors.Is(err, web.ErrChanged) {
			return err
		}
	}
}

func (m *member) fetch(ctx context.Context, l *list, off, n int64, w io.Writer) error {
	file := m.key.FileName()
	for _, dir := range []string{m.key.HashDirMixed(), m.key.HashDirLower()} {
		found, ok := l.Find(dir + "/" + file + "/" + file)
		if !ok {
			continue
		}
		if size, known := m.key.Size(); known && found.Size != size {
			return fmt.Errorf("it has %d bytes there, not the key's %d", found.Size, size)
		}
		return l.Fetch(ctx, l.from, found, off, n, w)
	}
	return fmt.Errorf("the archive: %w", errNotThere)
}

// localFile is the archive in a directory on this machine.
func localFile(dir string) file {
	path := filepath.Join(dir, filepath.FromSlash(archivePath))
	return file{name: plain.Short(path, web.MaxURL), find: func(context.Context) (sevenzip.Bytes, int64, error) {
		f, st, err := openRegular(path)
		if err != nil {
			return nil, 0, err
		}
		f.Close()
		return &onDisk{path: path, is: st}, st.Size(), nil
	}}
}

// onDisk is an archive on this machine, as it was when it was found.
type onDisk struct {
	path string
	is   fs.FileInfo
}

func (d *onDisk) Fetch(ctx context.Context, off, n int64, w io.Writer) error {
	f, st, err := openRegular(d.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if !os.SameFile(st, d.is) || st.Size() != d.is.Size() || !st.ModTime().Equal(d.is.ModTime()) {
		return web.ErrChanged
	}
	r := io.NewSectionReader(f, off, n)
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		written, err := io.CopyN(w, r, min(n, 1<<20))
		if n -= written; err == io.EOF {
			return io.ErrUnexpectedEOF
		} else if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// HasArchive reports whether there is an archive in a RIA store's directory on this
// machine.
func HasArchive(dir string) bool {
	st, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(archivePath)))
	return err == nil && st.Mode().IsRegular()
}

// openRegular opens a regular file, and waits for none.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, st, nil
}
