package unpack

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"strings"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/sevenzip"
)

var errNotThere = errors.New("the archive has no such file of that size")

// File writes to w the file of that name and size (bytes) in an archive of n bytes.
// It writes nothing of another size; what is in it is whoever's to check.
func File(ctx context.Context, archive io.ReaderAt, n int64, name string, size int64, w io.Writer) error {
	return unpack(&reading{ctx: ctx, r: archive, n: n, list: maxList, most: maxRatio*n + maxExtra}, name, size, w)
}

func unpack(from *reading, name string, size int64, w io.Writer) error {
	if name = clean(name); name == "." || size < 0 {
		return errNotThere
	}
	ctx := from.ctx
	to := &writing{ctx: ctx, w: w, left: size}
	head := make([]byte, len("\xfd7zXZ\x00"))
	if got, err := from.ReadAt(head, 0); err != nil && err != io.EOF {
		return err
	} else if got < len(head) {
		return errors.New("it is no archive")
	}
	err := file(from, string(head), name, size, to)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case to.err != nil:
		return to.err
	case err == nil && to.left > 0:
		return io.ErrUnexpectedEOF
	}
	return err
}

func file(from *reading, head, name string, size int64, to *writing) error {
	whole := io.NewSectionReader(from, 0, from.n)
	switch {
	case strings.HasPrefix(head, "PK"):
		return fromZip(from, name, size, to)
	case strings.HasPrefix(head, "7z\xbc\xaf\x27\x1c"):
		return from7z(from, name, size, to)
	case strings.HasPrefix(head, "\x1f\x8b"):
		r, err := gzip.NewReader(bufio.NewReaderSize(whole, bufferSize))
		if err != nil {
			return err
		}
		return fromTar(from.bounded(r), name, size, to)
	case strings.HasPrefix(head, "BZh"):
		return fromTar(from.bounded(bzip2.NewReader(whole)), name, size, to)
	case strings.HasPrefix(head, "\xfd7zXZ\x00"):
		return fromTar(from.bounded(newXZ(bufio.NewReaderSize(whole, bufferSize))), name, size, to)
	}
	return fromTar(whole, name, size, to)
}

const (
	bufferSize = 256 << 10
	// An archive may decompress to this many times its size, and something: more is
	// a bomb.
	maxRatio = 100
	maxExtra = 1 << 30
	// maxList bounds the list of a zip archive's files, in bytes: some 300,000.
	maxList = 32 << 20
)

// clean makes names equal that mean the same in an archive.
func clean(name string) string { return path.Clean(strings.TrimLeft(name, "/")) }

// fromTar goes through a tar archive. Of several files of that name and size it takes
// the first.
func fromTar(r io.Reader, name string, size int64, to io.Writer) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		switch {
		case err == io.EOF:
			return errNotThere
		case err != nil:
			return fmt.Errorf("as a tar archive: %w", err)
		case clean(h.Name) != name:
			continue
		case h.Typeflag == tar.TypeLink || h.Typeflag == tar.TypeSymlink:
			return errors.New("the archive has a link to another file there")
		case h.Typeflag == tar.TypeReg && h.Size == size:
			_, err = io.Copy(to, t)
			return err
		}
	}
}

func fromZip(from *reading, name string, size int64, to io.Writer) error {
	l := &listed{from, from.list}
	z, err := zip.NewReader(l, from.n)
	l.left = math.MaxInt64
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return err
	}
	for _, f := range z.File {
		if clean(f.Name) != name || f.UncompressedSize64 != uint64(size) || f.Mode()&fs.ModeType != 0 {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(to, r)
		return err
	}
	return errNotThere
}

// listed is a zip archive of which only so much may be read: the library reads a list
// of files to its end, whatever size the archive says that it has.
type listed struct {
	*reading
	left int64
}

func (l *listed) ReadAt(p []byte, off int64) (int, error) {
	n, err := l.reading.ReadAt(p, off)
	if l.left -= int64(n); l.left < 0 {
		return 0, errors.New("its list of files is too large")
	}
	return n, err
}

func from7z(from *reading, name string, size int64, to io.Writer) error {
	a, err := sevenzip.Open(from.ctx, from, from.n)
	if err != nil {
		return err
	}
	m, ok := a.Find(name)
	if !ok || m.Size != size {
		return errNotThere
	}
	return a.Fetch(from.ctx, from, m, 0, size, to)
}

// reading is the archive, until ctx ends.
type reading struct {
	ctx  context.Context
	r    io.ReaderAt
	n    int64 // bytes
	list int64 // that may be read of its list of files, in bytes
	most int64 // that it may decompress to
}

func (r *reading) ReadAt(p []byte, off int64) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.ReadAt(p, off)
}

// Fetch implements [sevenzip.Bytes].
func (r *reading) Fetch(ctx context.Context, off, n int64, w io.Writer) error {
	_, err := io.CopyN(w, io.NewSectionReader(r, off, n), n)
	return errors.Join(ctx.Err(), err)
}

// bounded refuses what a compressed archive decompresses to beyond the bound.
func (r *reading) bounded(plain io.Reader) io.Reader {
	return &bounded{r: plain, left: r.most}
}

type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("it decompresses to more than %d times its size", maxRatio)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// writing passes on as many bytes as there should be, until ctx ends. It keeps the
// error of whoever takes them.
type writing struct {
	ctx  context.Context
	w    io.Writer
	left int64
	err  error
}

func (w *writing) Write(p []byte) (int, error) {
	if int64(len(p)) > w.left {
		return 0, errors.New("it is larger than the archive says")
	}
	if w.err = w.ctx.Err(); w.err != nil {
		return 0, w.err
	}
	var n int
	n, w.err = w.w.Write(p)
	w.left -= int64(n)
	return n, w.err
}

var _ sevenzip.Bytes = (*reading)(nil)
