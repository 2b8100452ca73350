package annex

import (
	"encoding/hex"
	"strings"
	"testing"
)

func TestNewHash(t *testing.T) {
	for key, content := range map[string]string{
		"SHA256E-s0--" + sha256Empty + ".nii.gz":                                          "",
		"SHA256-s0--" + sha256Empty:                                                       "",
		"SHA256--" + sha256Empty:                                                          "", // no size
		`SHA256E-s0--\` + sha256Empty + ".txt":                                            "",
		"MD5E-s3--900150983cd24fb0d6963f7d28e17f72.t":                                     "abc",
		"SHA1-s3--a9993e364706816aba3e25717850c26c9cd0d89d":                               "abc",
		"GIT-s4--8baef1b4abc478178b004d62031cf7fe6db6f903":                                "abc\n",
		"GIT-s0--e69de29bb2d1d6434b8b29ae775ad8c2e48c5391":                                "",
		"GIT-s0--473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813":        "", // a SHA-256 repository
		"SHA3_256-s3--3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532":   "abc",
		"BLAKE2S256-s3--508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982": "abc",
	} {
		k, err := ParseKey(key)
		if err != nil {
			t.Error(err)
			continue
		}
		h, want, ok := k.NewHash()
		if !ok {
			t.Errorf("%s cannot be verified", key)
			continue
		}
		h.Write([]byte(content))
		if got := hex.EncodeToString(h.Sum(nil)); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
		h.Write([]byte{0})
		if hex.EncodeToString(h.Sum(nil)) == want {
			t.Errorf("%s: the hash does not see a further byte", key)
		}
	}
}

func TestNewHashRefuses(t *testing.T) {
	for _, key := range []string{
		"URL--http://example.org/" + sha256Empty, "WORM-s3-m1--x", "VURL-s3--http", "XFOO-s3--" + sha256Empty,
		"SHA256E-s0--" + strings.ToUpper(sha256Empty), "SHA256E-s0--" + sha256Empty[1:], "SHA256E-s0--" + sha256Empty + "0",
		"SHA512-s0--" + sha256Empty, "SHA256E-s0--.nii", "SHA256EE-s0--" + sha256Empty,
		"GIT--e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", "GIT-s3--abc", "BLAKE2BP512-s0--" + sha256Empty + sha256Empty,
		"BLAKE3_256-s0--" + sha256Empty,
	} {
		k, err := ParseKey(key)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, _, ok := k.NewHash(); ok {
			t.Errorf("%s passes for verifiable", key)
		}
	}
	if _, _, ok := (Key{}).NewHash(); ok {
		t.Error("the zero Key passes for verifiable")
	}
}
