package annex

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// maxKey bounds a key's serialized form: a key is a file name on disk.
const maxKey = 255

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

// ParseKey parses a key's serialized form. It fails on anything that could
// not be a key's file name (control characters, over 255 bytes once escaped)
// and on sizes that are negative or do not fit an int64.
func ParseKey(s string) (Key, error) {
	bad := func(why string) (Key, error) {
		return Key{}, fmt.Errorf("not a git-annex key: %s: %.80q", why, s)
	}
	head, name, ok := strings.Cut(s, "--")
	if !ok || name == "" {
		return bad("no \"--\" followed by a name")
	}
	backend, fields, _ := strings.Cut(head, "-")
	if backend == "" {
		return bad("no backend")
	}
	for _, c := range []byte(backend) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return bad("the backend is not upper case")
		}
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return bad("control character")
		}
	}
	seen := ""
	for fields != "" {
		var f string
		f, fields, _ = strings.Cut(fields, "-")
		if len(f) < 2 || !strings.Contains("smSC", f[:1]) || strings.Contains(seen, f[:1]) {
			return bad("unknown field")
		}
		seen += f[:1]
		if n, err := strconv.ParseInt(f[1:], 10, 64); err != nil || n < 0 || f[1] == '+' {
			return bad("field " + f[:1] + " is not a number that fits")
		}
	}
	k := Key{text: s}
	if len(k.FileName()) > maxKey {
		return bad("longer than a file name can be")
	}
	return k, nil
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
// A chunk key ("-S…-C…") says the size of the whole, not of the chunk: it
// never names a file of a dataset.
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
func (k Key) FileName() string { return keyFile.Replace(k.text) }

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
