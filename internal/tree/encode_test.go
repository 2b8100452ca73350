package tree

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

func seal(body []byte) []byte {
	body = append([]byte{recordVersion}, body...)
	return binary.BigEndian.AppendUint32(body, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
}

func sampleDir(t testing.TB) *Tree {
	md5, err := annex.ParseKey("MD5E-s7--d41d8cd98f00b204e9800998ecf8427e.nii.gz")
	must(t, err)
	odd, err := annex.ParseKey("URL--http://example.org/x")
	must(t, err)
	b := NewBuilder()
	must(t, b.AddDir("", []Entry{
		{Name: "sub-01_T1w.nii.gz", Kind: Annexed, Size: 7, Key: md5},
		{Name: "sub-01_T2w.nii.gz", Kind: Annexed, Size: 7, Key: md5},
		{Name: "sub-01_T1w.json", Kind: Git, Size: 2, Key: annex.GitKey(strings.Repeat("0f", 20), 2)},
		{Name: "odd", Kind: Annexed, Size: 3, Key: odd},
		{Name: "link", Kind: Link, Target: "../x"},
		{Name: "d"},
	}))
	must(t, b.AddDir("d", nil))
	s, err := b.Tree()
	must(t, err)
	return s
}

// decodeDir reads what [Tree.EncodeDir] wrote: the entries in byte order.
func decodeDir(value []byte) ([]Entry, error) {
	recs, err := decode(value, map[keyForm]int{})
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(recs))
	for i := range recs {
		entries[i] = recs[i].entry()
	}
	return entries, nil
}

func TestDecodeRefuses(t *testing.T) {
	good := "\x02" + "\x00\x01a\x00" + "\x00\x01b\x00"
	if es, err := decodeDir(seal([]byte(good))); err != nil || len(es) != 2 {
		t.Fatalf("two directories: %v, %v", es, err)
	}
	md5 := "\x04MD5E\x04.nii\x10" + strings.Repeat("\xab", 16)
	for name, body := range map[string]string{
		"nothing":             "",
		"more follows":        good + "\x00",
		"count too high":      "\x03" + good[1:],
		"huge count":          "\xff\xff\xff\xff\x07" + good[1:],
		"long varint":         "\x82\x00" + good[1:],
		"not sorted":          "\x02\x00\x01b\x00\x00\x01a\x00",
		"twice":               "\x02\x00\x01a\x00\x01\x00\x00",
		"prefix not taken":    "\x02\x00\x01a\x00\x00\x02ab\x00",
		"prefix too long":     "\x02\x00\x01a\x00\x02\x01b\x00",
		"unsafe name":         "\x01\x00\x02..\x00",
		"empty name":          "\x01\x00\x00\x00",
		"slash":               "\x01\x00\x03a/b\x00",
		"kind":                "\x01\x00\x01a\x07",
		"cut":                 "\x02\x00\x01a\x00\x00\x01b",
		"size over int64":     "\x01\x00\x01a\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01" + md5,
		"form not announced":  "\x01\x00\x01a\x01\x07\x02" + md5,
		"form twice":          "\x02\x00\x01a\x01\x07\x01" + md5 + "\x00\x01b\x01\x07\x02" + md5,
		"digest too short":    "\x01\x00\x01a\x01\x07\x01\x04MD5E\x00\x02xy",
		"backend":             "\x01\x00\x01a\x01\x07\x01\x03m-d\x00\x10" + strings.Repeat("\xab", 16),
		"extension":           "\x01\x00\x01a\x01\x07\x01\x03MD5\x01a\x10" + strings.Repeat("\xab", 16),
		"odd key is no key":   "\x01\x00\x01a\x01\x07\x00\x03abc",
		"odd key is regular":  "\x01\x00\x01a\x01\x07\x00\x28MD5-s7--d41d8cd98f00b204e9800998ecf8427e",
		"key over 255 bytes":  "\x01\x00\x01a\x01\x07\x01\x03MD5\xdf\x01." + strings.Repeat("e", 0xde) + "\x10" + strings.Repeat("\xab", 16),
		"link without target": "\x01\x00\x01a\x03\x00",
		"link with NUL":       "\x01\x00\x01a\x03\x01\x00",
	} {
		if es, err := decodeDir(seal([]byte(body))); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %+v, %v", name, es, err)
		}
		if err := NewBuilder().AddEncoded("", seal([]byte(body))); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: AddEncoded: %v", name, err)
		}
	}
	for _, v := range [][]byte{nil, {1}, []byte("\x02\x00\x00\x00\x00\x00")} {
		if _, err := decodeDir(v); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: %v", v, err)
		}
	}
}

func TestEncodeDirOfAFile(t *testing.T) {
	s := sampleDir(t)
	n, _ := s.Find("odd")
	if v := s.EncodeDir(n); v != nil {
		t.Errorf("a file was encoded as a directory: %q", v)
	}
}

// What is accepted is safe, and is the only encoding of what it says.
func FuzzDecodeDir(f *testing.F) {
	v := sampleDir(f).EncodeDir(0)
	f.Add(v[1 : len(v)-4])
	f.Add([]byte("\x02\x00\x01a\x00\x00\x01b\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		value := seal(body)
		entries, err := decodeDir(value)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		b := NewBuilder()
		if err := b.AddDir("", entries); err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Kind == Dir {
				must(t, b.AddDir(e.Name, nil))
			}
		}
		s, err := b.Tree()
		must(t, err)
		if again := s.EncodeDir(0); !bytes.Equal(again, value) {
			t.Fatalf("%q is accepted, but is written as %q", value, again)
		}
	})
}
