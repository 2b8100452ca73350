package maker

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// computeKey returns the key git-annex would give the file. A backend that
// is not known gets a name that depends on the path only.
func computeKey(f *File, content Content) (annex.Key, error) {
	if !f.Key.IsZero() {
		return f.Key, nil
	}
	backend := f.Backend
	if backend == "" {
		backend = "SHA256E"
	}
	head := fmt.Sprintf("%s-s%d--", backend, content.Size())
	if backend == "WORM" {
		return annex.ParseKey(fmt.Sprintf("WORM-s%d-m1700000000--%s", content.Size(), path.Base(f.Path)))
	}
	h := newHash(head)
	if h == nil {
		return annex.ParseKey(head + token(f.Path))
	}
	if err := feed(h, content, content.Size()); err != nil {
		return annex.Key{}, err
	}
	name := hex.EncodeToString(h.Sum(nil))
	if strings.HasSuffix(backend, "E") {
		name += extension(f.Path)
	}
	return annex.ParseKey(head + name)
}

// feed writes the first n bytes of c to w.
func feed(w io.Writer, c io.ReaderAt, n int64) error {
	buf := make([]byte, min(n, 128<<10))
	for off := int64(0); off < n; off += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), n-off)]
		if _, err := c.ReadAt(buf, off); err != nil && err != io.EOF {
			return err
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

// newHash returns the hash of the backend a key begins with, or nil.
func newHash(head string) hash.Hash {
	for _, digits := range []int{32, 40, 56, 64, 96, 128} {
		k, err := annex.ParseKey(head + strings.Repeat("0", digits))
		if err != nil {
			return nil
		}
		if h, _, ok := k.NewHash(); ok {
			return h
		}
	}
	return nil
}

// extension returns what git-annex takes over from a file name into a key:
// up to two extensions of up to four letters or digits each
// (annex.maxextensionlength, annex.maxextensions).
func extension(file string) string {
	ext := ""
	base := path.Base(file)
	for range 2 {
		i := strings.LastIndexByte(base, '.')
		if i <= 0 || len(base)-i > 5 || len(base)-i < 2 || !alphanumeric(base[i+1:]) {
			break
		}
		base, ext = base[:i], base[i:]+ext
	}
	return ext
}

func alphanumeric(s string) bool {
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}

// token returns 32 letters and digits, much like S3's version ids, that
// depend only on the parts.
func token(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return strings.NewReplacer("-", ".", "_", "x").Replace(base64.RawURLEncoding.EncodeToString(sum[:24]))
}

// uuid returns a UUID that depends only on the parts.
func uuid(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	sum[6], sum[8] = sum[6]&0x0f|0x50, sum[8]&0x3f|0x80
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
