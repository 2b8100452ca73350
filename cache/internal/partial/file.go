package partial

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
)

// File is a partial file. Its methods are safe for concurrent use, but for
// those that say otherwise. It can be closed and opened again: it stays the
// same file as long as no byte of it is thrown away.
type File struct {
	Ident
	Size int64 // of the whole content, in bytes

	disk    disk.Disk
	path    string
	want    string // the hash, in hex
	adopted bool   // a source brought it as a whole: it never has a map

	f      atomic.Pointer[opened]
	wrong  atomic.Bool  // the bytes turned out not to be the key's
	hashed atomic.Int64 // bytes from the start that the hash has seen

	hashing disk.Turn // guards the following
	hash    hash.Hash

	// mapping is held while the map is written, and guards the following. It
	// is taken with no other lock held but for the caller's own.
	mapping disk.Turn
	version int  // of the map on disk
	sealed  bool // no map any more
	refused bool // the disk did not take all that was written
}

type opened struct{ disk.File }

// New returns the partial file of a content in dir. Nothing is opened.
func New(d disk.Disk, dir string, of Ident, size int64) *File {
	p := &File{Ident: of, Size: size, disk: d, path: filepath.Join(dir, of.Name()), hashing: disk.NewTurn(), mapping: disk.NewTurn()}
	p.hash, p.want, _ = of.Key.NewHash()
	return p
}

// Adopt returns a complete file at path, which some source brought, as one
// whose bytes have yet to be verified.
func Adopt(d disk.Disk, path string, of Ident, size int64) (*File, error) {
	f, err := d.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size != size {
		err = fmt.Errorf("%w: it has %d bytes, not %d", ErrWrong, info.Size, size)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	p := &File{Ident: of, Size: size, disk: d, path: path, adopted: true, sealed: true, hashing: disk.NewTurn(), mapping: disk.NewTurn()}
	p.hash, p.want, _ = of.Key.NewHash()
	p.f.Store(&opened{f})
	return p, nil
}

// ErrWrong says that content is not what its key names.
var ErrWrong = errors.New("content does not match its key")

// MapPath returns where the map of the partial file at path is.
func MapPath(path string) string { return path + ".map" }

// Open opens the file, making it, and returns what is in it. What cannot be
// made sense of is thrown away. Not for concurrent use with itself or Close.
func (p *File) Open() (Stock, error) {
	p.mapping.Lock()
	defer p.mapping.Unlock()
	s, err := ReadMap(p.disk, p.path, p.Ident)
	if err != nil && !errors.Is(err, ErrMap) && !errors.Is(err, fs.ErrNotExist) {
		return Stock{}, err
	}
	if err != nil {
		if err := remove(p.disk, MapPath(p.path)); err != nil {
			return Stock{}, err
		}
	}
	f, openErr := p.disk.OpenWrite(p.path)
	if openErr == nil && err == nil {
		// The map may have outlived its bytes.
		info, statErr := f.Stat()
		if statErr != nil {
			f.Close()
			return Stock{}, statErr
		}
		if n := len(s.Have); n > 0 && info.Size < s.Have[n-1].End {
			s, err = Stock{}, ErrMap
		}
	}
	if errors.Is(openErr, fs.ErrNotExist) {
		s = Stock{}
		f, openErr = p.disk.Create(p.path)
	} else if openErr == nil && err != nil {
		openErr = f.Truncate(0)
	}
	if openErr != nil {
		if f != nil {
			f.Close()
		}
		return Stock{}, openErr
	}
	if len(s.Have) == 0 { // other bytes than the hash has seen
		p.resetHash()
		p.refused = false
	}
	p.f.Store(&opened{f})
	p.sealed = false
	return s, nil
}

func (p *File) resetHash() {
	p.hashing.Lock()
	defer p.hashing.Unlock()
	p.hash, p.want, _ = p.Key.NewHash()
	p.hashed.Store(0)
}

// ReadMap reads the map of the partial file at path, which must be of that
// content. Errors are [ErrMap], fs.ErrNotExist, or the disk's.
func ReadMap(d disk.Disk, path string, of Ident) (Stock, error) {
	got, s, err := readMap(d, path)
	if err == nil && got != of {
		err = fmt.Errorf("%w: it is of another content", ErrMap)
	}
	if err != nil {
		return Stock{}, err
	}
	return s, nil
}

// Find returns what the partial file called name in dir is of, and what is in
// it. Errors are as for [ReadMap].
func Find(d disk.Disk, dir, name string) (Ident, Stock, error) {
	of, s, err := readMap(d, filepath.Join(dir, name))
	if err == nil && of.Name() != name {
		err = fmt.Errorf("%w: it is of another content", ErrMap)
	}
	return of, s, err
}

func readMap(d disk.Disk, path string) (of Ident, s Stock, err error) {
	f, err := d.Open(MapPath(path))
	if err != nil {
		return of, s, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return of, s, err
	}
	if info.Size > maxMap {
		return of, s, ErrMap
	}
	b := make([]byte, info.Size)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return of, s, err
	}
	return decode(b, d.Boot())
}

// Wrong declares the bytes not to be the key's.
func (p *File) Wrong() { p.wrong.Store(true) }

// IsWrong reports whether Wrong was called.
func (p *File) IsWrong() bool { return p.wrong.Load() }

// ReadAt implements io.ReaderAt. After Close it fails with fs.ErrClosed.
func (p *File) ReadAt(b []byte, off int64) (int, error) {
	if f := p.f.Load(); f != nil {
		return f.ReadAt(b, off)
	}
	return 0, fs.ErrClosed
}

// Write writes bytes to their place, and takes them into the hash if it is
// their turn. The caller sees to it that no byte is written twice.
func (p *File) Write(b []byte, off int64) (int, error) {
	f := p.f.Load()
	if f == nil {
		return 0, fs.ErrClosed
	}
	n, err := f.WriteAt(b, off)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	p.fold(b[:n], off)
	return n, err
}

// fold takes bytes that were written at off into the hash, if it is their
// turn. Others are read again, by CatchUp or Verify.
func (p *File) fold(b []byte, off int64) {
	if p.hashed.Load() != off || !p.hashing.TryLock() {
		return
	}
	defer p.hashing.Unlock()
	if p.hashed.Load() == off {
		p.hash.Write(b)
		p.hashed.Add(int64(len(b)))
	}
}

// Hashed returns how many bytes from the start the hash has seen.
func (p *File) Hashed() int64 { return p.hashed.Load() }

const chunk = 1 << 20

var chunks = sync.Pool{New: func() any { return new([chunk]byte) }}

// CatchUp takes the bytes up to end, which are there, into the hash.
func (p *File) CatchUp(ctx context.Context, end int64) error {
	p.hashing.Lock()
	defer p.hashing.Unlock()
	buf := chunks.Get().(*[chunk]byte)
	defer chunks.Put(buf)
	for at := p.hashed.Load(); at < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(chunk, end-at)]
		if _, err := p.ReadAt(b, at); err != nil && err != io.EOF {
			return err
		} else if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		p.hash.Write(b)
		at += int64(len(b))
		p.hashed.Store(at)
	}
	return nil
}

// Verify compares the complete content with the key: [ErrWrong] says that it
// is another one, any other error that this could not be found out.
func (p *File) Verify(ctx context.Context) error {
	if err := p.CatchUp(ctx, p.Size); err != nil {
		return err
	}
	p.hashing.Lock()
	defer p.hashing.Unlock()
	if hex.EncodeToString(p.hash.Sum(nil)) != p.want {
		return ErrWrong
	}
	return nil
}

// Allocate makes sure that an interval has a place on the disk.
func (p *File) Allocate(i Interval) error {
	f := p.f.Load()
	if f == nil {
		return fs.ErrClosed
	}
	if err := f.Allocate(i.Off, i.Len()); err != nil {
		return fmt.Errorf("cannot allocate %d bytes: %w", i.Len(), err)
	}
	return nil
}

// Punch gives the blocks of an interval back to the disk.
func (p *File) Punch(i Interval) error {
	f := p.f.Load()
	if f == nil {
		return fs.ErrClosed
	}
	return f.Punch(i.Off, i.Len())
}

// SaveMap writes the map. The bytes were written before; whether they also
// reached the disk is told by the boot in whose course they were written.
func (p *File) SaveMap(s Stock) error {
	p.mapping.Lock()
	defer p.mapping.Unlock()
	if p.sealed || p.refused {
		return nil
	}
	p.version++
	return p.writeMap(s.encode(p.Ident, p.disk.Boot(), false))
}

func (p *File) writeMap(b []byte) error {
	path := MapPath(p.path)
	f, err := p.disk.OpenWrite(path)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = p.disk.Create(path)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(b, 0)
	return err
}

// Flush makes the file and its map survive a power cut, if nobody writes a map
// meanwhile. It opens the file for itself. What the disk does not take is not
// claimed any more: the map goes.
func (p *File) Flush() error {
	p.mapping.Lock()
	version := p.version
	p.mapping.Unlock()
	s, err := ReadMap(p.disk, p.path, p.Ident)
	if err != nil {
		return err
	}
	f, err := p.disk.Open(p.path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = f.Sync()
	p.mapping.Lock()
	defer p.mapping.Unlock()
	if err != nil {
		p.refused = true
	}
	switch {
	case err != nil && p.sealed:
		return err
	case err != nil:
		return errors.Join(err, remove(p.disk, MapPath(p.path)))
	case p.sealed || p.version != version:
		return nil
	}
	return p.writeMap(s.encode(p.Ident, p.disk.Boot(), true))
}

// Refused reports whether the disk did not take all that was written: the
// kernel may keep what the disk does not have.
func (p *File) Refused() bool {
	p.mapping.Lock()
	defer p.mapping.Unlock()
	return p.refused
}

// Publish closes the verified file, write-protects it and hands it to rename,
// which gives it its final name. Nothing writes to it afterwards.
func (p *File) Publish(rename func(from string) error) error {
	p.mapping.Lock()
	p.sealed = true
	p.mapping.Unlock()
	if f := p.f.Load(); f != nil {
		if err := f.Chmod(0o444); err != nil {
			return err
		}
	}
	p.Close()
	if err := rename(p.path); err != nil {
		p.reopen()
		return err
	}
	remove(p.disk, MapPath(p.path)) // without its file it means nothing
	return nil
}

// reopen makes a file that could not be published a partial file again.
func (p *File) reopen() {
	if p.disk.Chmod(p.path, 0o600) != nil {
		return
	}
	f, err := p.disk.OpenWrite(p.path)
	if err != nil {
		return
	}
	p.mapping.Lock()
	defer p.mapping.Unlock()
	p.f.Store(&opened{f})
	p.sealed = p.adopted
}

// Discard throws the file and its map away. Should it not be possible to remove
// them, nothing is left in the file that could be taken for content.
func (p *File) Discard() error {
	p.mapping.Lock()
	p.sealed = true
	p.mapping.Unlock()
	if f := p.f.Load(); f != nil && !p.adopted {
		f.Truncate(0)
	}
	p.Close()
	return Remove(p.disk, p.path)
}

// Left returns what is on disk of the partial file at path, in bytes.
func Left(d disk.Disk, path string) (n int64) {
	if info, err := d.Stat(path); err == nil {
		n = info.Blocks // it has holes
	}
	if info, err := d.Stat(MapPath(path)); err == nil {
		n += info.Charge()
	}
	return n
}

// Remove removes the partial file at path and its map: the map first, for it
// must never speak of another file.
func Remove(d disk.Disk, path string) error {
	if err := remove(d, MapPath(path)); err != nil {
		return err
	}
	return remove(d, path)
}

func remove(d disk.Disk, path string) error {
	if err := d.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Close closes the file. It may be called again.
func (p *File) Close() {
	if f := p.f.Swap(nil); f != nil {
		f.Close()
	}
}

// Leave closes the file, with its map if anything is in it and the whole stays
// within limit bytes of disk; else it is removed, as a file is that a source
// brought as a whole, or that the disk did not take. It returns the blocks, in bytes, that are left.
func (p *File) Leave(s Stock, limit int64) (left int64, err error) {
	p.mapping.Lock()
	useless := p.sealed || p.refused
	p.mapping.Unlock()
	if useless {
		return 0, p.Discard()
	}
	blocks, err := p.trim(s.Have)
	if err == nil && blocks > 0 {
		if err = p.SaveMap(s); err == nil {
			if info, statErr := p.disk.Stat(MapPath(p.path)); statErr == nil {
				blocks += info.Charge()
			}
			if blocks <= limit {
				p.Close()
				return blocks, nil
			}
		}
	}
	return 0, errors.Join(err, p.Discard())
}

// trim gives back blocks that were allocated for bytes that did not come, and
// returns how many, in bytes, the file has.
func (p *File) trim(have Ranges) (int64, error) {
	f := p.f.Load()
	if f == nil {
		return 0, fs.ErrClosed
	}
	if len(have) == 0 {
		return 0, nil
	}
	if err := f.Truncate(have[len(have)-1].End); err != nil {
		return 0, err
	}
	at, blocks := int64(0), int64(0)
	for _, i := range have {
		// Where holes cannot be made, the blocks are counted below.
		if from := disk.RoundUp(at); from < disk.RoundDown(i.Off) {
			f.Punch(from, disk.RoundDown(i.Off)-from)
		}
		blocks += disk.RoundUp(i.End) - max(disk.RoundDown(i.Off), disk.RoundUp(at))
		at = i.End
	}
	info, err := f.Stat()
	return max(blocks, info.Blocks), err
}
