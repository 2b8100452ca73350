package gitstore

import (
	"context"
	"io"
)

// openLarge opens an object that is too large to hold in memory, or to hold
// the lock for, through files of its own.
func (g *goGit) openLarge(ctx context.Context, id OID) (io.Reader, func(), error) {
	stores, err := g.open()
	if err != nil {
		return nil, nil, err
	}
	found, err := lookup(stores, id, readObject)
	if err != nil {
		closeStores(stores)
		return nil, nil, err
	}
	r := &lazyReader{ctx: ctx, open: found.Reader}
	return r, func() {
		r.finish()
		closeStores(stores)
	}, nil
}

// A lazyReader opens what it reads when it is first read.
type lazyReader struct {
	ctx  context.Context // of the call that reads
	open func() (io.ReadCloser, error)
	r    io.ReadCloser
}

func (l *lazyReader) Read(p []byte) (n int, err error) {
	defer recoverDamage(&err)
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	if l.r == nil {
		if l.r, err = l.open(); err != nil {
			return 0, err
		}
	}
	return l.r.Read(p)
}

// finish closes the reader. Behind it may be a goroutine of go-git's that only
// ends when all has been read.
func (l *lazyReader) finish() {
	if l.r != nil {
		io.Copy(io.Discard, l.r)
		l.r.Close()
	}
}
