package tree

import (
	"errors"
	"fmt"
	"strings"
)

// What AddDir and AddEncoded refuse; the errors they return wrap these.
var (
	ErrUnsafe    = errors.New("unsafe name")       // cannot be shown as one path element, or would harm where it is copied to
	ErrDuplicate = errors.New("duplicate name")    // two entries of one name, or a directory added twice
	ErrInvalid   = errors.New("invalid entry")     // no key, negative size, unknown kind, unusable link target
	ErrTooLarge  = errors.New("tree is too large") // more than this package's limits
	ErrOrder     = errors.New("directory is not promised by its parent")
	ErrMissing   = errors.New("directory was not added")
	ErrDamaged   = errors.New("damaged directory record")
)

// Limits: what Linux can show as a name, as a path and as a link, and a bound
// on memory.
const (
	maxName   = 255
	maxPath   = 4095
	maxTarget = 4095
	maxNodes  = 1 << 25
	maxSize   = 1<<53 - 1 // bytes of a file: what a key can say
)

// unsafeName says why name cannot be shown, or "".
func unsafeName(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case name == "." || name == "..":
		return "it names a directory's self or parent"
	case len(name) > maxName:
		return "it is longer than 255 bytes"
	}
	for i := range len(name) {
		if c := name[i]; c < 0x20 || c == 0x7f {
			return "it has a control character"
		} else if c == '/' {
			return "it has a slash"
		}
	}
	if IsDotGit(name) {
		return "it is a spelling of .git"
	}
	return ""
}

// IsDotGit reports whether some file system could take name for ".git": any
// case, NTFS's short name, trailing dots, spaces and streams, and the code
// points HFS+ ignores. git refuses the same (core.protectNTFS, protectHFS): a
// view that is copied elsewhere must not become a repository with hooks.
func IsDotGit(name string) bool {
	if name == "" {
		return false
	}
	if c := name[0]; c != '.' && c != 'g' && c != 'G' && c < 0x80 {
		return false
	}
	s := hfsIgnored.Replace(name)
	s, _, _ = strings.Cut(s, ":")
	s = strings.TrimRight(s, ". ")
	return strings.EqualFold(s, ".git") || strings.EqualFold(s, "git~1")
}

var hfsIgnored = strings.NewReplacer(
	"\u200c", "", "\u200d", "", "\u200e", "", "\u200f", "",
	"\u202a", "", "\u202b", "", "\u202c", "", "\u202d", "", "\u202e", "",
	"\u206a", "", "\u206b", "", "\u206c", "", "\u206d", "", "\u206e", "", "\u206f", "",
	"\ufeff", "")

// check says what is wrong with e, or nil; the error names neither the
// directory nor the entry.
func (e *Entry) check() error {
	if why := unsafeName(e.Name); why != "" {
		return fmt.Errorf("%w: %s", ErrUnsafe, why)
	}
	switch e.Kind {
	case Dir:
		return nil
	case Link:
		if e.Target == "" || len(e.Target) > maxTarget || strings.Contains(e.Target, "\x00") {
			return fmt.Errorf("%w: a link's target has 1 to %d bytes and no NUL", ErrInvalid, maxTarget)
		}
		return nil
	case Annexed, Git:
		if e.Size < 0 || e.Size > maxSize {
			return fmt.Errorf("%w: size %d", ErrInvalid, e.Size)
		}
		if e.Key.IsZero() {
			return fmt.Errorf("%w: a file without a key", ErrInvalid)
		}
		return nil
	}
	return fmt.Errorf("%w: kind %d", ErrInvalid, e.Kind)
}
