package remedy

import (
	neturl "net/url"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/plain"
)

// remedies are recognised in what git, ssh or an HTTP client say. The first
// that matches counts. In what is to be done, {url} is the dataset's URL and
// {https} the same by HTTPS instead of SSH.
var remedies = []struct {
	reason advice.Reason
	says   *regexp.Regexp
	do     []string
}{
	{advice.DiskFull, regexp.MustCompile(`(?i)no space left on device|disk quota exceeded`),
		[]string{"free some space, or choose a cache on another disk with --cache DIR"}},
	{advice.Ownership, regexp.MustCompile(`(?i)dubious ownership`),
		[]string{"if you trust its owner: git config --global --add safe.directory {url}"}},
	{advice.Proxy, regexp.MustCompile(`(?i)could not resolve proxy|proxy connect aborted|CONNECT tunnel failed|response 407|407 proxy|proxyconnect`),
		[]string{"check the proxy: env | grep -i proxy; git config --get-all http.proxy", "without a proxy: unset http_proxy https_proxy all_proxy"}},
	{advice.TLS, regexp.MustCompile(`(?i)ssl certificate problem|server certificate verification failed|certificate verify failed|SSL_ERROR|gnutls_handshake|schannel|x509:|ssl_connect|unable to access .*ssl`),
		[]string{
			"update the system's certificates: apt-get install ca-certificates (and check the clock: date)",
			"behind an institution's proxy, tell git its certificate: git config --global http.sslCAInfo /path/to/ca.pem",
		}},
	{advice.SSH, regexp.MustCompile(`(?i)permission denied \(publickey|host key verification failed|could not read from remote repository|ssh: connect to host|no matching host key|ssh: handshake failed|knownhosts|cannot run .*: no such file|ssh variant`),
		[]string{
			"use HTTPS instead of SSH, where the server has it: --dataset {https}",
			"or let git do so always: git config --global url.\"https://{host}/\".insteadOf \"git@{host}:\"",
			"or add your key to the agent (ssh-add) and to the server, and connect once by hand to accept its host key",
		}},
	{advice.Authentication, regexp.MustCompile(`(?i)authentication failed|could not read username|could not read password|terminal prompts disabled|http basic: access denied|authentication required|requested URL returned error: 40[13]|invalid credentials`),
		[]string{
			"check the spelling of the dataset: servers ask for a password also when it does not exist",
			"if it is private, set up a credential helper: git config --global credential.helper store; git ls-remote {url}",
		}},
	{advice.Network, regexp.MustCompile(`(?i)could not resolve host|name or service not known|temporary failure in name resolution|no such host|connection refused|network is unreachable|no route to host|connection timed out|operation timed out|operation too slow|connection reset|empty reply from server|transfer closed with|unexpected disconnect|early eof|i/o timeout|failed to connect|git was silent for|no connection within`),
		[]string{"check the network connection, and the dataset's URL", "once it was mounted, a dataset needs no network to be mounted again"}},
	{advice.Network, regexp.MustCompile(`(?i)requested URL returned error: 5\d\d|status code: 5\d\d|requested URL returned error: 429`),
		[]string{"the server has a problem, or too much to do: try again later"}},
	{advice.NotFound, regexp.MustCompile(`(?i)repository not found|requested URL returned error: 404|does not exist|not found`),
		[]string{"check the spelling of the dataset"}},
	{advice.Damaged, regexp.MustCompile(`(?i)git says too much|out of memory`),
		[]string{"its server's list of branches and tags is far too long, or has no end: get the dataset from elsewhere"}},
	{advice.Damaged, regexp.MustCompile(`(?i)bad object|missing (blob|tree|commit|object)|object file .* is empty|loose object|packfile|pack has|not our ref|index-pack|unpack-objects|corrupt|inflate|bad (pack|tree|signature)|did not send all necessary objects|sha1 mismatch|invalid index-pack|premature end|unresolved deltas|early eof|prerequisite commits`),
		[]string{"look at it with: git fsck (a repository), git bundle verify (a bundle)", "get the dataset anew"}},
	{advice.NotRepository, regexp.MustCompile(`(?i)not a git repository|does not appear to be a git repository|not a bundle|unrecognized header|does not look like a v2 or v3 bundle|not valid: is this a git repository|repository not exported|invalid pkt-len|has no branches|could not read from remote repository`),
		[]string{"give a URL, a git repository, a git bundle, or an OpenNeuro accession such as ds004712"}},
}

// Of explains a failure by what a program said about it.
func Of(what, url, said string) *advice.Error {
	said, url = strings.TrimSpace(said), withoutUser(url)
	e := &advice.Error{Kind: advice.Unreachable, Reason: advice.Other, What: what, Why: LastLines(said, 3)}
	for _, r := range remedies {
		matches := r.says.MatchString(said) || r.reason == advice.Proxy && isOtherHost(url, said)
		if !concerns(r.reason, url) || !matches {
			continue
		}
		e.Reason = r.reason
		if r.reason == advice.DiskFull {
			e.Kind = advice.NoSpace
		}
		https := overHTTPS(url)
		host, _, _ := strings.Cut(strings.TrimPrefix(https, "https://"), "/")
		for _, do := range r.do {
			e.Do = append(e.Do, strings.NewReplacer("{url}", url, "{https}", https, "{host}", host).Replace(do))
		}
		if strings.HasPrefix(url, "git://") {
			e.Do = append([]string{
				"many servers have no git:// any more; use HTTPS: --dataset " + https,
				`or let git do so always: git config --global url."https://".insteadOf "git://"`,
			}, e.Do...)
		}
		return e
	}
	return e
}

// withoutUser returns a URL without the name and password in it, which are often a
// secret: advice is shown, and pasted. Of ssh the name is part of the address.
func withoutUser(url string) string {
	u, err := neturl.Parse(url)
	if err != nil || u.User == nil || u.Scheme != "http" && u.Scheme != "https" {
		return url
	}
	u.User = nil
	return u.String()
}

// annexNetwork is how git-annex speaks of a network or server that may come
// back.
var annexNetwork = regexp.MustCompile(`ConnectionFailure|ConnectionTimeout|ResponseTimeout|NoResponseDataReceived|ConnectionClosed|IncompleteHeaders|ResponseBodyTooShort|InternalException|getAddrInfo|Service Unavailable|Too Many Requests|Bad Gateway|Gateway Time-?[Oo]ut|Internal Server Error|statusCode = (408|425|429|5\d\d)`)

// SpeaksOfNetwork reports whether a program's words are about a network or a
// server that may come back by itself.
func SpeaksOfNetwork(said string) bool {
	for _, r := range remedies {
		if r.reason == advice.Network && r.says.MatchString(said) {
			return true
		}
	}
	return annexNetwork.MatchString(said)
}

// connecting is how curl says which host it cannot connect to.
var connecting = regexp.MustCompile(`(?i)failed to connect to (\S+) port (\d+)`)

// isOtherHost reports whether what cannot be connected to is not the dataset's
// host: then it is the proxy.
func isOtherHost(dataset, said string) bool {
	to := connecting.FindStringSubmatch(said)
	u, err := neturl.Parse(dataset)
	if to == nil || err != nil || u.Hostname() == "" {
		return false
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return to[1] != u.Hostname() || to[2] != port
}

// concerns reports whether a dataset at url can fail for a reason. On this
// machine git's words for a cut connection mean a file that ends too early.
func concerns(r advice.Reason, url string) bool {
	switch r {
	case advice.Proxy, advice.TLS, advice.SSH, advice.Authentication, advice.Network:
		return !filepath.IsAbs(url)
	}
	return true
}

// SCPLike is how git takes host and path of an SSH server, as in git@host:path.
var SCPLike = regexp.MustCompile(`^([A-Za-z0-9_.+-]+@)?[A-Za-z0-9.-]+:[^/\\:][^:]*$|^([A-Za-z0-9_.+-]+@)[A-Za-z0-9.-]+:/.*$`)

// overHTTPS returns the HTTPS address that a server most likely has for one of
// SSH or git's own protocol, and any other as it is.
func overHTTPS(url string) string {
	rest, ssh := strings.CutPrefix(url, "ssh://")
	path, git := strings.CutPrefix(url, "git://")
	switch {
	case git:
		return "https://" + path
	case ssh:
		host, path, _ := strings.Cut(rest, "/")
		host, _, _ = strings.Cut(host[strings.LastIndex(host, "@")+1:], ":")
		return "https://" + host + "/" + path
	case SCPLike.MatchString(url):
		host, path, _ := strings.Cut(url[strings.Index(url, "@")+1:], ":")
		return "https://" + host + "/" + strings.TrimPrefix(path, "/")
	}
	return url
}

// idle are lines of git that tell nothing.
var idle = regexp.MustCompile(`^hint:|^remote: (Counting|Enumerating|Compressing|Total)|^Please make sure you have the correct access rights|^and the repository exists`)

// LastLines returns the end of a program's output in one line: there the
// reason stands.
func LastLines(said string, n int) string {
	var lines []string
	for l := range strings.Lines(said) {
		l = strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(l), "fatal: "), "error: "))
		if l != "" && !strings.Contains(l, "\r") && !idle.MatchString(l) {
			lines = append(lines, plain.Text(l))
		}
	}
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return plain.Short(strings.Join(lines, "; "), MaxSaid)
}
