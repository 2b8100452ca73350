package remedy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
)

// What git says is explained, whatever it says, and harmless to show.
func FuzzAdvice(f *testing.F) {
	for _, s := range []string{
		"fatal: could not resolve host: x\n", "Failed to connect to a port 1", "error: \x1b[2J\n\n\nfatal: x", "remote: Counting objects\rfatal: early EOF", "\xff\xfe", "hint: a\nfatal: 'x' does not appear to be a git repository",
	} {
		f.Add(s, "https://example.org/a")
		f.Add(s, "git@example.org:a/b")
		f.Add(s, "/data/a")
	}
	f.Fuzz(func(t *testing.T, words, url string) {
		e := Of("cannot", url, words)
		if e.Reason == "" || strings.ContainsFunc(e.Error(), unicode.IsControl) || len(e.Error()) > 1000 {
			t.Errorf("%q: %q", words, e)
		}
		SpeaksOfNetwork(words)
	})
}

// recorded are what git 2.39 and 2.47, OpenSSH and git-annex have said.
var recorded = []struct {
	url, said string
	reason    advice.Reason
	why       string // in what is told
	do        string // in what is to be done
}{
	{"http://127.0.0.1:1/x.git", "fatal: unable to access 'http://127.0.0.1:1/x.git/': Failed to connect to 127.0.0.1 port 1 after 0 ms: Couldn't connect to server\n",
		advice.Network, "Failed to connect", "network connection"},
	{"https://no-such-host.invalid/x.git", "fatal: unable to access 'https://no-such-host.invalid/x.git/': Could not resolve host: no-such-host.invalid\n",
		advice.Network, "Could not resolve host", "network connection"},
	{"/data/none", "fatal: repository '/data/none' does not exist\n", advice.NotFound, "does not exist", "spelling"},
	{"/data/notabundle", "error: '/data/notabundle' does not look like a v2 or v3 bundle file\nfatal: invalid gitfile format: /data/notabundle\nfatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\nand the repository exists.\n",
		advice.NotRepository, "does not look like a v2 or v3 bundle file; invalid gitfile format", "give a URL"},
	{"http://127.0.0.1:8080/404/x.git", "fatal: repository 'http://127.0.0.1:8080/404/x.git/' not found\n", advice.NotFound, "not found", "spelling"},
	{"http://127.0.0.1:8080/401/x.git", "fatal: could not read Username for 'http://127.0.0.1:8080': terminal prompts disabled\n",
		advice.Authentication, "terminal prompts disabled", "git ls-remote http://127.0.0.1:8080/401/x.git"},
	{"http://127.0.0.1:8080/403/x.git", "fatal: unable to access 'http://127.0.0.1:8080/403/x.git/': The requested URL returned error: 403\n",
		advice.Authentication, "error: 403", "credential helper"},
	{"http://127.0.0.1:8080/503/x.git", "fatal: unable to access 'http://127.0.0.1:8080/503/x.git/': The requested URL returned error: 503\n",
		advice.Network, "error: 503", "try again later"},
	{"http://127.0.0.1:8080/429/x.git", "fatal: unable to access 'http://127.0.0.1:8080/429/x.git/': The requested URL returned error: 429\n",
		advice.Network, "error: 429", "try again later"},
	{"https://localhost:8443/x.git", "fatal: unable to access 'https://localhost:8443/x.git/': server certificate verification failed. CAfile: /etc/ssl/certs/ca-certificates.crt CRLfile: none\n",
		advice.TLS, "verification failed", "ca-certificates"},
	{"https://example.org/x.git", "fatal: unable to access 'https://example.org/x.git/': Failed to connect to 127.0.0.1 port 3128 after 0 ms: Couldn't connect to server\n",
		advice.Proxy, "127.0.0.1 port 3128", "check the proxy"},
	{"https://example.org/x.git", "fatal: unable to access 'https://example.org/x.git/': Could not resolve proxy: no-such-proxy.invalid\n",
		advice.Proxy, "Could not resolve proxy", "unset http_proxy"},
	{"git@example.org:x/y.git", "ssh: connect to host example.org port 22: Connection refused\nfatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\nand the repository exists.\n",
		advice.SSH, "Connection refused; Could not read", "--dataset https://example.org/x/y.git"},
	{"ssh://git@example.org:2222/x/y.git", "git@example.org: Permission denied (publickey).\nfatal: Could not read from remote repository.\n",
		advice.SSH, "publickey", "--dataset https://example.org/x/y.git"},
	{"git://example.org/x.git", "fatal: unable to connect to example.org:\nexample.org[0: 192.0.2.1]: errno=Connection refused\n\n",
		advice.Network, "errno=Connection refused", "use HTTPS: --dataset https://example.org/x.git"},
	{"/data/d", "fatal: git upload-pack: not our ref fbba810b1893545f8fd2c563e637cb7e0eadb77c\nfatal: remote error: upload-pack: not our ref fbba810b1893545f8fd2c563e637cb7e0eadb77c\n",
		advice.Damaged, "not our ref", "git fsck"},
	{"https://example.org/x.git", "remote: Enumerating objects: 3, done.\nremote: Counting objects: 100% (3/3), done.\nerror: RPC failed; curl 56 Recv failure: Connection reset by peer\nfetch-pack: unexpected disconnect while reading sideband packet\nfatal: early EOF\nfatal: fetch-pack: invalid index-pack output\n",
		advice.Network, "early EOF", "network connection"},
	{"/data/d", "fatal: early EOF\nfatal: index-pack failed\n", advice.Damaged, "index-pack", "git fsck"},
	{"/data/d", "fatal: detected dubious ownership in repository at '/data/d'\nTo add an exception for this directory, call:\n\n\tgit config --global --add safe.directory /data/d\n",
		advice.Ownership, "safe.directory", "git config --global --add safe.directory /data/d"},
	{"https://example.org/x.git", "error: unable to write file .git/objects/aa: No space left on device\nfatal: unpack-objects failed\n", advice.DiskFull, "No space left", "free some space"},
	{"https://example.org/x.git", "something that nobody has said before\n", advice.Other, "nobody has said", ""},
	{"https://example.org/x.git", "", advice.Other, "", ""},
}

func TestWordsOfGitAreUnderstood(t *testing.T) {
	for _, r := range recorded {
		e := Of("cannot get it", r.url, r.said)
		if e.Reason != r.reason {
			t.Errorf("%s: %q is %s, want %s", r.url, r.said, e.Reason, r.reason)
		}
		if !strings.Contains(e.Why, r.why) || strings.Contains(e.Why, "remote: Counting") || strings.Contains(e.Why, "Please make sure") {
			t.Errorf("%s: told as %q", r.url, e.Why)
		}
		if do := strings.Join(e.Do, "\n"); !strings.Contains(do, r.do) || strings.ContainsAny(do, "{}") {
			t.Errorf("%s: %q: do %q, want %q", r.url, r.said, do, r.do)
		}
		if full := e.Kind == advice.NoSpace; full != (r.reason == advice.DiskFull) {
			t.Errorf("%q is a failure of kind %s", r.said, e.Kind)
		}
	}
}

func TestWhatComesBackByItself(t *testing.T) {
	for said, want := range map[string]bool{
		"  HttpExceptionRequest Request {\n  host = \"127.0.0.1\"\n}\n (ConnectionFailure Network.Socket.connect: <socket: 12>: does not exist (Connection refused))\n": true,
		"  download failed: Service Unavailable\n":                                   true,
		"  download failed: Not Found\n":                                             false,
		"  StatusCodeException (Response {responseStatus = Status {statusCode = 503": true,
		"  StatusCodeException (Response {responseStatus = Status {statusCode = 403": false,
		"  verification of content failed\n":                                         false,
		"ssh: Could not resolve hostname host: Name or service not known":            true,
		"fatal: unable to access 'http://host/ds/': Empty reply from server\n":       true,
		"error: RPC failed; curl 18 transfer closed with outstanding read data remaining\nfetch-pack: unexpected disconnect while reading sideband packet\n": true,
		"error: Server does not allow request for unadvertised object 1\n":                                                                                   false,
		"": false,
	} {
		if SpeaksOfNetwork(said) != want {
			t.Errorf("%q is of the network: %v", said, !want)
		}
	}
}

func TestAdviceOnContent(t *testing.T) {
	for reason, want := range map[string]string{
		"no trustworthy connection: tls: failed to verify certificate: x509: certificate signed by unknown authority": "SSL_CERT_FILE",
		"the proxy says 407 Proxy Authentication Required":                                                            "unset http_proxy",
		"the server says 403 Forbidden":                                                                               "--fetcher annex",
		"no source is known":                                                                                          "apt-get install git-annex",
		"dial tcp 127.0.0.1:1: connect: connection refused":                                                           "network connection",
		"address is not allowed: 10.0.0.1 belongs to 10.0.0.0/8; allow it with --allow-address 10.0.0.1":              "--allow-address ADDRESS",
		"the server says 404 Not Found":                                                                               "",
	} {
		do := strings.Join(OfContent([]string{reason, reason}, false), "\n")
		if !strings.Contains(do, want) || want == "" && do != "" || want != "" && strings.Count(do, want) != 1 {
			t.Errorf("%q: do %q, want %q once", reason, do, want)
		}
	}
	if do := OfContent([]string{"no source is known"}, true); len(do) != 0 {
		t.Errorf("git-annex is here, and is to be installed: %q", do)
	}
}

// What is told of a failure drives no terminal, and is not the asker's timeout.
func TestHarmless(t *testing.T) {
	err := Harmless(fmt.Errorf("\x1b[2J\u202e%s: %w", strings.Repeat("x", 2*MaxSaid), io.ErrUnexpectedEOF))
	if strings.ContainsAny(err.Error(), "\x1b\u202e") || len(err.Error()) > MaxSaid+10 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q", err)
	}
	for _, of := range []error{context.DeadlineExceeded, context.Canceled} {
		if err := Harmless(fmt.Errorf("dial: %w", of)); errors.Is(err, of) || !strings.Contains(err.Error(), of.Error()) {
			t.Errorf("%v passes for the asker's", err)
		}
	}
}

// Advice has no secret of a URL in it.
func TestAdviceHasNoSecrets(t *testing.T) {
	for _, url := range []string{"https://me:hunter2@example.org/a.git", "https://hunter2@example.org/a.git", "http://:hunter2@example.org/a.git"} {
		for _, said := range []string{"fatal: could not read Username: terminal prompts disabled", "fatal: unable to access: Could not resolve host: example.org", "fatal: repository not found"} {
			if e := Of("cannot get it", url, said); strings.Contains(e.Error()+strings.Join(e.Do, "\n"), "hunter2") {
				t.Errorf("%s: %v", said, e.Do)
			}
		}
	}
}
