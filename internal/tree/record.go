package tree

import (
	"fmt"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// A record is an Entry with its key taken apart: what both the arrays and the
// stored form of a directory hold.
type record struct {
	name   string
	kind   Kind
	size   int64
	form   keyForm // of files; the zero form marks an odd key
	digest string  // of files: binary digest, or an odd key's text
	target string  // of links
}

// newRecord fails with ErrInvalid when e's key, made by hand, cannot be read
// again.
func newRecord(e *Entry) (record, error) {
	r := record{name: e.Name, kind: e.Kind}
	switch e.Kind {
	case Link:
		r.size, r.target = int64(len(e.Target)), e.Target
	case Annexed, Git:
		r.size = e.Size
		var ok bool
		if r.form, r.digest, ok = splitKey(e.Key, e.Size); !ok {
			r.digest = e.Key.String()
			if k, err := annex.ParseKey(r.digest); err != nil || k != e.Key {
				return r, fmt.Errorf("%w: %w", ErrInvalid, err)
			}
		}
	}
	return r, nil
}

// key puts the key together again; zero for directories and links, and for
// text that is no key.
func (r *record) key() annex.Key {
	if r.kind != Annexed && r.kind != Git {
		return annex.Key{}
	}
	text := r.digest
	if r.form.n > 0 {
		text = r.form.text(r.digest, r.size)
	}
	k, _ := annex.ParseKey(text) // zero on error: every key was parsed on its way in
	return k
}

func (r *record) entry() Entry {
	return Entry{Name: r.name, Kind: r.kind, Size: r.size, Key: r.key(), Target: r.target}
}

// An arena keeps many short strings end to end in chunks, so that growing
// never copies what is there.
type arena struct {
	full []string
	cur  strings.Builder
}

const (
	chunkBits = 20
	chunkSize = 1 << chunkBits
	maxChunks = 1 << (32 - chunkBits)
)

// room makes the next n bytes lie in one chunk and returns their place; ok is
// false when the arena is full.
func (a *arena) room(n int) (off uint32, ok bool) {
	if a.cur.Len()+n > chunkSize {
		a.full = append(a.full, a.cur.String())
		a.cur.Reset()
		a.cur.Grow(chunkSize)
	}
	return uint32(len(a.full))<<chunkBits | uint32(a.cur.Len()), len(a.full) < maxChunks
}

// chunks returns everything written; the arena is not used after it.
func (a *arena) chunks() []string {
	return append(a.full, strings.Clone(a.cur.String()))
}
