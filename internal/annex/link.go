package annex

import (
	"bytes"
	"strings"
)

// MaxPointer is the size in bytes of the longest pointer file: what is longer
// is content.
const MaxPointer = 32768

// objects is what git-annex looks for in a link's target. It does not look
// for ".git", because the repository's directory may have another name.
const objects = "/annex/objects/"

// ParseLink returns the key that a symlink's target points to, such as
// "../../.git/annex/objects/Mv/3Q/KEY/KEY", at any depth. ok is false for a
// symlink that is not git-annex's.
func ParseLink(target string) (k Key, ok bool) {
	return parsePointer([]byte(target))
}

// ParsePointer returns the key that a blob points to when the blob stands for
// an unlocked file: "/annex/objects/KEY" and a newline. Like git-annex it takes
// a "\r" before the newline, no newline at all, and further lines as long as
// each has "/annex/" in it. ok is false for a blob that is content itself.
//
// https://git-annex.branchable.com/internals/pointer_file/
func ParsePointer(blob []byte) (k Key, ok bool) {
	return parsePointer(blob)
}

// parsePointer is for both: to git-annex a link's target and a pointer file
// are the same.
func parsePointer(b []byte) (Key, bool) {
	if len(b) > MaxPointer {
		return Key{}, false
	}
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if !bytes.Contains(line, []byte(objects)) {
		return Key{}, false
	}
	for len(rest) > 0 {
		next, more, ended := bytes.Cut(rest, []byte("\n"))
		if !ended || !bytes.Contains(next, []byte("/annex/")) {
			return Key{}, false
		}
		rest = more
	}
	text := string(line)
	k, err := ParseFileName(text[strings.LastIndexByte(text, '/')+1:])
	return k, err == nil
}
