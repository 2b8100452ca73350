package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/unpack"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/web"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/plain"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// A Content is the whole content of a key that is at hand.
type Content interface {
	io.ReaderAt
	io.Closer
	Size() int64 // in bytes
}

// Archives are the archives that are content of one dataset. They are safe for
// concurrent use.
type Archives struct {
	// open opens an archive, and brings it if it is not at hand, for a key in it.
	open  func(ctx context.Context, archive, forKey annex.Key) (Content, error)
	turns chan struct{} // holds those of who unpacks
}

// atOnce is how many files are unpacked at the same time: each takes memory.
const atOnce = 2

// NewArchives returns the archives that open opens for a key in them, and brings if
// they are not at hand.
func NewArchives(open func(ctx context.Context, archive, forKey annex.Key) (Content, error)) *Archives {
	return &Archives{open: open, turns: make(chan struct{}, atOnce)}
}

// Source returns the source of a key that is a file in an archive.
func (a *Archives) Source(m annex.Member, key annex.Key) source.Preparer {
	return &archiveMember{a, m, key}
}

type archiveMember struct {
	*Archives
	member annex.Member
	key    annex.Key
}

func (s *archiveMember) String() string {
	return plain.Short(fmt.Sprintf("%s in the archive %s", s.member.Path, s.member.Archive), web.MaxURL)
}

func (s *archiveMember) Exact() bool { return true }

// Fetch is not how archives are read; Place is.
func (s *archiveMember) Fetch(context.Context, int64, int64, io.Writer) error {
	return fmt.Errorf("the archive: %w", source.ErrWholeOnly)
}

// Place brings the archive, and unpacks the file.
func (s *archiveMember) Place(ctx context.Context, path string, progress func(done int64)) error {
	ready, release, err := s.Prepare(ctx)
	if err != nil {
		return err
	}
	defer release()
	return ready.Place(ctx, path, progress)
}

// Prepare brings the archive.
func (s *archiveMember) Prepare(ctx context.Context) (source.Placer, func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	archive, err := s.open(ctx, s.member.Archive, s.key)
	if err != nil {
		return nil, nil, fmt.Errorf("the archive: %w", err)
	}
	return &openMember{s, archive}, func() { archive.Close() }, nil
}

// openMember is a file in an archive that is at hand.
type openMember struct {
	*archiveMember
	archive Content
}

// Place unpacks the file.
func (s *openMember) Place(ctx context.Context, path string, progress func(done int64)) error {
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return ctx.Err()
	}
	size, _ := s.key.Size()
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = unpack.File(ctx, s.archive, s.archive.Size(), s.member.Path, size, &telling{w: to, tell: progress})
	return errors.Join(err, to.Close())
}

// telling tells how much was written.
type telling struct {
	w    io.Writer
	done int64
	tell func(int64)
}

func (t *telling) Write(p []byte) (int, error) {
	n, err := t.w.Write(p)
	t.done += int64(n)
	t.tell(t.done)
	return n, err
}
