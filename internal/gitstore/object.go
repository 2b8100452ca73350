package gitstore

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
	"time"
)

// rawID is the length in bytes of an id inside a tree.
const rawID = sha1.Size

// A Commit is what uniharmonyfs needs of a git commit.
type Commit struct {
	ID   OID
	Tree OID
	Time time.Time // when it was committed, in UTC
}

// parseCommit parses a commit object (without its ID).
func parseCommit(data []byte) (Commit, error) {
	bad := func(why string) (Commit, error) {
		return Commit{}, fmt.Errorf("%w: commit has no %s", ErrDamaged, why)
	}
	header, _, _ := bytes.Cut(data, []byte("\n\n"))
	tree, ok := field(header, "tree")
	c := Commit{Tree: OID(tree)}
	if !ok || !c.Tree.valid() {
		return bad("tree")
	}
	who, ok := field(header, "committer")
	if !ok {
		return bad("committer")
	}
	// "NAME <MAIL> SECONDS ZONE"; a name may hold anything but ">".
	words := bytes.Fields(who[bytes.LastIndexByte(who, '>')+1:])
	if len(words) == 0 {
		return bad("time")
	}
	seconds, err := strconv.ParseInt(string(words[0]), 10, 64)
	if err != nil {
		return bad("time")
	}
	c.Time = time.Unix(seconds, 0).UTC()
	return c, nil
}

// parseTag returns what a tag object points to.
func parseTag(data []byte) (OID, error) {
	header, _, _ := bytes.Cut(data, []byte("\n\n"))
	id, ok := field(header, "object")
	if !ok || !OID(id).valid() {
		return "", fmt.Errorf("%w: tag has no object", ErrDamaged)
	}
	return OID(id), nil
}

// field returns the first line of header that starts with name, without it.
func field(header []byte, name string) ([]byte, bool) {
	for line := range bytes.SplitSeq(header, []byte("\n")) {
		if v, ok := bytes.CutPrefix(line, []byte(name+" ")); ok {
			return v, true
		}
	}
	return nil, false
}

// An objectHash computes an object's id from its content.
type objectHash struct{ hash.Hash }

func newObjectHash(kind string, size int64) *objectHash {
	h := sha1.New()
	var head [48]byte
	b := append(head[:0], kind...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, size, 10)
	h.Write(append(b, 0))
	return &objectHash{h}
}

func (h *objectHash) id() OID { return OID(hex.EncodeToString(h.Sum(nil))) }

func hashObject(kind string, data []byte) OID {
	h := newObjectHash(kind, int64(len(data)))
	h.Write(data)
	return h.id()
}
