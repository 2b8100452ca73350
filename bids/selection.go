package bids

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// Selection says which files are asked for. A file is primary if for every
// dimension that is given it matches one of the values; a file that lacks a
// dimension's entity matches only @none. The zero value selects everything
// but code, derivatives and sourcedata.
//
// Values of entities may have their prefix (sub-01), be globs over the whole
// label, or be @none or @any.
type Selection struct {
	Entities map[string][]string `json:",omitempty"` // by short name: sub, ses, task, run, acq …
	Modality []string            `json:",omitempty"` // datatypes: directory names; mri is a group of them
	Suffix   []string            `json:",omitempty"`
	Ext      []string            `json:",omitempty"` // from the first dot; the dot may be left out

	// AnyOf are further queries: a primary file also matches one of them, if
	// there are any.
	AnyOf []Query `json:",omitempty"`

	// Where is a condition on columns of participants.tsv, sessions.tsv and
	// scans.tsv and on fields of JSON sidecars: age > 30 and sex == "F". The
	// language is that of github.com/expr-lang/expr.
	Where string `json:",omitempty"`

	RootFiles  []string   `json:",omitempty"` // nil or all; none; or names and globs
	Companions Companions `json:",omitempty"`

	Derivatives    []string `json:",omitempty"` // names or globs of directories below derivatives
	AllDerivatives bool     `json:",omitempty"`
	Sourcedata     bool     `json:",omitempty"`
	Code           bool     `json:",omitempty"`

	Include []string `json:",omitempty"` // globs: primary files match one of them
	Exclude []string `json:",omitempty"` // globs: nothing in the view matches one of them

	// IntendedForKeep leaves IntendedFor as it is, also where it names files
	// that are not shown.
	IntendedForKeep bool `json:",omitempty"`
}

// Query is one of the alternatives in Selection.AnyOf. Its fields mean what
// those of Selection mean.
type Query struct {
	Name     string              `json:",omitempty"` // for people
	Entities map[string][]string `json:",omitempty"`
	Modality []string            `json:",omitempty"`
	Suffix   []string            `json:",omitempty"`
	Ext      []string            `json:",omitempty"`
}

// Companions says how many companion files come along.
type Companions uint8

// Levels of companions.
const (
	Full     Companions = iota // all that belong to a file
	Required                   // those without which data cannot be read or is invalid
	NoCompanions
)

var companionNames = [...]string{Full: "full", Required: "required", NoCompanions: "none"}

func (c Companions) String() string { return companionNames[c] }

// ParseCompanions reads full, required or none; the empty string is full.
func ParseCompanions(s string) (Companions, error) {
	if s == "" {
		return Full, nil
	}
	if i := slices.Index(companionNames[:], s); i >= 0 {
		return Companions(i), nil
	}
	return Full, &UsageError{Dimension: "companions", Value: s, Why: "is none of the levels there are", Do: "use full, required or none"}
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

// isWhole reports whether nothing narrows the primary selection, but perhaps
// Exclude.
func (s *Selection) isWhole() bool {
	return len(s.Entities)+len(s.Modality)+len(s.Suffix)+len(s.Ext)+len(s.AnyOf)+len(s.Include)+len(s.Where) == 0
}

// Validate returns a *UsageError when a value can match nothing in any
// dataset.
func (s Selection) Validate() error {
	if int(s.Companions) >= len(companionNames) {
		return &UsageError{Dimension: "companions", Value: fmt.Sprint(uint8(s.Companions)), Why: "is no level", Do: "use full, required or none"}
	}
	if err := validQuery(Query{Entities: s.Entities, Modality: s.Modality, Suffix: s.Suffix, Ext: s.Ext}); err != nil {
		return err
	}
	for _, q := range s.AnyOf {
		if err := validQuery(q); err != nil {
			return err
		}
	}
	if s.Where != "" {
		if _, _, err := compileWhere(s.Where); err != nil {
			return err
		}
	}
	for name, globs := range map[string][]string{"include": s.Include, "exclude": s.Exclude, "root-files": s.RootFiles, "derivatives": s.Derivatives} {
		for _, g := range globs {
			if _, err := compileGlob(g); err != nil || g == "" {
				return &UsageError{Dimension: name, Value: quoted(g), Why: "is no glob", Do: "close its brackets, or leave them out"}
			}
		}
	}
	return nil
}

func validQuery(q Query) error {
	for _, key := range slices.Sorted(maps.Keys(q.Entities)) {
		if !schema.IsLabel(key) {
			return &UsageError{Dimension: "entity", Value: quoted(key), Why: "is no entity", Do: "entities are letters and digits, as task"}
		}
		for _, v := range q.Entities[key] {
			if err := validLabel(schema.ShortKey(key), v); err != nil {
				return err
			}
		}
	}
	for name, values := range map[string][]string{dimModality: q.Modality, dimSuffix: q.Suffix, dimExt: q.Ext} {
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
			return &UsageError{Dimension: key, Value: quoted(value), Why: "is no glob", Do: "close its brackets"}
		}
		return nil
	}
	if schema.IsIndex(key) && !schema.IsDigits(label) {
		return &UsageError{Dimension: key, Value: quoted(value), Why: "is not a number", Do: fmt.Sprintf("values are numbers, as in --%s 1; or %s, %s, or a glob", key, None, Any)}
	}
	if !schema.IsLabel(label) {
		return &UsageError{Dimension: key, Value: quoted(value), Why: "is no BIDS label", Do: "labels are letters, digits and +; a glob (*, ?) matches others"}
	}
	return nil
}

// validWord checks a modality, suffix or extension.
func validWord(name, value string) error {
	switch {
	case value == None || value == Any:
		return nil
	case value == "" || strings.ContainsAny(value, "\x00\n"), strings.Contains(strings.TrimRight(value, "/"), "/"):
		return &UsageError{Dimension: name, Value: quoted(value), Why: "is no word that a file name can have", Do: "leave it out, or give a word as in --" + name + " " + example(name)}
	case isGlob(value):
		if _, err := path.Match(goGlob(value), ""); err != nil {
			return &UsageError{Dimension: name, Value: quoted(value), Why: "is no glob", Do: "close its brackets"}
		}
	}
	return nil
}

// example returns a word that many datasets have.
func example(dimension string) string {
	switch dimension {
	case dimModality:
		return "anat"
	case dimSuffix:
		return "T1w"
	}
	return ".nii.gz"
}

// quoted shows a value that a reader could not tell from the words around it.
func quoted(s string) string {
	if s == "" || strings.ContainsAny(s, " \t\n\x00") {
		return fmt.Sprintf("%q", s)
	}
	return s
}
