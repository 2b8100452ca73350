package layout

import (
	"slices"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// Named returns the files of a directory with a suffix and, if it is given, an
// extension.
func (l *Layout) Named(d int32, suffix, ext string) []int32 {
	s, ok := l.Words.Find(suffix)
	if !ok {
		return nil
	}
	if ext == "" {
		return l.find(d, s, 0, NoWord)
	}
	if e, ok := l.Words.Find(ext); ok {
		return l.find(d, s, e, e)
	}
	return nil
}

// Applies reports whether no entity of g is absent from f or differs there.
func (l *Layout) Applies(g, f File, extra []string) bool {
	for _, p := range l.Entities(g) {
		v := l.Value(f, p.Key)
		if v != p.Value && (v == 0 || !l.sameIndex(p.Key, v, p.Value)) && !slices.Contains(extra, l.Words.Text[p.Key]) {
			return false
		}
	}
	return true
}

// Equal reports whether two files have the same entities, but for one.
func (l *Layout) Equal(g, f File, but string) bool {
	extra := []string{but}
	return l.Applies(g, f, extra) && l.Applies(f, g, extra)
}

// sameIndex reports whether two values of an index entity are the same number.
func (l *Layout) sameIndex(key, a, b Word) bool {
	return l.Words.Number[a] == l.Words.Number[b] && schema.IsIndex(l.Words.Text[key])
}

// NoWord is the key of an entity that no file has.
const NoWord = ^Word(0)
