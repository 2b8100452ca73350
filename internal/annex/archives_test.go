package annex

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseArchiveLog(t *testing.T) {
	const key = "MD5E-s6838--d97334714048baaef448e373189f8097.tar.gz"
	k, err := ParseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	log := "1s 1 :dl+archive:" + key + "#path=top/sub-01/anat/a+b%2Bc%26d%23e%25f.nii.gz&size=13893\n" +
		"2s 1 dl+archive:" + key + "#path=top/%C3%BC.bin\n" +
		"3s 1 :dl+archive:" + key + "/old/a%20b#size=3\n" +
		"4s 1 dl+archive:" + key + "#size=4&path=top/%C3%BC.bin\n" + // again
		"5s 0 :dl+archive:" + key + "#path=gone\n" +
		"6s 1 https://example.org/x\n" +
		"7s 1 :dl+archive:nokey#path=x\n" +
		"8s 1 :dl+archive:" + key + "#size=3\n" +
		"9s 1 :dl+archive:" + key + "#path=%zz\n" +
		"9s 1 :dl+archive:\n"
	want := []Member{{k, "top/ü.bin"}, {k, "old/a b"}, {k, "top/sub-01/anat/a b+c&d#e%f.nii.gz"}}
	if got := ParseArchiveLog([]byte(log)); !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	if urls := ParseWebLog([]byte(log)); len(urls) != 1 || strings.Contains(urls[0], "dl+archive") {
		t.Errorf("URLs: %q", urls)
	}
}
