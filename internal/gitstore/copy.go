package gitstore

import (
	"context"
	"fmt"
	"io"
)

// Copy writes the content of a blob of any size to w and returns how much it
// wrote. Without an error that was all of it and right. Damage may show only
// at the end, when wrong bytes have been written.
func (s *Store) Copy(ctx context.Context, id OID, w io.Writer) (written int64, err error) {
	if !id.valid() {
		return 0, notAnID(id)
	}
	var sum *objectHash
	err = s.backend.stream(ctx, []OID{id}, false, func(_ int, o object) error {
		if o.kind != "blob" {
			return fmt.Errorf("%s is a %s, not a blob", id, o.kind)
		}
		if sum == nil {
			sum = newObjectHash(o.kind, o.size)
		}
		// Called again after a child died: the content is the same, so go on
		// where the last one stopped.
		if _, err := io.CopyN(io.Discard, o.content, written); err != nil {
			return fmt.Errorf("%s: %w: %v", id, ErrDamaged, err)
		}
		n, err := copyTo(w, sum, o.content)
		written += n
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", id, err)
		case written != o.size || sum.id() != id:
			return fmt.Errorf("%s: %w: content has the id %s", id, ErrDamaged, sum.id())
		}
		return nil
	})
	return written, err
}

// copyTo copies r to w, and to sum exactly what reached w.
func copyTo(w io.Writer, sum io.Writer, r io.Reader) (written int64, err error) {
	buf := make([]byte, 64<<10)
	for {
		n, rerr := r.Read(buf)
		if n > 0 {
			m, werr := w.Write(buf[:n])
			m = min(max(m, 0), n)
			sum.Write(buf[:m]) // a hash never fails
			written += int64(m)
			if werr == nil && m < n {
				werr = io.ErrShortWrite
			}
			if werr != nil {
				return written, werr
			}
		}
		if rerr == io.EOF {
			return written, nil
		}
		if rerr != nil {
			return written, fmt.Errorf("%w: %v", ErrDamaged, rerr)
		}
	}
}
