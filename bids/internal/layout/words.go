package layout

import (
	"slices"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// Word is an interned string; 0 is the empty one. A dataset of a million
// files has some hundred different labels.
type Word uint32

type words struct {
	id     map[string]Word
	Text   []string
	Number []Word // of each word: the word of its number, see number
}

func newWords() words {
	return words{id: map[string]Word{"": 0}, Text: []string{""}, Number: []Word{0}}
}

func (w *words) intern(s string) Word {
	if id, ok := w.id[s]; ok {
		return id
	}
	s = string([]byte(s)) // not a part of a long path
	id := Word(len(w.Text))
	w.id[s] = id
	w.Text = append(w.Text, s)
	w.Number = append(w.Number, id)
	if n := schema.Number(s); n != s {
		w.Number[id] = w.intern(n)
	}
	return id
}

// Find returns the word of s; ok is false when no name has it.
func (w *words) Find(s string) (Word, bool) {
	id, ok := w.id[s]
	return id, ok
}

// Sorted returns the texts of a set of words, numbers by their value.
func (w *words) Sorted(set map[Word]int) []string {
	list := make([]string, 0, len(set))
	for id := range set {
		list = append(list, w.Text[id])
	}
	slices.SortFunc(list, schema.CompareLabels)
	return list
}
