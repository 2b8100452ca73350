package gitannex

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// Lines that git-annex 10.20230126 and 10.20250721 have printed for
// get --batch --json --json-progress --json-error-messages.
func TestLinesOfGitAnnex(t *testing.T) {
	const key = "MD5E-s1000--bb1e6e5c4ba9ac9a6ae96ffe3e4a0e9f.bin"
	for line, want := range map[string]string{
		`{"action":{"command":"get","file":null,"input":[],"key":"` + key + `"},"byte-progress":100,"percent-progress":"10%","total-size":1000}`:                                                                                                       key + " 100",
		`{"command":"get","error-messages":[],"file":null,"input":[],"key":"` + key + `","note":"from s3...\nchecksum...","success":true}`:                                                                                                             key + " got",
		`{"command":"get","error-messages":["  download failed: Not Found","  Unable to access these remotes: web"],"file":null,"input":[],"key":"` + key + `","note":"from web...\nUnable to access these remotes: web","success":false,"wanted":[]}`: key + " failed",
		`{"command":"get","error-messages":[],"key":"` + key + `"}`: key + " nothing",
		`{"key":3}`: "",
		`{"command":"get","key":"../../x","success":true}`: "",
		`git-annex: unknown`: "",
		``:                   "",
	} {
		k, l, ok := parseLine([]byte(line))
		got := ""
		switch {
		case !ok:
		case l.Success == nil && l.Progress == nil:
			got = k.String() + " nothing"
		case l.Success == nil:
			got = fmt.Sprint(k, " ", *l.Progress)
		case *l.Success:
			got = k.String() + " got"
		default:
			got = k.String() + " failed"
		}
		if got != want {
			t.Errorf("%s\nis %q, want %q", line, got, want)
		}
	}
}

func TestFailuresOfGitAnnexHaveAClass(t *testing.T) {
	for _, c := range []struct {
		said   []string
		outage bool
		is     error
		says   string
	}{
		{[]string{"  not enough free space, need 1 GB more (use --force to override this check or adjust annex.diskreserve)"}, false, syscall.ENOSPC, "not enough free space"},
		{[]string{"  /x/tmp/KEY: withBinaryFile: resource exhausted (No space left on device)"}, false, syscall.ENOSPC, "No space left"},
		{[]string{"  transfer already in progress, or unable to take transfer lock"}, true, errLocked, "transfer already in progress"},
		{[]string{"  download failed: Service Unavailable", "  Unable to access these remotes: web"}, true, nil, "Service Unavailable"},
		{[]string{"  HttpExceptionRequest Request {\n  host = \"127.0.0.1\"\n}\n (ConnectionFailure Network.Socket.connect: <socket: 12>: does not exist (Connection refused))"}, true, nil, "ConnectionFailure"},
		{[]string{"  download failed: Not Found", "from web..."}, false, nil, "Not Found"},
		{[]string{"  verification of content failed"}, false, nil, "verification of content failed"},
		{[]string{"", " \n"}, false, nil, "does not say why"},
		{nil, false, nil, "does not say why"},
	} {
		err := failure(c.said)
		if source.IsOutage(err) != c.outage || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, an outage: %v", c.said, err, source.IsOutage(err))
		}
	}
}

func TestNamesOfSpecialRemotes(t *testing.T) {
	for name, want := range map[string]bool{
		"s3-PUBLIC": true, "OpenNeuro": true, "ž": true, "": false, "origin": false, "-x": false, "a b": false, "a\nb": false, "a\x7f": false, strings.Repeat("a", 100): false,
	} {
		if isRemoteName(name) != want {
			t.Errorf("%q can be set up: %v", name, !want)
		}
	}
}

// Whatever git-annex says is harmless to show.
func FuzzLine(f *testing.F) {
	for _, s := range []string{
		`{"command":"get","error-messages":["a","b"],"file":null,"key":"MD5E-s3--900150983cd24fb0d6963f7d28e17f72.t","note":"from web...","success":false}`,
		`{"action":{"key":"MD5E-s3--x"},"byte-progress":3,"percent-progress":"3%"}`, `{"key":3}`, `{"key":"MD5E-s1--../../x","success":true}`, `{"byte-progress":-1}`, `{`, "", `{"error-messages":["\u001b[2J"],"key":"MD5-s1--x","success":false}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		key, l, ok := parseLine(line)
		if !ok {
			return
		}
		if key.IsZero() {
			t.Errorf("%q is about no key", line)
		}
		if !json.Valid(line) {
			t.Errorf("%q is taken", line)
		}
		err := failure(append(l.Errors, l.Note))
		if err == nil || strings.ContainsFunc(err.Error(), unicode.IsControl) || len(err.Error()) > 1000 {
			t.Errorf("not harmless: %q", err)
		}
	})
}
