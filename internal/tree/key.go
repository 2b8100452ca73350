package tree

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// A keyForm is what many keys of a dataset share. A key of a form is
// Backend-sSIZE--HEX+Ext, SIZE being the file's size and HEX the lower-case
// digest of n bytes: only the digest is kept per file.
type keyForm struct {
	backend, ext string
	n            uint8
}

// Digests outside these lengths are kept as text.
const minDigest, maxDigest = 16, 64

// splitKey returns the form and binary digest of k as the key of a file of
// size bytes; ok is false when k is not written in exactly that way (an odd
// key: no hex digest, another or no size, unusual fields).
func splitKey(k annex.Key, size int64) (f keyForm, digest string, ok bool) {
	text := k.String()
	head, name, _ := strings.Cut(text, "--")
	backend, fields, _ := strings.Cut(head, "-")
	if fields != "s"+strconv.FormatInt(size, 10) {
		return f, "", false
	}
	digits, _, _ := strings.Cut(name, ".")
	if len(digits) < 2*minDigest || len(digits) > 2*maxDigest || !lowerHex(digits) {
		return f, "", false
	}
	raw, err := hex.DecodeString(digits)
	if err != nil {
		return f, "", false
	}
	return keyForm{backend, name[len(digits):], uint8(len(raw))}, string(raw), true
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// text is the reverse of splitKey.
func (f keyForm) text(digest string, size int64) string {
	b := make([]byte, 0, len(f.backend)+len(f.ext)+2*len(digest)+24)
	b = append(b, f.backend...)
	b = append(b, "-s"...)
	b = strconv.AppendInt(b, size, 10)
	b = append(b, "--"...)
	b = hex.AppendEncode(b, []byte(digest))
	b = append(b, f.ext...)
	return string(b)
}
