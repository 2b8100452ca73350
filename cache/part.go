package cache

import (
	"context"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
)

// part is the partial file of a running transfer, with the hash of what it
// holds. The file is as long as what is there.
type part struct {
	t    *transfer
	f    *os.File
	size int64
	hash hash.Hash
	want string
}

const chunk = 1 << 20

func openPart(t *transfer) (*part, error) {
	f, st, err := openFile(t.c.store.partial(t.o.key), os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	p := &part{t: t, f: f, size: t.o.size}
	p.hash, p.want, _ = t.o.key.NewHash()
	t.have.Store(st.size)
	if st.size > p.size {
		if err := p.restart(); err != nil {
			f.Close()
			return nil, err
		}
	}
	if err := preallocate(f, p.size); err != nil {
		f.Truncate(p.have())
		f.Close()
		return nil, fmt.Errorf("cannot allocate %d bytes: %w", p.size, err)
	}
	return p, nil
}

func (p *part) have() int64 { return p.t.have.Load() }

// resume takes the hash of what is there from an earlier transfer.
func (p *part) resume(ctx context.Context) error {
	return hashFile(ctx, p.hash, io.NewSectionReader(p.f, 0, p.have()))
}

func hashFile(ctx context.Context, h hash.Hash, r io.Reader) error {
	for {
		n, err := io.CopyN(h, r, chunk)
		if err == io.EOF && n < chunk {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// restart throws away what is there.
func (p *part) restart() error {
	p.hash, p.want, _ = p.t.o.key.NewHash()
	p.t.have.Store(0)
	return p.f.Truncate(0)
}

// write appends. The hash advances only over what the disk took.
func (p *part) write(b []byte) (int, error) {
	n, err := p.f.WriteAt(b, p.have())
	p.hash.Write(b[:n])
	p.t.have.Add(int64(n))
	return n, err
}

// verify checks the complete file against the key; a wrong one is thrown away.
func (p *part) verify() error {
	if p.have() == p.size && hex.EncodeToString(p.hash.Sum(nil)) == p.want {
		return nil
	}
	if err := p.restart(); err != nil {
		return err
	}
	return ErrMismatch
}

// adopt makes the file at path the partial file, if it is right.
func (p *part) adopt(ctx context.Context, path string) error {
	f, st, err := openFile(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	if st.size != p.size {
		f.Close()
		return fmt.Errorf("%w: it has %d bytes, not %d", ErrMismatch, st.size, p.size)
	}
	if err := hashFile(ctx, p.hash, f); err != nil {
		f.Close()
		return err
	}
	p.t.have.Store(p.size)
	if err := p.verify(); err != nil {
		f.Close()
		return err
	}
	if err := os.Rename(path, p.t.c.store.partial(p.t.o.key)); err != nil {
		f.Close()
		return err
	}
	p.f.Close()
	p.f = f
	return nil
}

// publish gives the verified file its final name.
func (p *part) publish() error {
	c, o := p.t.c, p.t.o
	if err := p.f.Chmod(0o444); err != nil {
		return err
	}
	if err := c.store.publish(o.key, c.store.partial(o.key)); err != nil {
		return err
	}
	st, err := stateOf(p.f)
	if err != nil {
		return err
	}
	p.t.final = &st
	return nil
}

// close ends the use of the file. Blocks that were allocated for bytes that
// did not come are given back.
func (p *part) close() {
	if p.have() < p.size {
		p.f.Truncate(p.have())
	}
	p.f.Close()
}
