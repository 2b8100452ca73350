package candidates

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Entry is a setting as it stands in one place. Key is as git prints it: section
// and variable in lower case.
type Entry struct {
	Key, Value string
	NoValue    bool // the variable stands there without "="
}

// maxConfig is the size in bytes of the largest file of settings that is read.
const maxConfig = 16 << 20

// ParseFile reads a file in git's syntax, such as .gitmodules, as git does when it
// follows no includes.
func ParseFile(file []byte) ([]Entry, error) {
	if len(file) > maxConfig {
		return nil, fmt.Errorf("it has more than %d bytes", maxConfig)
	}
	file = bytes.TrimPrefix(file, []byte("\xef\xbb\xbf"))
	s := scanner{rest: bytes.ReplaceAll(file, []byte("\r\n"), []byte("\n")), line: 1}
	for {
		c, ok := s.next()
		switch {
		case !ok:
			return s.entries, nil
		case isSpace(c):
		case c == '#' || c == ';':
			s.skipLine()
		case c == '[':
			if !s.section() {
				return nil, s.bad()
			}
		case isAlpha(c) && s.prefix != "":
			if !s.variable(c) {
				return nil, s.bad()
			}
		default:
			return nil, s.bad()
		}
	}
}

// scanner is where a file is being read.
type scanner struct {
	rest    []byte
	line    int
	prefix  string // of the section, with its dot
	entries []Entry
}

func (s *scanner) bad() error { return fmt.Errorf("line %d is not in git's syntax", s.line) }

func (s *scanner) next() (byte, bool) {
	if len(s.rest) == 0 {
		return 0, false
	}
	c := s.rest[0]
	s.rest = s.rest[1:]
	if c == '\n' {
		s.line++
	}
	return c, true
}

func (s *scanner) skipLine() {
	for {
		if c, ok := s.next(); !ok || c == '\n' {
			return
		}
	}
}

// section reads the rest of [name] or [name "subsection"].
func (s *scanner) section() bool {
	var name []byte
	for {
		c, ok := s.next()
		switch {
		case !ok:
			return false
		case c == ']':
			s.prefix = string(bytes.ToLower(name)) + "."
			return true
		case c == ' ' || c == '\t':
			return s.subsection(name)
		case !isAlpha(c) && !isDigit(c) && c != '-' && c != '.':
			return false
		}
		name = append(name, c)
	}
}

func (s *scanner) subsection(name []byte) bool {
	c, ok := s.next()
	for ; ok && (c == ' ' || c == '\t'); c, ok = s.next() {
	}
	if c != '"' {
		return false
	}
	var sub []byte
	for {
		c, ok := s.next()
		if c == '"' {
			break
		}
		if c == '\\' {
			c, ok = s.next()
		}
		if !ok || c == '\n' || c == 0 {
			return false
		}
		sub = append(sub, c)
	}
	s.prefix = string(bytes.ToLower(name)) + "." + string(sub) + "."
	c, _ = s.next()
	return c == ']'
}

// variable reads the rest of name, or of name = value.
func (s *scanner) variable(first byte) bool {
	name := []byte{first}
	c, ok := s.next()
	for ; ok && (isAlpha(c) || isDigit(c) || c == '-'); c, ok = s.next() {
		name = append(name, c)
	}
	for ; ok && (c == ' ' || c == '\t'); c, ok = s.next() {
	}
	e := Entry{Key: s.prefix + string(bytes.ToLower(name))}
	switch {
	case !ok || c == '\n':
		e.NoValue = true
	case c != '=':
		return false
	default:
		value, err := s.value()
		if err != nil {
			return false
		}
		e.Value = value
	}
	s.entries = append(s.entries, e)
	return true
}

var errSyntax = errors.New("syntax")

// escapes are what may follow a backslash in a value.
var escapes = map[byte]byte{'t': '\t', 'b': '\b', 'n': '\n', '\\': '\\', '"': '"'}

// value reads to the end of the line: quoted or not, with comments, and with lines
// that go on in the next one.
func (s *scanner) value() (string, error) {
	var out, spaces []byte
	quoted := false
	put := func(c byte) { out, spaces = append(append(out, spaces...), c), nil }
	for {
		c, ok := s.next()
		switch {
		case !ok || c == '\n':
			if quoted {
				return "", errSyntax
			}
			return string(out), nil
		case c == 0:
			return "", errSyntax
		case isSpace(c) && !quoted:
			if len(out) > 0 {
				spaces = append(spaces, c)
			}
		case (c == '#' || c == ';') && !quoted:
			s.skipLine()
			return string(out), nil
		case c == '"':
			quoted = !quoted
		case c == '\\':
			c, ok := s.next()
			if ok && c == '\n' {
				continue
			}
			plain, known := escapes[c]
			if !ok || !known {
				return "", errSyntax
			}
			put(plain)
		default:
			put(c)
		}
	}
}

func isSpace(c byte) bool { return strings.IndexByte(" \t\n\r\v\f", c) >= 0 }
func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// ParseList reads what `git config -z --list` prints.
func ParseList(out string) (entries []Entry) {
	for record := range strings.SplitSeq(out, "\x00") {
		key, value, has := strings.Cut(record, "\n")
		if strings.Contains(key, ".") {
			entries = append(entries, Entry{Key: key, Value: value, NoValue: !has})
		}
	}
	return entries
}
