package fetch

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// Kind is a sort of failure that has a known remedy.
type Kind string

// The kinds of failures.
const (
	TLS            Kind = "tls"
	SSH            Kind = "ssh"
	Authentication Kind = "authentication"
	Proxy          Kind = "proxy"
	Network        Kind = "network"
	NotFound       Kind = "not-found"
	NotRepository  Kind = "not-a-repository"
	Damaged        Kind = "damaged"
	UnknownVersion Kind = "unknown-version"
	DiskFull       Kind = "disk-full"
	Ownership      Kind = "ownership"
	NoGit          Kind = "no-git"
	Offline        Kind = "offline"
	Other          Kind = "other"
)

// An AdviceError says what happened, why, and what to do about it.
type AdviceError struct {
	Kind Kind
	What string
	Why  string
	Do   []string
}

func (e *AdviceError) Error() string {
	if e.Why == "" {
		return e.What
	}
	return e.What + ": " + e.Why
}

// remedies are recognised in what git, ssh or an HTTP client say. The first
// that matches counts.
var remedies = []struct {
	kind Kind
	says *regexp.Regexp
	do   []string
}{
	{DiskFull, regexp.MustCompile(`(?i)no space left on device|disk quota exceeded`),
		[]string{"free some space, or choose a cache on another disk with --cache DIR"}},
	{Ownership, regexp.MustCompile(`(?i)dubious ownership`),
		[]string{"if you trust its owner: git config --global --add safe.directory {url}"}},
	{Proxy, regexp.MustCompile(`(?i)could not resolve proxy|proxy connect aborted|CONNECT tunnel failed|response 407|407 proxy|proxyconnect`),
		[]string{"check the proxy: env | grep -i proxy; git config --get-all http.proxy", "without a proxy: unset http_proxy https_proxy all_proxy"}},
	{TLS, regexp.MustCompile(`(?i)ssl certificate problem|server certificate verification failed|certificate verify failed|SSL_ERROR|gnutls_handshake|schannel|x509:|ssl_connect|unable to access .*ssl`),
		[]string{
			"update the system's certificates: apt-get install ca-certificates (and check the clock: date)",
			"behind an institution's proxy, tell git its certificate: git config --global http.sslCAInfo /path/to/ca.pem",
			"if the URL is git:// or git@, use HTTPS: git config --global url.\"https://\".insteadOf \"git://\"",
		}},
	{SSH, regexp.MustCompile(`(?i)permission denied \(publickey|host key verification failed|could not read from remote repository|ssh: connect to host|no matching host key|ssh: handshake failed|knownhosts`),
		[]string{
			"use HTTPS instead of SSH: git config --global url.\"https://github.com/\".insteadOf \"git@github.com:\"",
			"or add your key to the agent (ssh-add) and to the server, and connect once by hand to accept its host key",
		}},
	{Authentication, regexp.MustCompile(`(?i)authentication failed|could not read username|could not read password|terminal prompts disabled|http basic: access denied|authentication required|requested URL returned error: 40[13]|invalid credentials`),
		[]string{
			"check the spelling of the dataset: servers ask for a password also when it does not exist",
			"if it is private, set up a credential helper: git config --global credential.helper store; git ls-remote {url}",
		}},
	{Network, regexp.MustCompile(`(?i)could not resolve host|name or service not known|temporary failure in name resolution|no such host|connection refused|network is unreachable|no route to host|connection timed out|operation timed out|connection reset|early eof|i/o timeout|failed to connect`),
		[]string{"check the network connection, and the dataset's URL", "once it was mounted, a dataset needs no network to be mounted again"}},
	{NotFound, regexp.MustCompile(`(?i)repository not found|requested URL returned error: 404|does not exist|not found`),
		[]string{"check the spelling of the dataset"}},
	{Damaged, regexp.MustCompile(`(?i)bad object|missing (blob|tree|commit|object)|object file .* is empty|loose object|packfile|pack has|index-pack|unpack-objects|corrupt|inflate|bad (pack|tree|signature)|did not send all necessary objects|sha1 mismatch|invalid index-pack|premature end|unresolved deltas|early eof|prerequisite commits`),
		[]string{"look at it with: git fsck (a repository), git bundle verify (a bundle)", "get the dataset anew"}},
	{NotRepository, regexp.MustCompile(`(?i)not a git repository|does not appear to be a git repository|not a bundle|unrecognized header|does not look like a v2 or v3 bundle|not valid: is this a git repository|repository not exported|could not read from remote repository`),
		[]string{"give a URL, a git repository, a git bundle, or an OpenNeuro accession such as ds004712"}},
}

// remote are the kinds that a dataset on this machine cannot have: there, git's
// words for a cut connection mean a file that ends too early.
var remote = map[Kind]bool{Proxy: true, TLS: true, SSH: true, Authentication: true, Network: true}

// advise explains a failure by what a program said about it.
func advise(what, url, said string) *AdviceError {
	said = strings.TrimSpace(said)
	e := &AdviceError{Kind: Other, What: what, Why: lastLines(said, 3)}
	for _, r := range remedies {
		if r.says.MatchString(said) && (!filepath.IsAbs(url) || !remote[r.kind]) {
			e.Kind = r.kind
			for _, do := range r.do {
				e.Do = append(e.Do, strings.ReplaceAll(do, "{url}", url))
			}
			return e
		}
	}
	return e
}

// lastLines returns the end of a program's output in one line: there the
// reason stands.
func lastLines(said string, n int) string {
	var lines []string
	for l := range strings.Lines(said) {
		l = strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(l), "fatal: "), "error: "))
		if l != "" && !strings.Contains(l, "\r") && !strings.HasPrefix(l, "hint:") && !strings.HasPrefix(l, "remote: Counting") {
			lines = append(lines, l)
		}
	}
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return fmt.Sprintf("%.600s", strings.Join(lines, "; "))
}
