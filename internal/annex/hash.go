package annex

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"fmt"
	"hash"
	"strings"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/blake2s"
)

// NewHash returns a running hash for the key's content and the digest, in
// lower-case hexadecimal, that the content must have in the end. ok is false
// when the content cannot be checked against the key: backends without a hash
// (URL, WORM), backends unknown here, or a digest that is not of the backend's
// length in lower case.
//
// For the GIT backend the hash has already taken git's header of the blob, so
// that want is the blob's id; such a key needs a size.
//
// Backends: https://git-annex.branchable.com/backends/
func (k Key) NewHash() (h hash.Hash, want string, ok bool) {
	want, _, _ = strings.Cut(k.Name(), ".")
	// Some old versions of git-annex took over sha1sum's mark for an escaped
	// file name; git-annex still takes these keys as right.
	want = strings.TrimPrefix(want, `\`)
	if !isHex(want) {
		return nil, "", false
	}
	if k.Backend() == "GIT" {
		h = k.newBlobHash(len(want))
	} else {
		h = newHash(strings.TrimSuffix(k.Backend(), "E"))
	}
	if h == nil || len(want) != 2*h.Size() {
		return nil, "", false
	}
	return h, want, true
}

// newBlobHash returns git's hash of a blob of the key's size, begun.
func (k Key) newBlobHash(digits int) hash.Hash {
	size, ok := k.Size()
	if !ok {
		return nil
	}
	h := sha1.New()
	if digits == 2*sha256.Size {
		h = sha256.New()
	}
	fmt.Fprintf(h, "blob %d\x00", size)
	return h
}

// newHash returns the hash of a backend given without its "E", or nil.
func newHash(backend string) hash.Hash {
	switch backend {
	case "MD5":
		return md5.New()
	case "SHA1":
		return sha1.New()
	case "SHA224":
		return sha256.New224()
	case "SHA256":
		return sha256.New()
	case "SHA384":
		return sha512.New384()
	case "SHA512":
		return sha512.New()
	case "SHA3_224":
		return sha3.New224()
	case "SHA3_256":
		return sha3.New256()
	case "SHA3_384":
		return sha3.New384()
	case "SHA3_512":
		return sha3.New512()
	}
	return newBlake2(backend)
}

// newBlake2 returns the hash of a BLAKE2 backend, or nil. The parallel ones
// (BLAKE2BP, BLAKE2SP) and the shorter BLAKE2S have no Go implementation.
func newBlake2(backend string) hash.Hash {
	size := map[string]int{
		"BLAKE2B160": 20, "BLAKE2B224": 28, "BLAKE2B256": 32, "BLAKE2B384": 48, "BLAKE2B512": 64,
		"BLAKE2S256": 32,
	}[backend]
	if size == 0 {
		return nil
	}
	var h hash.Hash
	var err error
	if strings.HasPrefix(backend, "BLAKE2S") {
		h, err = blake2s.New256(nil)
	} else {
		h, err = blake2b.New(size, nil)
	}
	if err != nil {
		return nil
	}
	return h
}

// isHex reports whether s is lower-case hexadecimal and not empty.
func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}
