package gitstore

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

const rawZero = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13"

func TestParseTree(t *testing.T) {
	const id = OID("000102030405060708090a0b0c0d0e0f10111213")
	for raw, want := range map[string][]TreeEntry{
		"":                            {},
		"100644 a\x00" + rawZero:      {{ModeFile, "a", id}},
		"40000 d\x00" + rawZero:       {{ModeDir, "d", id}},
		"040000 d\x00" + rawZero:      {{ModeDir, "d", id}},
		"160000 m\x00" + rawZero:      {{ModeSubmodule, "m", id}},
		"100664 old\x00" + rawZero:    {{0o100664, "old", id}},
		"120000 ../a/b\x00" + rawZero: {{ModeSymlink, "../a/b", id}},
		"100755 a b\n\xff\x00" + rawZero + "100644 a\x00" + rawZero: {{ModeExecutable, "a b\n\xff", id}, {ModeFile, "a", id}},
	} {
		if got, err := ParseTree([]byte(raw)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", raw, got, err)
		}
	}
	for _, raw := range []string{
		"100644", "100644 ", "100644 a", "100644 a\x00", "100644 a\x00" + rawZero[1:], "100644 \x00" + rawZero,
		" a\x00" + rawZero, "1006x4 a\x00" + rawZero, "100648 a\x00" + rawZero, "-100644 a\x00" + rawZero, "100644a\x00" + rawZero,
		"0 a\x00" + rawZero, "644 a\x00" + rawZero, "060000 dev\x00" + rawZero, "000000100644 a\x00" + rawZero,
		"100644 a\x00" + rawZero + "x", "100644 a\x00" + rawZero + "100644 b\x00",
		strings.Repeat("7", 20) + " a\x00" + rawZero,
	} {
		if got, err := ParseTree([]byte(raw)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: %v, %v", raw, got, err)
		}
	}
}

func FuzzParseTree(f *testing.F) {
	f.Add([]byte("100644 a\x00" + rawZero + "40000 d\x00" + rawZero))
	f.Add([]byte("100644 a\x00short"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		entries, err := ParseTree(raw)
		if err != nil {
			if !errors.Is(err, ErrDamaged) || entries != nil {
				t.Errorf("%v, %v", entries, err)
			}
			return
		}
		size := 0
		for _, e := range entries {
			if e.Name == "" || strings.Contains(e.Name, "\x00") || !e.ID.valid() {
				t.Errorf("%+v", e)
			}
			size += len(e.Name) + 1 + rawID + 6 // a mode of five or six digits, or more zeros, and a space
		}
		if size > len(raw)+len(entries)*1 || len(raw) > size+len(entries)*3 {
			t.Errorf("%d bytes gave entries of about %d", len(raw), size)
		}
	})
}

// FuzzObjects: any commit and tag is parsed or damaged.
func FuzzObjects(f *testing.F) {
	f.Add([]byte("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n"))
	f.Add([]byte("object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ntype commit\ntag x\n\nx"))
	f.Add([]byte("tree \ncommitter >\n"))
	f.Add([]byte("committer <>99999999999999999999"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseCommit(data)
		if err == nil && !c.Tree.valid() || err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%v, %v", c, err)
		}
		id, err := parseTag(data)
		if err == nil && !id.valid() || err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%v, %v", id, err)
		}
	})
}
