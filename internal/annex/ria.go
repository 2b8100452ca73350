package annex

import (
	"net/url"
	"path"
	"strings"
)

// RIADir returns the URL of the directory that a special remote of DataLad's type
// "ora" has in its RIA store: with the scheme http, https, file or ssh, and without
// any password. Objects lie below annex/objects there, and in archives/archive.7z. ok
// is false for other remotes, for what is not kept as it is, and for what is malformed
// or would lead elsewhere.
func (c RemoteConfig) RIADir() (dir *url.URL, ok bool) {
	if c.Type() != "external" || c["externaltype"] != "ora" && c["externaltype"] != "ria" || !c.plain() {
		return nil, false
	}
	in, isID := riaPath(c["archive-id"])
	store, isRIA := strings.CutPrefix(c["url"], "ria+")
	u, err := url.Parse(store)
	if !isID || !isRIA || err != nil || u.Opaque != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || hasDots(u.Path) || strings.ContainsAny(u.Path, "\x00\r\n") {
		return nil, false
	}
	switch u.Scheme {
	case "http", "https":
		if !isBase(store) {
			return nil, false
		}
	case "file":
		if u.Host != "" && u.Host != "localhost" || !path.IsAbs(u.Path) {
			return nil, false
		}
	case "ssh":
		if u.Host == "" {
			return nil, false
		}
	default:
		return nil, false
	}
	u.User = withoutPassword(u.User)
	return u.JoinPath(in), true
}

func withoutPassword(u *url.Userinfo) *url.Userinfo {
	if u == nil {
		return nil
	}
	return url.User(u.Username())
}

// IsIn reports whether the directory of a RIA store at this URL or path is the one of
// the remote's dataset, by its name.
func (c RemoteConfig) IsIn(at string) bool {
	in, ok := riaPath(c["archive-id"])
	_, isORA := c.RIADir()
	return ok && isORA && strings.HasSuffix(strings.TrimRight(at, "/"), "/"+in)
}

// riaPath returns where in a RIA store a dataset is: "abc/def-…".
func riaPath(id string) (string, bool) {
	const fewest, most = 4, 100
	if len(id) < fewest || len(id) > most {
		return "", false
	}
	for _, c := range []byte(id) {
		if !isUnreserved(c) || c == '.' || c == '~' {
			return "", false
		}
	}
	return id[:3] + "/" + id[3:], true
}

// hasDots reports whether a path has an element that leads elsewhere.
func hasDots(p string) bool {
	for e := range strings.SplitSeq(p, "/") {
		if e == "." || e == ".." {
			return true
		}
	}
	return false
}
