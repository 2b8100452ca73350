package annex

import (
	"net/url"
	"strings"
)

const (
	awsHost = "s3.amazonaws.com"
	// maxVersion bounds a version id as git-annex does; S3 has at most 1024.
	maxVersion = 2048
)

// VersionedURLs returns the URLs of exact versions in an S3 remote that
// anybody may read, in the order of values, which are a remote's from
// [ParseRemoteMetadata]: "VERSIONID#OBJECT", where OBJECT is the whole name in
// the bucket, file prefix included. It is empty when the remote has no public
// URL or does not hold content as it is; malformed values are left out.
//
// A remote with public=no and a publicurl is read too, as the newer git-annex
// does (10.20230126 did not): public only says how the access was granted.
func (c RemoteConfig) VersionedURLs(values []string) []string {
	base, ok := c.base()
	if !ok || c.Type() != "S3" {
		return nil
	}
	var urls []string
	for _, v := range values {
		version, object, _ := strings.Cut(v, "#")
		u, ok := join(base, object)
		if ok && isVersion(version) {
			urls = append(urls, u+"?versionId="+version)
		}
	}
	return urls
}

// ExportURL returns the URL of a file in a remote that holds a tree of files
// (exporttree=yes or importtree=yes), and whether it can be read by URL. path
// is the file's path in the exported tree. Which content is there depends on
// the last export: it must be verified before use.
func (c RemoteConfig) ExportURL(path string) (string, bool) {
	base, ok := c.base()
	if !ok || !c.HoldsTree() || path == "" {
		return "", false
	}
	if c.Type() == "S3" {
		path = c["fileprefix"] + path
	}
	return join(base, path)
}

// KeyURLs returns the URLs at which a remote that holds content by key may
// have it, the likeliest first. For S3 there is one; type=httpalso does not
// say in which layout the remote was written.
func (c RemoteConfig) KeyURLs(k Key) []string {
	base, ok := c.base()
	if !ok || c.HoldsTree() || k.IsZero() {
		return nil
	}
	f, lower, mixed := k.FileName(), k.HashDirLower(), k.HashDirMixed()
	paths := []string{
		lower + "/" + f + "/" + f, mixed + "/" + f + "/" + f,
		f,
		lower + "/" + f, mixed + "/" + f,
		lower[:3] + "/" + f + "/" + f, mixed[:2] + "/" + f + "/" + f,
	}
	if c.Type() == "S3" {
		if c["mungekeys"] != "" {
			return nil
		}
		paths = []string{c["fileprefix"] + k.String()}
	}
	var urls []string
	for _, p := range paths {
		if u, ok := join(base, p); ok {
			urls = append(urls, u)
		}
	}
	return urls
}

// GitURL returns the URL of the git repository that a special remote of type=git
// stands for, if that is one of the web.
func (c RemoteConfig) GitURL() (string, bool) {
	return c["location"], c.Type() == "git" && isBase(c["location"])
}

// HoldsTree reports whether the remote keeps files under their paths in the
// dataset, and not by their keys.
func (c RemoteConfig) HoldsTree() bool { return c["exporttree"] == "yes" || c["importtree"] == "yes" }

// base returns the URL below which everybody can read the remote's objects.
func (c RemoteConfig) base() (string, bool) {
	if !c.plain() {
		return "", false
	}
	switch c.Type() {
	case "httpalso":
		return c["url"], isBase(c["url"])
	case "S3":
		if u := c["publicurl"]; u != "" {
			return u, isBase(u)
		}
		if c["public"] == "yes" || c["signature"] == "anonymous" {
			u := c.endpoint()
			return u, isBase(u)
		}
	}
	return "", false
}

// endpoint returns the URL of an S3 remote's bucket, by its host.
func (c RemoteConfig) endpoint() string {
	bucket := strings.ToLower(c["bucket"])
	host := strings.ToLower(c["host"])
	if bucket == "" || escape(bucket) != bucket {
		return ""
	}
	switch {
	case host == "" || host == awsHost:
		if strings.Contains(bucket, ".") {
			return "https://" + awsHost + "/" + bucket + "/" // the wildcard certificate has one level
		}
		return "https://" + bucket + "." + awsHost + "/"
	case strings.HasSuffix(host, ".archive.org"):
		return "https://archive.org/download/" + bucket + "/"
	}
	scheme, port := c["protocol"], c["port"]
	if scheme == "" && port == "443" {
		scheme = "https"
	} else if scheme == "" {
		scheme = "http"
	}
	if port == "" || port == "80" || port == "443" && scheme == "https" {
		port = "" // 80 is what git-annex writes when nobody said a port
	} else {
		port = ":" + port
	}
	if c["requeststyle"] == "path" {
		return scheme + "://" + host + port + "/" + bucket + "/"
	}
	return scheme + "://" + bucket + "." + host + port + "/"
}

// isBase reports whether s is a URL that a name can be appended to.
func isBase(s string) bool {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("?#\\\"<>", r) }) {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

// ObjectURL appends a path of slashes, below a base URL, and escapes it. It refuses
// what is no URL of the web, and paths that would lead elsewhere.
func ObjectURL(base, path string) (string, bool) {
	if !isBase(base) {
		return "", false
	}
	return join(base, path)
}

// join appends the name of an object to a base URL. It refuses names with the
// elements "." and "..", which servers and proxies would resolve.
func join(base, name string) (string, bool) {
	if name == "" || hasDots(name) {
		return "", false
	}
	if !strings.HasSuffix(base, "/") {
		base += "/"
	}
	return base + escape(name), true
}

// escape percent-encodes all bytes but "/" and those that never need it.
func escape(name string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(name) {
		if isUnreserved(c) || c == '/' {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

func isUnreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// isVersion reports whether s is a version id, which S3 makes fit for a URL.
func isVersion(s string) bool {
	for _, c := range []byte(s) {
		if !isUnreserved(c) && strings.IndexByte("+/=%:!*,@$", c) < 0 {
			return false
		}
	}
	return s != "" && len(s) < maxVersion
}
