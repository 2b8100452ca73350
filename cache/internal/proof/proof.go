// Package proof compares files with the keys that name their content, and knows
// which files of the user's own were found to match theirs.
//
// Nothing but the hash vouches for a file of the user's: not its name, and not
// that it matched once, if it is another file since or was changed. Such files are
// read where they lie, never copied and never changed.
package proof

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

var (
	// ErrUnverifiable says that a key's content could not be verified.
	ErrUnverifiable = errors.New("content cannot be verified")
	// ErrWrong says that content is not what its key names.
	ErrWrong = partial.ErrWrong
	// ErrChanged says that a file is not the one that it was.
	ErrChanged = errors.New("object is not what it was")
)

// Size returns the size of a key's content, in bytes, if it could be
// verified.
func Size(key annex.Key) (int64, error) {
	size, ok := key.Size()
	if !ok {
		return 0, fmt.Errorf("%w: %s says no size", ErrUnverifiable, key)
	}
	if _, _, ok := key.NewHash(); !ok {
		return 0, fmt.Errorf("%w: %s has no hash that is known here", ErrUnverifiable, key)
	}
	return size, nil
}

// Compare hashes a file, which must stay the one it was. Its error is [ErrChanged] if
// it did not, [ErrWrong] if its hash is another one than the key's, or the disk's.
func Compare(ctx context.Context, f disk.File, id disk.ID, key annex.Key) error {
	h, want, ok := key.NewHash()
	if !ok {
		return ErrUnverifiable
	}
	if err := hashFile(ctx, h, io.NewSectionReader(f, 0, id.Size)); err != nil {
		return err
	}
	after, err := f.Stat()
	switch {
	case err != nil:
		return err
	case after.ID != id:
		return ErrChanged // it changed meanwhile
	case hex.EncodeToString(h.Sum(nil)) != want:
		return ErrWrong
	}
	return nil
}

const hashChunk = 1 << 20

func hashFile(ctx context.Context, h hash.Hash, r io.Reader) error {
	for {
		n, err := io.CopyN(h, r, hashChunk)
		if err == io.EOF && n < hashChunk {
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
