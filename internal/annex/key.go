package annex

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

const (
	// maxKey bounds a key's serialized form: a key is a file name on disk.
	maxKey = 255
	// maxSize bounds a key's size (bytes): JSON carries it exactly, and sums
	// of a thousand such sizes still fit an int64.
	maxSize = 1<<53 - 1
	// maxExt bounds the extension of a key, in bytes. It is git-annex's own
	// limit: a longer one could hide the data of a SHA-1 collision.
	maxExt = 64
)

// A Key is git-annex's name for content: backend, size, and (for most
// backends) hash, as in "SHA256E-s7994169--60034b….nii.gz". Keys are
// comparable; the zero Key names nothing.
//
// Format: https://git-annex.branchable.com/internals/key_format/
type Key struct {
	text string
}

// GitKey returns the key of a blob that lies in git itself: the "GIT" backend
// that git-annex uses for the same purpose, with the blob's size added.
// oid is the blob's id in lower-case hexadecimal.
func GitKey(oid string, size int64) Key {
	return Key{text: "GIT-s" + strconv.FormatInt(size, 10) + "--" + oid}
}

// ParseKey parses a key's serialized form. It takes what git-annex itself
// writes for a file and nothing else: the fields s and m in this order, numbers
// without leading zeros, an extension of at most 64 bytes. A key of a chunk
// (fields S and C) names a piece on a remote, never a file: it is refused.
// So is what no dataset has and git-annex would take: a backend that is not
// upper case, an empty name, control characters, a size from 2^53 on, and
// more than 255 bytes once written as a file name.
func ParseKey(s string) (Key, error) {
	head, name, ok := strings.Cut(s, "--")
	if !ok || name == "" {
		return badKey(s, "no \"--\" followed by a name")
	}
	backend, fields, more := strings.Cut(head, "-")
	if !isBackend(backend) {
		return badKey(s, "no backend in upper case")
	}
	if more && !areFields(fields) {
		return badKey(s, "its fields are not numbers that fit, in git-annex's order")
	}
	if dot := strings.IndexByte(name, '.'); strings.HasSuffix(backend, "E") && dot >= 0 && len(name)-dot > maxExt {
		return badKey(s, "its extension is too long")
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return badKey(s, "control character")
		}
	}
	k := Key{text: s}
	if len(s) > maxKey || len(k.FileName()) > maxKey {
		return badKey(s, "longer than a file name can be")
	}
	return k, nil
}

func badKey(s, why string) (Key, error) {
	return Key{}, fmt.Errorf("not a git-annex key: %s: %.80q", why, s)
}

func isBackend(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return s != ""
}

// areFields reports whether s is a list of fields like "s12-m34".
func areFields(s string) bool {
	order := "sm"
	for f := range strings.SplitSeq(s, "-") {
		if len(f) < 2 || f[1] < '0' || f[1] > '9' || f[1] == '0' && len(f) > 2 {
			return false
		}
		at := strings.IndexByte(order, f[0])
		if at < 0 {
			return false
		}
		order = order[at+1:]
		if n, err := strconv.ParseInt(f[1:], 10, 64); err != nil || n > maxSize {
			return false
		}
	}
	return true
}

// String returns the serialized form; empty for the zero Key.
func (k Key) String() string { return k.text }

// IsZero reports whether k names nothing.
func (k Key) IsZero() bool { return k.text == "" }

// Backend returns the first word of the key, such as "SHA256E".
func (k Key) Backend() string {
	backend, _, _ := strings.Cut(k.text, "-")
	return backend
}

// Size returns the content's size in bytes, and whether the key says one.
func (k Key) Size() (int64, bool) {
	head, _, _ := strings.Cut(k.text, "--")
	for _, f := range strings.Split(head, "-")[1:] {
		if f[0] == 's' {
			n, err := strconv.ParseInt(f[1:], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// Name returns what follows the "--": the hash and, for backends ending in
// E, the file name extension.
func (k Key) Name() string {
	_, name, _ := strings.Cut(k.text, "--")
	return name
}

// FileName returns the key as git-annex spells it as a file name: "/", "%",
// "&" and ":" are escaped, so that it is always one path element.
// https://git-annex.branchable.com/internals/ ("keyFile")
func (k Key) FileName() string {
	if !strings.ContainsAny(k.text, "&%:/") { // as nearly all are
		return k.text
	}
	return keyFile.Replace(k.text)
}

var keyFile = strings.NewReplacer("&", "&a", "%", "&s", ":", "&c", "/", "%")

// ParseFileName is the reverse of [Key.FileName].
func ParseFileName(name string) (Key, error) {
	if strings.Contains(name, "/") {
		return Key{}, fmt.Errorf("not a key's file name: %.80q", name)
	}
	k, err := ParseKey(keyUnfile.Replace(name))
	if err == nil && k.FileName() != name {
		return Key{}, fmt.Errorf("not a key's file name: %.80q", name)
	}
	return k, err
}

var keyUnfile = strings.NewReplacer("%", "/", "&c", ":", "&s", "%", "&a", "&")

// mixed are the letters of [Key.HashDirMixed]; git-annex leaves out the
// frequent ones so that no word comes up by accident.
const mixed = "0123456789zqjxkmvwgpfZQJXKMVWGPF"

// HashDirMixed returns the two-level directory of the key in a repository
// with a work tree, "Mv/3Q" (no slash at either end).
// https://git-annex.branchable.com/internals/hashing/
func (k Key) HashDirMixed() string {
	sum := md5.Sum([]byte(k.text))
	w := binary.LittleEndian.Uint32(sum[:])
	c := func(i int) byte { return mixed[w>>(6*i)&31] }
	return string([]byte{c(1), c(0), '/', c(3), c(2)})
}

// HashDirLower returns the two-level directory of the key in a bare
// repository and in the git-annex branch, "f87/4d5" (no slash at either end).
// https://git-annex.branchable.com/internals/hashing/
func (k Key) HashDirLower() string {
	sum := md5.Sum([]byte(k.text))
	h := hex.EncodeToString(sum[:3])
	return h[:3] + "/" + h[3:]
}

// ObjectPath returns where a bare git-annex repository keeps the content,
// below its objects directory: "f87/4d5/KEY/KEY".
func (k Key) ObjectPath() string {
	f := k.FileName()
	return k.HashDirLower() + "/" + f + "/" + f
}
