package annex

import (
	"strings"
	"testing"
)

const aKey = "SHA256E-s3--abc.nii.gz"

// pointers are blobs and the key each stands for; "" for content.
var pointers = []struct{ blob, key string }{
	{"/annex/objects/" + aKey + "\n", aKey},
	{"/annex/objects/" + aKey, aKey},
	{"/annex/objects/" + aKey + "\r\n", aKey},
	{"/annex/objects/" + aKey + "\n/annex/more\n", aKey},
	{"../.git/annex/objects/aa/bb/" + aKey + "/" + aKey, aKey},
	{"x/annex/objects/" + aKey, aKey},
	{"/annex/objects/URL--http&c%%a%b\n", "URL--http://a/b"},
	{"/annex/objects/" + aKey + "\n" + strings.Repeat("/annex/\n", 4000), aKey},
	{"/annex/objects/" + aKey + "\n" + strings.Repeat("/annex/\n", 4100), ""}, // too long
	{"/annex/objects/" + aKey + "\n/annex/more", ""},
	{"/annex/objects/" + aKey + "\nother data\n", ""},
	{"/annex/objects/" + aKey + "\n\n", ""},
	{"/annex/objects/" + aKey + "/\n", ""},
	{"/annex/objects/\n", ""},
	{"/annex/objects", ""},
	{"annex/objects/" + aKey + "\n", ""},
	{"\n/annex/objects/" + aKey + "\n", ""},
	{"/annex/objects/nokey\n", ""},
	{"/annex/object/" + aKey + "\n", ""},
	{"", ""},
	{"\x00\x01/annex", ""},
}

func TestParsePointer(t *testing.T) {
	for _, c := range pointers {
		k, ok := ParsePointer([]byte(c.blob))
		if k.String() != c.key || ok != (c.key != "") {
			t.Errorf("ParsePointer(%.60q) = %q, %v", c.blob, k, ok)
		}
	}
}

func TestParseLink(t *testing.T) {
	for target, want := range map[string]string{
		".git/annex/objects/Mv/3Q/" + aKey + "/" + aKey:                              aKey,
		"../../.git/annex/objects/Mv/3Q/" + aKey + "/" + aKey:                        aKey,
		"/home/a/data/.git/annex/objects/Mv/3Q/" + aKey + "/" + aKey:                 aKey,
		"../../../.git/modules/sub/annex/objects/f87/4d5/" + aKey + "/" + aKey:       aKey,
		strings.Repeat("../", 500) + ".git/annex/objects/Mv/3Q/" + aKey + "/" + aKey: aKey,
		".git/annex/objects/Mv/3Q/" + aKey + "/../../../../../../etc/passwd":         "",
		".git/annex/objects/Mv/3Q/nokey/nokey":                                       "",
		"../sub-01/anat/sub-01_T1w.nii.gz":                                           "",
		"/etc/passwd":                                                                "",
		"":                                                                           "",
	} {
		if k, ok := ParseLink(target); k.String() != want || ok != (want != "") {
			t.Errorf("ParseLink(%.60q) = %q, %v", target, k, ok)
		}
	}
}

func FuzzParsePointer(f *testing.F) {
	for _, c := range pointers {
		f.Add([]byte(c.blob))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, ok := ParsePointer(b)
		if link, linked := ParseLink(string(b)); link != k || linked != ok {
			t.Errorf("link and pointer differ on %q", b)
		}
		if ok == k.IsZero() {
			t.Errorf("%q: key %q, ok %v", b, k, ok)
		}
		if ok && (len(b) > MaxPointer || !strings.Contains(string(b), k.FileName())) {
			t.Errorf("%q gives %q", b, k)
		}
	})
}
