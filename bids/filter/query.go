package filter

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// Query is what a file name, and the directory that it is in, have to say. A
// file has to match one of the values of every dimension that is given; one
// that lacks a dimension's entity matches only @none.
//
// Values of entities may have their prefix (sub-01), be globs over the whole
// label, or be @none or @any.
type Query struct {
	Name     string              `json:",omitempty"`         // for people
	Entities map[string][]string `json:",omitempty"`         // by short name: sub, ses, task, run, acq …
	Datatype []string            `json:"Modality,omitempty"` // datatypes: directory names; mri is a group of them
	Suffix   []string            `json:",omitempty"`
	Ext      []string            `json:",omitempty"` // from the first dot; the dot may be left out
}

// UsageError is a selection that means nothing, whatever the dataset.
type UsageError struct {
	Dimension string // the flag without dashes: "run"
	Value     string
	Why       string // "is not a number"
	Do        string // "give a number, as in --run 1"
}

func (e *UsageError) Error() string {
	return fmt.Sprintf("--%s %s %s: %s", e.Dimension, e.Value, e.Why, e.Do)
}

// Validate returns a *UsageError when a value can match nothing in any dataset.
func (q Query) Validate() error {
	for _, key := range slices.Sorted(maps.Keys(q.Entities)) {
		if !schema.IsLabel(key) {
			return &UsageError{Dimension: "entity", Value: Quoted(key), Why: "is no entity", Do: "entities are letters and digits, as task"}
		}
		for _, v := range q.Entities[key] {
			if err := validLabel(schema.ShortKey(key), v); err != nil {
				return err
			}
		}
	}
	for name, values := range map[string][]string{Datatype: q.Datatype, Suffix: q.Suffix, Extension: q.Ext} {
		for _, v := range values {
			if err := validWord(name, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// validLabel checks a value of an entity.
func validLabel(key, value string) error {
	if value == None || value == Any {
		return nil
	}
	label := strings.TrimPrefix(value, key+"-")
	if isGlob(label) {
		if _, err := path.Match(goGlob(label), ""); err != nil {
			return &UsageError{Dimension: key, Value: Quoted(value), Why: "is no glob", Do: "close its brackets"}
		}
		return nil
	}
	if schema.IsIndex(key) && !schema.IsDigits(label) {
		return &UsageError{Dimension: key, Value: Quoted(value), Why: "is not a number", Do: fmt.Sprintf("values are numbers, as in --%s 1; or %s, %s, or a glob", key, None, Any)}
	}
	if !schema.IsLabel(label) {
		return &UsageError{Dimension: key, Value: Quoted(value), Why: "is no BIDS label", Do: "labels are letters, digits and +; a glob (*, ?) matches others"}
	}
	return nil
}

// validWord checks a modality, suffix or extension.
func validWord(name, value string) error {
	switch {
	case value == None || value == Any:
		return nil
	case value == "" || strings.ContainsAny(value, "\x00\n"), strings.Contains(strings.TrimRight(value, "/"), "/"):
		return &UsageError{Dimension: name, Value: Quoted(value), Why: "is no word that a file name can have", Do: "leave it out, or give a word as in --" + name + " " + example(name)}
	case isGlob(value):
		if _, err := path.Match(goGlob(value), ""); err != nil {
			return &UsageError{Dimension: name, Value: Quoted(value), Why: "is no glob", Do: "close its brackets"}
		}
	}
	return nil
}

// example returns a word that many datasets have.
func example(dimension string) string {
	switch dimension {
	case Datatype:
		return "anat"
	case Suffix:
		return "T1w"
	}
	return ".nii.gz"
}

// Quoted quotes a value that a reader could not tell from the words around it.
func Quoted(s string) string {
	if s == "" || strings.ContainsAny(s, " \t\n\x00") {
		return fmt.Sprintf("%q", s)
	}
	return s
}
