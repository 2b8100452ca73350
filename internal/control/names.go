package control

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"unicode/utf16"
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

// isExact reports whether JSON that was received is text throughout: UTF-8, and
// no half of a surrogate pair (RFC 8259, section 8.2), which is no character.
func isExact(raw []byte) bool {
	if !utf8.Valid(raw) {
		return false
	}
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 || i+1 == len(raw) {
			return true
		}
		if raw = raw[i:]; raw[1] != 'u' {
			raw = raw[2:]
			continue
		}
		r, n := escaped(raw)
		if utf16.IsSurrogate(r) {
			second, m := escaped(raw[n:])
			if utf16.DecodeRune(r, second) == utf8.RuneError {
				return false
			}
			n += m
		}
		raw = raw[n:]
	}
}

// escaped reads \uXXXX at the beginning of raw, and how long that is; 0 is none.
func escaped(raw []byte) (r rune, n int) {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0, min(len(raw), 2)
	}
	v, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
	if err != nil {
		return 0, 2
	}
	return rune(v), 6
}

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
