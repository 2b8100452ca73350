package annex

import (
	"strings"
	"testing"
)

const sha256Empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

var validKeys = []string{
	"SHA256E-s7994169--" + sha256Empty + ".nii.gz",
	"SHA256-s0--" + sha256Empty,
	"MD5E-s5690462--ad2c976bbc1b98ca29a74d7919e0c75c.nii.gz",
	"SHA1--5f82feb3517c2003d919d35cdb08c135736b96c7",
	"GIT--c4443a1fc81d21f39141e3744b654e2356956610",
	"WORM-s3-m1289672605--foo bar",
	"URL--http://example.org/a?b=c&d%20e",
	"URL-s12--http://example.org/%&:",
	"MD5E-s1--../../x",
	"MD5---a",
	"MD5--a--b",
	"XFOO-s1--x",
	"XFOOE-s1--x.y",
	"MD5-s0-m0--x",
	"SHA256E-s9007199254740991--x",
	"SHA256E-s3--a." + strings.Repeat("x", 63),
	"SHA256-s3--a." + strings.Repeat("x", 100),
	"URL--" + strings.Repeat("x", 250),
	"SHA256E-s3--ä.ö",
}

var malformedKeys = []string{
	"", "-", "--", "--x", "-s3--x", "MD5", "MD5-s3", "MD5-s3-x", "MD5-s3--",
	"MD5-s--x", "MD5-s-3--x", "MD5-s+3--x", "MD5-s3x--x", "MD5-s007--x", "MD5-s 3--x", "MD5-s0x3--x",
	"MD5-s3-s3--x", "MD5-m3-s3--x", "MD5-s3-S1-C1--x", "MD5-C1--x", "MD5-x3--x", "MD5-s3-3--x",
	"MD5-s9007199254740992--x", "MD5-s9223372036854775807--x", "MD5-s9223372036854775808--x", "MD5-s99999999999999999999--x",
	"md5-s3--x", "MD 5-s3--x", "M/D-s3--x", "../x--y", "é-s3--x", ".--x",
	"MD5-s3--a\nb", "MD5-s3--a\x1b[0m", "MD5-s3--a\x7f",
	"SHA256E-s3--a." + strings.Repeat("x", 64),
	"URL--" + strings.Repeat("x", 251), "URL--" + strings.Repeat("/", 250) + "&", "URL--" + strings.Repeat(":", 130),
}

func TestParseKey(t *testing.T) {
	for _, s := range validKeys {
		k, err := ParseKey(s)
		if err != nil || k.String() != s {
			t.Errorf("ParseKey(%q) = %q, %v", s, k, err)
			continue
		}
		f := k.FileName()
		if strings.Contains(f, "/") || f == "." || f == ".." || len(f) > maxKey {
			t.Errorf("%q is written as the unsafe file name %q", s, f)
		}
		if back, err := ParseFileName(f); err != nil || back != k {
			t.Errorf("ParseFileName(%q) = %q, %v", f, back, err)
		}
	}
	for _, s := range append(malformedKeys, "MD5--a\x00b") {
		if k, err := ParseKey(s); err == nil || !k.IsZero() {
			t.Errorf("ParseKey(%q) = %q, %v", s, k, err)
		}
	}
}

func TestKeyParts(t *testing.T) {
	k, err := ParseKey("SHA256E-s7994169-m12--abc-s5.nii.gz")
	if err != nil {
		t.Fatal(err)
	}
	if size, ok := k.Size(); size != 7994169 || !ok || k.Backend() != "SHA256E" || k.Name() != "abc-s5.nii.gz" {
		t.Errorf("parts: %d %v %q %q", size, ok, k.Backend(), k.Name())
	}
	if _, ok := (Key{}).Size(); ok {
		t.Error("the zero Key has a size")
	}
	if g := GitKey("c4443a1fc81d21f39141e3744b654e2356956610", 12); g.String() != "GIT-s12--c4443a1fc81d21f39141e3744b654e2356956610" {
		t.Errorf("GitKey: %s", g)
	} else if back, err := ParseKey(g.String()); err != nil || back != g {
		t.Errorf("GitKey does not parse: %v", err)
	}
}

// TestHashDirs uses what git-annex examinekey says.
func TestHashDirs(t *testing.T) {
	k, err := ParseKey("MD5E-s1--../../x")
	if err != nil {
		t.Fatal(err)
	}
	if k.HashDirLower() != "60e/01e" || k.HashDirMixed() != "10/7k" || k.ObjectPath() != "60e/01e/MD5E-s1--..%..%x/MD5E-s1--..%..%x" {
		t.Errorf("%s %s %s", k.HashDirLower(), k.HashDirMixed(), k.ObjectPath())
	}
}

func TestParseFileNameRefuses(t *testing.T) {
	for _, s := range []string{"URL--a/b", "URL--a:b", "URL--a&b", "URL--a&zb", "URL--a&", "MD5-s3", ""} {
		if k, err := ParseFileName(s); err == nil {
			t.Errorf("ParseFileName(%q) = %q", s, k)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, s := range append(validKeys, malformedKeys...) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParseFileName(s); err == nil && k.FileName() != s {
			t.Errorf("ParseFileName(%q) is written %q", s, k.FileName())
		}
		k, err := ParseKey(s)
		if err != nil {
			if !k.IsZero() {
				t.Errorf("ParseKey(%q) gives a key with an error", s)
			}
			return
		}
		name := k.FileName()
		if strings.ContainsAny(name, "/\x00\n") || len(name) > maxKey || name == ".." {
			t.Errorf("%q is written as %q", s, name)
		}
		if back, err := ParseFileName(name); err != nil || back != k {
			t.Errorf("%q does not survive: %q, %v", s, back, err)
		}
		if size, ok := k.Size(); ok && (size < 0 || size > maxSize) {
			t.Errorf("%q has size %d", s, size)
		}
		if h, want, ok := k.NewHash(); ok && len(want) != 2*h.Size() {
			t.Errorf("%q: digest of %d digits for a hash of %d bytes", s, len(want), h.Size())
		}
	})
}
