package annex

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseLocationLog(t *testing.T) {
	for name, c := range map[string]struct {
		log  string
		want map[UUID]bool
	}{
		"plain":            {"1.5s 1 a\n2s 0 b\n3s X c\n", map[UUID]bool{"a": true, "b": false, "c": false}},
		"newest wins":      {"2s 0 a\n1s 1 a\n10s 1 b\n9s 0 b\n", map[UUID]bool{"a": false, "b": true}},
		"fractions":        {"1.5s 0 a\n1.06s 1 a\n1.000000000002s 1 b\n1.000000000001s 0 b\n", map[UUID]bool{"a": false, "b": true}},
		"first of a tie":   {"1s 1 a\n1s 0 a\n", map[UUID]bool{"a": true}},
		"old and Windows":  {"1 1 a\r\r\n\n2.25 0 b", map[UUID]bool{"a": true, "b": false}},
		"malformed":        {"\n \n1s\n1s 1\n1s 1 \n1s 2 a\nxs 1 a\n-1s 1 a\n1.s 1 a\n99999999999999999999s 1 a\n 1s 1 a\n1s  1 a\n\x00\n", map[UUID]bool{}},
		"empty":            {"", map[UUID]bool{}},
		"bad does not win": {"1s 1 a\n2s ? a\n", map[UUID]bool{"a": true}},
	} {
		if got := ParseLocationLog([]byte(c.log)); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestParseWebLog(t *testing.T) {
	log := "1s 1 http://example.org/old\n3s 1 https://example.org/a b?c=1:2#d\n2s 0 http://example.org/gone\n1s 1 http://example.org/gone\n" +
		"9s 1 :http://example.org/claimed\n8s 0 :http://example.org/claimed-once\n5s 1 :s3://bucket/x\n5s 1 yt:https://example.org/v\n5s 1 quvi:https://example.org/v\n5s 1 no-scheme\n5s X http://example.org/dead\n"
	want := []string{"https://example.org/a b?c=1:2#d", "http://example.org/old", "http://example.org/claimed"}
	if got := ParseWebLog([]byte(log)); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestNewestLineOfAUUIDCounts(t *testing.T) {
	log := "a my lab server timestamp=2.5s\na old name timestamp=1s\nb without time\nb with timestamp=1s\nc timestamp=1s\nd x timestamp=bad\n"
	want := map[UUID][]string{"a": {"my", "lab", "server"}, "b": {"with"}, "c": {}}
	if got := parseByUUID([]byte(log)); !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
}

func TestParseRemoteLog(t *testing.T) {
	log := "a name=x&32;y type=S3 url=http://h/?a=b&38;c odd=&x;&&#;&; big=&99999999999; none timestamp=2s\n" +
		"a name=old type=S3 timestamp=1s\nb type=httpalso sameas-uuid=a sameas-name=n timestamp=1s\n"
	got := ParseRemoteLog([]byte(log))
	want := map[UUID]RemoteConfig{
		"a": {"name": "x y", "type": "S3", "url": "http://h/?a=b&c", "odd": "&x;&&#;&;", "big": "&99999999999;", "none": ""},
		"b": {"type": "httpalso", "sameas-uuid": "a", "sameas-name": "n"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	if c := got["b"]; c.LocationUUID("b") != "a" || c.Name() != "n" || got["a"].LocationUUID("a") != "a" {
		t.Error("a second way to a store is not known as such")
	}
}

// A second way to a store keeps content as the first says.
func TestSecondWaysInherit(t *testing.T) {
	got := ParseRemoteLog([]byte("a name=x type=S3 encryption=shared chunk=1MiB cipher=c timestamp=1s\n" +
		"b sameas-name=y sameas-uuid=a type=httpalso url=http://h/ timestamp=1s\n" +
		"c sameas-name=z sameas-uuid=none type=httpalso url=http://h/ timestamp=1s\n" +
		"d sameas-name=z sameas-uuid=a encryption=none chunk= type=httpalso url=http://h/ timestamp=1s\n"))
	key, err := ParseKey("MD5-s1--0cc175b9c0f1b6a831c399e269772661")
	if err != nil {
		t.Fatal(err)
	}
	for id, urls := range map[UUID]bool{"b": false, "c": true, "d": true} {
		if there := len(got[id].KeyURLs(key)) > 0; there != urls {
			t.Errorf("%s has plain keys: %v: %q", id, there, got[id])
		}
	}
	if got["b"]["cipher"] != "" || got["b"]["name"] != "" {
		t.Errorf("more was inherited: %q", got["b"])
	}
}

func TestParseRemoteMetadata(t *testing.T) {
	for name, c := range map[string]struct {
		log  string
		want map[UUID][]string
	}{
		"newest first":     {"1s a:V +v1#o\n3s a:V +v3#o\n2s a:V +v2#o\n", map[UUID][]string{"a": {"v3#o", "v2#o", "v1#o"}}},
		"unset":            {"1s a:V +v1#o +v2#o\n2s a:V -v1#o\n", map[UUID][]string{"a": {"v2#o"}}},
		"set again":        {"3s a:V +v1#o\n2s a:V -v1#o\n", map[UUID][]string{"a": {"v1#o"}}},
		"two remotes":      {"1s a:V +x b:V +y c:W +z d:v +w\n", map[UUID][]string{"a": {"x"}, "b": {"y"}, "d": {"w"}}},
		"base64":           {"1s a:V +!djEjYSBi -!bad! +!\n", map[UUID][]string{"a": {"v1#a b"}}},
		"last of a tie":    {"1s a:V +x\n1s a:V -x\n", map[UUID][]string{}},
		"ties in order":    {"1s a:V +y +x\n", map[UUID][]string{"a": {"x", "y"}}},
		"malformed":        {"\n \t \n1s\n1s +x\n1s a:V\nx a:V +y\n1s V +x\n1s a:V + -\n", map[UUID][]string{"": {}}},
		"value of a field": {"1s a:V x +y\n", map[UUID][]string{}},
	} {
		got := ParseRemoteMetadata([]byte(c.log))
		delete(got, "")
		delete(c.want, "")
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// FuzzLogs feeds every log parser, which must neither panic nor make up
// anything, and must not depend on where a line stands in the log unless
// times are equal.
func FuzzLogs(f *testing.F) {
	f.Add([]byte("1699626743.694916184s 1 e1cb00a7\n1692790412.883738626s X faa19292\n"))
	f.Add([]byte("e1cb00a7 bucket=openneuro.org name=s3&32;x type=S3 publicurl=https://h/b timestamp=1741605425.355784412s\n"))
	f.Add([]byte("1699626743.692650745s e1cb00a7:V +mQwn#ds004712/sub-1/a.nii.gz -!djEj\n"))
	f.Add([]byte("1s 1 http://example.org/\r\n \t\n\x00\xff"))
	f.Fuzz(func(t *testing.T, log []byte) {
		for u := range ParseLocationLog(log) {
			if u == "" || !bytes.Contains(log, []byte(u)) {
				t.Errorf("location log: %q", u)
			}
		}
		for _, u := range ParseWebLog(log) {
			if strings.ContainsAny(u, "\r\n") || !strings.Contains(u, ":") {
				t.Errorf("web log: %q", u)
			}
		}
		parseByUUID(log)
		values := ParseRemoteMetadata(log)
		for u, c := range ParseRemoteLog(log) {
			urls := c.VersionedURLs(values[u])
			if e, ok := c.ExportURL("sub-01/a b"); ok {
				urls = append(urls, e)
			}
			k, err := ParseKey("MD5--a")
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range append(urls, c.KeyURLs(k)...) {
				checkURL(t, s)
			}
		}
	})
}
