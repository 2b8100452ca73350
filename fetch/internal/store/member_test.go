package store

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/source"
	"github.com/uniharmony/uniharmonyfs/internal/source/sourcetest"
)

// memory is a content, which counts how many times it is open.
type memory struct {
	*bytes.Reader
	open *atomic.Int32
}

func (m memory) Close() error {
	m.open.Add(-1)
	return nil
}

// tarOf makes a compressed tar archive of one file.
func tarOf(t testing.TB, name string, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	w.Write(content)
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestMembersKeepTheContract(t *testing.T) {
	var open atomic.Int32
	create := func(t *testing.T, content []byte, there error) source.Source {
		name := "top/a b.nii"
		if errors.Is(there, errNotThere) {
			name, there = "top/another", nil
		}
		archive := tarOf(t, name, content)
		m := annex.Member{Archive: keyOf(t, archive), Path: "top/a b.nii"}
		return NewArchives(func(ctx context.Context, key, _ annex.Key) (Content, error) {
			if key != m.Archive {
				t.Errorf("%s is opened", key)
			}
			if errors.Is(there, context.Canceled) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			if there != nil {
				return nil, there
			}
			open.Add(1)
			return memory{bytes.NewReader(archive), &open}, nil
		}).Source(m, keyOf(t, content))
	}
	sourcetest.Test(t, func(t *testing.T, content []byte) source.Source { return create(t, content, nil) }, sourcetest.Options{
		Missing: func(t *testing.T, content []byte) source.Source { return create(t, content, errNotThere) },
		Down: func(t *testing.T, content []byte) source.Source {
			return create(t, content, source.Outage(errors.New("away")))
		},
		Hanging: func(t *testing.T, content []byte) source.Source { return create(t, content, context.Canceled) },
	})
	// The archive is brought first, and let go at the end.
	p := create(t, []byte("content"), nil).(source.Preparer)
	ready, release, err := p.Prepare(t.Context())
	if err != nil || open.Load() != 1 {
		t.Fatalf("%d are open, %v", open.Load(), err)
	}
	if err := ready.Place(t.Context(), filepath.Join(t.TempDir(), "x"), func(int64) {}); err != nil {
		t.Error(err)
	}
	release()
	// Some are unpacked at a time; who waits can leave.
	a := p.(*archiveMember)
	for range atOnce {
		a.turns <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Place(ctx, filepath.Join(t.TempDir(), "x"), func(int64) {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a turn: %v", err)
	}
	if open.Load() != 0 {
		t.Errorf("%d are open still", open.Load())
	}
}
