package bids

import (
	"fmt"
	"slices"

	"github.com/uniharmony/uniharmonyfs/bids/filter"
)

// Selection says which files are asked for. A file is primary if for every
// dimension that is given it matches one of the values; a file that lacks a
// dimension's entity matches only @none. The zero value selects everything
// but code, derivatives and sourcedata.
//
// Values of entities may have their prefix (sub-01), be globs over the whole
// label, or be @none or @any.
type Selection struct {
	Entities map[string][]string `json:",omitempty"`         // by short name: sub, ses, task, run, acq …
	Datatype []string            `json:"Modality,omitempty"` // datatypes: directory names; mri is a group of them
	Suffix   []string            `json:",omitempty"`
	Ext      []string            `json:",omitempty"` // from the first dot; the dot may be left out

	// AnyOf are further queries: a primary file also matches one of them, if
	// there are any.
	AnyOf []filter.Query `json:",omitempty"`

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
	return Full, &filter.UsageError{Dimension: "companions", Value: s, Why: "is none of the levels there are", Do: "use full, required or none"}
}

// isWhole reports whether nothing narrows the primary selection, but perhaps
// Exclude.
func (s *Selection) isWhole() bool {
	return len(s.Entities)+len(s.Datatype)+len(s.Suffix)+len(s.Ext)+len(s.AnyOf)+len(s.Include)+len(s.Where) == 0
}

// Validate returns a *UsageError when a value can match nothing in any
// dataset.
func (s Selection) Validate() error {
	if int(s.Companions) >= len(companionNames) {
		return &filter.UsageError{Dimension: "companions", Value: fmt.Sprint(uint8(s.Companions)), Why: "is no level", Do: "use full, required or none"}
	}
	if err := (filter.Query{Entities: s.Entities, Datatype: s.Datatype, Suffix: s.Suffix, Ext: s.Ext}).Validate(); err != nil {
		return err
	}
	for _, q := range s.AnyOf {
		if err := q.Validate(); err != nil {
			return err
		}
	}
	if s.Where != "" {
		if _, err := filter.ParseCondition(s.Where); err != nil {
			return err
		}
	}
	for name, globs := range map[string][]string{"include": s.Include, "exclude": s.Exclude, "root-files": s.RootFiles, "derivatives": s.Derivatives} {
		for _, g := range globs {
			if _, err := filter.CompileGlob(g); err != nil || g == "" {
				return &filter.UsageError{Dimension: name, Value: filter.Quoted(g), Why: "is no glob", Do: "close its brackets, or leave them out"}
			}
		}
	}
	return nil
}
