package bids

import (
	"slices"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// word is an interned string; 0 is the empty one. A dataset of a million
// files has some hundred different labels.
type word uint32

type words struct {
	id     map[string]word
	text   []string
	number []word // of each word: the word of its number, see number
}

func newWords() words {
	return words{id: map[string]word{"": 0}, text: []string{""}, number: []word{0}}
}

func (w *words) intern(s string) word {
	if id, ok := w.id[s]; ok {
		return id
	}
	s = string([]byte(s)) // not a part of a long path
	id := word(len(w.text))
	w.id[s] = id
	w.text = append(w.text, s)
	w.number = append(w.number, id)
	if n := schema.Number(s); n != s {
		w.number[id] = w.intern(n)
	}
	return id
}

// find returns the word of s; ok is false when no name has it.
func (w *words) find(s string) (word, bool) {
	id, ok := w.id[s]
	return id, ok
}

// sorted returns the texts of a set of words, numbers by their value.
func (w *words) sorted(set map[word]int) []string {
	list := make([]string, 0, len(set))
	for id := range set {
		list = append(list, w.text[id])
	}
	slices.SortFunc(list, schema.CompareLabels)
	return list
}
