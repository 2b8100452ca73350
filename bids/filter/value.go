package filter

import (
	"path"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// Dimensions that are no entities: what a file name or its directory says
// without a key. They are named as the flags are.
const (
	Datatype  = "modality"
	Suffix    = "suffix"
	Extension = "ext"
)

// Values that stand for the absence and the presence of an entity. No label
// can hold their first character.
const (
	None = "@none"
	Any  = "@any"
)

// IsPseudo reports whether a dimension is none of an entity.
func IsPseudo(name string) bool {
	return name == Datatype || name == Suffix || name == Extension
}

// Matches reports whether a value that was asked for in a dimension matches what
// a file has (not the absence of it).
func Matches(name, value, have string) bool {
	switch {
	case value == None || value == Any:
		return false
	case name == Extension:
		value = extension(value)
	case name == Datatype && value == "mri":
		return schema.IsMRI(have)
	case !IsPseudo(name):
		value = strings.TrimPrefix(value, name+"-")
		if schema.IsIndex(name) && schema.IsDigits(value) {
			return schema.Number(value) == schema.Number(have) && schema.IsDigits(have)
		}
	}
	if isGlob(value) {
		ok, err := path.Match(goGlob(value), have)
		return ok && err == nil
	}
	return value == have
}

// extension gives an extension its leading dot; a directory's "/" goes.
func extension(value string) string {
	value = strings.TrimSuffix(value, "/")
	if value == "" || value[0] == '.' || value[0] == '*' || value[0] == '[' {
		return value
	}
	return "." + value
}
