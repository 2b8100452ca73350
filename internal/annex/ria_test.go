package annex

import (
	"strings"
	"testing"
)

// ora is how DataLad sets up the remote of a RIA store.
var ora = RemoteConfig{
	"type": "external", "externaltype": "ora", "encryption": "none", "autoenable": "true", "name": "store-storage",
	"archive-id": "bb4032f3-58c7-4acc-9728-f4f76e2d42cf", "url": "ria+https://example.org/store",
}

func TestRIADir(t *testing.T) {
	const in = "/bb4/032f3-58c7-4acc-9728-f4f76e2d42cf"
	for url, want := range map[string]string{
		"ria+https://example.org/store":         "https://example.org/store" + in,
		"ria+https://example.org/store/":        "https://example.org/store" + in,
		"ria+http://example.org:8080":           "http://example.org:8080" + in,
		"ria+https://me:secret@example.org/a":   "https://me@example.org/a" + in, // refused when it is asked
		"ria+file:///data/my%20store":           "file:///data/my%20store" + in,
		"ria+file://localhost/data":             "file://localhost/data" + in,
		"ria+ssh://me:secret@example.org/store": "ssh://me@example.org/store" + in,
		"https://example.org/store":             "",
		"ria+ftp://example.org/store":           "",
		"ria+ext::sh":                           "",
		"ria+file:data":                         "",
		"ria+file://elsewhere/data":             "",
		"ria+file:///data/../etc":               "",
		"ria+file:///data/%2e%2e/etc":           "",
		"ria+file:///da%00ta":                   "",
		"ria+https://example.org/a/../b":        "",
		"ria+https://example.org/store?x=y":     "",
		"ria+https://example.org/store#id":      "",
		"ria+https:///store":                    "",
		"ria+ssh:///store":                      "",
		"ria+https://exa mple.org/":             "",
		"ria+":                                  "",
		"":                                      "",
	} {
		dir, ok := with(ora, "url", url).RIADir()
		if ok != (want != "") || ok && dir.String() != want {
			t.Errorf("%s is at %v, %v; want %q", url, dir, ok, want)
		}
	}
	for _, id := range []string{"", "abc", "../../etc/passwd", "abc/def", "ab..cd", "abc def", "abc\x00def", "abc%2fdef", strings.Repeat("a", 101), "~~~~"} {
		c := with(ora, "archive-id", id)
		if dir, ok := c.RIADir(); ok {
			t.Errorf("the dataset %q is at %s", id, dir)
		}
		if c.IsIn("https://example.org/store" + in) {
			t.Errorf("the dataset %q is in a store", id)
		}
	}
	for _, change := range [][]string{{"type", "directory"}, {"externaltype", "x"}, {"encryption", "shared"}, {"chunk", "1MiB"}} {
		if dir, ok := with(ora, change...).RIADir(); ok {
			t.Errorf("with %v it is at %s", change, dir)
		}
	}
	for at, want := range map[string]bool{
		"https://elsewhere.org/a" + in: true, "/data" + in + "/": true, "ssh://h/s" + in: true,
		"https://example.org/bb4032f3-58c7-4acc-9728-f4f76e2d42cf": false, "https://example.org/xbb4/032f3-58c7-4acc-9728-f4f76e2d42cf": false, "": false,
	} {
		if ora.IsIn(at) != want {
			t.Errorf("it is in %s: %v", at, !want)
		}
	}
}
