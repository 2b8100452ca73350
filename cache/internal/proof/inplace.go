package proof

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Files are which files are known to match their key, or not to: a few thousand, the
// last ones. It is safe for concurrent use; its lock is a leaf.
type Files struct {
	Disk disk.Disk
	// Context ends when no file may be checked any more; its cause is told.
	Context context.Context
	// Spawn runs a function in the background; failed is told of its panic.
	Spawn func(what string, fn func(), failed func(error))

	mu    sync.Mutex // guards the following
	by    map[provenFile]*proof
	order []provenFile
}

type provenFile struct {
	key annex.Key
	id  disk.ID
}

// proof is a file that was compared with its key, or is being.
type proof struct {
	done chan struct{}
	err  error // valid after done; nil: it matches
}

const most = 1 << 14

// known returns the proof of a file, if it is at its end.
func (fs *Files) known(of provenFile) *proof {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if k := fs.by[of]; k != nil {
		select {
		case <-k.done:
			return k
		default:
		}
	}
	return nil
}

// get returns the proof of a file, and whether it is to be begun.
func (fs *Files) get(of provenFile) (*proof, bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if k := fs.by[of]; k != nil {
		return k, false
	}
	if fs.by == nil {
		fs.by = make(map[provenFile]*proof)
	}
	if len(fs.order) >= most {
		delete(fs.by, fs.order[0])
		fs.order = fs.order[1:]
	}
	k := &proof{done: make(chan struct{})}
	fs.by[of] = k
	fs.order = append(fs.order, of)
	return k, true
}

// drop forgets a proof that came to nothing.
func (fs *Files) drop(of provenFile, k *proof) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.by[of] == k {
		delete(fs.by, of)
	}
}

// InPlace is a file that has a key's content, of the user's own or in another cache. It
// is hashed before it is served for the first time, and again when it is another file or
// was changed. Its methods are safe for concurrent use.
type InPlace struct {
	fs   *Files
	of   provenFile
	path string
	f    disk.File
	lent bool // nobody changes it, but its names may come and go
}

// Open opens the file at path, if it has the size of the key's content and was not
// found to be wrong. It reads nothing. An error that [ErrWrong] is says that it is
// not the content.
func (fs *Files) Open(key annex.Key, path string) (*InPlace, error) {
	size, err := Size(key)
	if err != nil {
		return nil, err
	}
	f, err := fs.Disk.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size != size {
		err = fmt.Errorf("%w: %s has %d bytes", ErrWrong, path, info.Size)
	}
	l := &InPlace{fs: fs, of: provenFile{key, info.ID}, path: path, f: f}
	if err == nil {
		if k := fs.known(l.of); k != nil && k.err != nil {
			err = k.err // another source may have it
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

// Borrow opens an object of another cache as Open does. The other cache says with vouched
// which file it knows to match the key: that one is believed.
func (fs *Files) Borrow(key annex.Key, path string, vouched func() (disk.ID, bool)) (*InPlace, error) {
	l, err := fs.Open(key, path)
	if err != nil {
		return nil, err
	}
	l.lent = true
	if fs.known(l.of) == nil {
		if id, ok := vouched(); ok && id == l.of.id {
			fs.believe(l.of)
		}
	}
	return l, nil
}

// believe takes a file for the content of its key.
func (fs *Files) believe(of provenFile) {
	if k, begin := fs.get(of); begin {
		close(k.done)
	}
}

// prove returns when the file was found to match its key. The check goes on
// when a reader leaves: the next one will ask again.
func (l *InPlace) prove(ctx context.Context) error {
	if l.fs.Context.Err() != nil {
		return context.Cause(l.fs.Context)
	}
	k, begin := l.fs.get(l.of)
	if begin {
		l.fs.Spawn("the check of a file in place", func() { l.check(k) }, func(err error) {
			l.fs.drop(l.of, k)
			k.err = err
			close(k.done)
		})
	}
	select {
	case <-k.done:
		return k.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// check compares the file with its key. It opens it for itself, since the one
// who asks may leave.
func (l *InPlace) check(k *proof) {
	f, err := l.fs.Disk.Open(l.path)
	if err == nil {
		defer f.Close()
		var info disk.Info
		if info, err = f.Stat(); err == nil && info.ID != l.of.id {
			err = ErrChanged
		}
		if err == nil {
			err = Compare(l.fs.Context, f, info.ID, l.of.key)
		}
	}
	if err != nil {
		err = fmt.Errorf("the file %s: %w", l.path, err)
		if !errors.Is(err, ErrWrong) {
			l.fs.drop(l.of, k)
		}
	}
	k.err = err
	close(k.done)
}

// same reports whether the file is still the one that was proven.
func (l *InPlace) same() error {
	info, err := l.f.Stat()
	if err != nil {
		return err
	}
	if l.lent { // a link that is made or removed gives it another CTime
		info.CTime = l.of.id.CTime
	}
	if info.ID != l.of.id {
		return fmt.Errorf("%w: the file %s was changed while it was open", ErrWrong, l.path)
	}
	return nil
}

// Wait returns the file when it was found to match its key. It belongs to l
// and is valid until Close. Who has copied it asks Same whether that was the
// content.
func (l *InPlace) Wait(ctx context.Context) (*os.File, error) {
	if err := l.prove(ctx); err != nil {
		return nil, err
	}
	return l.f.OS(), l.same()
}

// Same returns an error when the file was changed since it was opened.
func (l *InPlace) Same() error { return l.same() }

// ReadAt reads like [io.ReaderAt]. The first read waits until the file was
// hashed.
func (l *InPlace) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := l.prove(ctx); err != nil {
		return 0, err
	}
	n, err := l.f.ReadAt(p, off)
	if err != nil && err != io.EOF {
		return 0, err
	}
	// Looked at after the read: what changes later was not read.
	if err := l.same(); err != nil {
		return 0, err
	}
	return n, err
}

// File returns the file for passthrough once it was found to match its key, and
// as long as nobody can have changed it since.
func (l *InPlace) File() *os.File {
	if k := l.fs.known(l.of); k != nil && k.err == nil && l.same() == nil {
		return l.f.OS()
	}
	return nil
}

// IsLent reports whether it is another cache's.
func (l *InPlace) IsLent() bool { return l.lent }

// Close closes the file.
func (l *InPlace) Close() error { return l.f.Close() }
