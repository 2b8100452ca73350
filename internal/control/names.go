package control

import (
	"encoding/json"
	"regexp"
	"unicode/utf8"
)

// A path is bytes, and JSON has only text. A path that is not UTF-8 comes as
// text for people, in which what is none is replaced, and exactly in a second
// field.

// Exact returns the bytes of a path for a second field: none when JSON has them.
func Exact(path string) []byte {
	if utf8.ValidString(path) {
		return nil
	}
	return []byte(path)
}

// restore gives a path the bytes of the second field, if it has one.
func restore(path *string, exact []byte) {
	if exact != nil {
		*path = string(exact)
	}
}

// replaced is what encoding/json makes of bytes that are no UTF-8. The character
// itself it writes as it is, and a backslash as two.
var replaced = regexp.MustCompile(`(^|[^\\])(\\\\)*\\ufffd`)

// isLossy reports whether something could not be written as JSON.
func isLossy(raw []byte) bool { return replaced.Match(raw) }

type exactFailed struct {
	*plainFailed
	Exact []byte `json:"path_base64,omitempty"`
}

type plainFailed FileFailed

// MarshalJSON adds path_base64 when the path is not UTF-8.
func (f FileFailed) MarshalJSON() ([]byte, error) {
	return json.Marshal(exactFailed{(*plainFailed)(&f), Exact(f.Path)})
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (f *FileFailed) UnmarshalJSON(data []byte) error {
	e := exactFailed{plainFailed: (*plainFailed)(f)}
	err := json.Unmarshal(data, &e)
	restore(&f.Path, e.Exact)
	return err
}
