package cache

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
)

// wholly is a source that cannot give a part of the content.
type wholly struct {
	Source
	size int64
	disk disk.Disk
}

// Place implements Placer.
func (s wholly) Place(ctx context.Context, path string, progress func(done int64)) error {
	f, err := s.disk.Create(path)
	if err != nil {
		return err
	}
	w := &placeWriter{f: f, size: s.size, progress: progress}
	err = s.Fetch(ctx, 0, s.size, w)
	if err == nil && w.done < s.size {
		err = fmt.Errorf("%w: %d bytes too few", io.ErrUnexpectedEOF, s.size-w.done)
	}
	return errors.Join(err, f.Close())
}

var errTooMuch = errors.New("the source sent more than it was asked for")

type placeWriter struct {
	f          io.WriterAt
	size, done int64
	progress   func(done int64)
}

func (w *placeWriter) Write(b []byte) (int, error) {
	if int64(len(b)) > w.size-w.done {
		return 0, errTooMuch
	}
	n, err := w.f.WriteAt(b, w.done)
	w.done += int64(n)
	w.progress(w.done)
	return n, err
}
