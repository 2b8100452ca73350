package gitstore

import (
	"bytes"
	"encoding/hex"
	"fmt"
)

// Modes of tree entries, as git writes them. Others occur in old repositories
// (0100664, for one) and are files.
const (
	ModeDir        = 0o040000
	ModeFile       = 0o100644
	ModeExecutable = 0o100755
	ModeSymlink    = 0o120000
	ModeSubmodule  = 0o160000
)

// A TreeEntry is one line of a tree object.
type TreeEntry struct {
	Mode uint32
	Name string // as it is in the repository: not judged, may be unsafe
	ID   OID
}

// ParseTree parses a raw tree object. Entries come in the order of the tree,
// which is git's ("a.b" before the directory "a", which sorts as "a/").
// The error wraps ErrDamaged when anything is malformed: a mode that is not
// octal or unknown, an empty name, an id cut short. A "/" in a name, "..",
// duplicates and the order are not looked at.
func ParseTree(data []byte) ([]TreeEntry, error) {
	entries := make([]TreeEntry, 0, bytes.Count(data, []byte{0}))
	for at := 0; at < len(data); {
		mode, n := parseMode(data[at:])
		if n == 0 {
			return nil, fmt.Errorf("%w: tree has a malformed mode at byte %d", ErrDamaged, at)
		}
		at += n
		length := bytes.IndexByte(data[at:], 0)
		if length <= 0 || len(data)-at-length-1 < rawID {
			return nil, fmt.Errorf("%w: tree is cut short or has an empty name at byte %d", ErrDamaged, at)
		}
		id := data[at+length+1 : at+length+1+rawID]
		entries = append(entries, TreeEntry{Mode: mode, Name: string(data[at : at+length]), ID: OID(hex.EncodeToString(id))})
		at += length + 1 + rawID
	}
	return entries, nil
}

// parseMode parses "100644 " and returns its length with the space; 0 when it
// is not a mode.
func parseMode(b []byte) (mode uint32, n int) {
	for n < len(b) && n < 8 && b[n] >= '0' && b[n] <= '7' {
		mode = mode<<3 | uint32(b[n]-'0')
		n++
	}
	if n == 0 || n == len(b) || b[n] != ' ' {
		return 0, 0
	}
	switch mode &^ 0o777 {
	case ModeDir, 0o100000, ModeSymlink, ModeSubmodule:
		return mode, n + 1
	}
	return 0, 0
}
