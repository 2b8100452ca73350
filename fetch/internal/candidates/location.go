package candidates

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// kind is what DataLad takes a text for that says where something is.
type kind int

const (
	isPath      kind = iota // of this machine, or relative
	isURL                   // scheme:...
	isSSH                   // [user@]host:path
	isDataLad               // ///path
	isTransport             // transport::address
)

// location is such a text in its parts. path is without escapes; what a kind does
// not have is "".
type location struct {
	kind                         kind
	text                         string
	path                         string
	scheme, user, password, host string
	port, query, fragment        string
}

var (
	scheme    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)
	sshParts  = regexp.MustCompile(`^(?:(\S*)@)?([^#/\\:]+)(?::(.*))?$`)
	dataLad   = regexp.MustCompile(`^//([^\s/]*)/(.*)$`)
	transport = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+.-]*::`)
	bracketed = regexp.MustCompile(`^\[(.*)\]:(\d+)`)
	drive     = regexp.MustCompile(`^[^/\\]:.`)
)

// parseLocation tells apart what DataLad tells apart. The error is about a text that
// it takes for something that it then is not.
func parseLocation(text string) (location, error) {
	if drive.MatchString(text) {
		return location{kind: isPath, text: text, path: text}, nil // of Windows
	}
	u, err := splitURL(text)
	if err != nil {
		return u, err
	}
	before, _, colon := cutUnescaped(text)
	switch {
	case u.scheme != "" && u.scheme != "file" && u.host == "" && strings.HasPrefix(u.path, ":"):
		if !transport.MatchString(text) {
			return u, errors.New("it is no transport of git")
		}
		return location{kind: isTransport, text: text}, nil
	case u.scheme != "" && u.scheme != "file" && u.host == "" && !strings.Contains(u.scheme, "+"):
		return splitSSH(text)
	case u.scheme != "":
		u.path = unquote(u.path)
		return u, nil
	case u.host != "":
		return splitDataLad(text)
	case !strings.ContainsAny(before, `/\#`) && (colon || strings.Contains(u.path, "@")):
		return splitSSH(text)
	case strings.HasPrefix(text, "//"):
		return splitDataLad(text)
	}
	return location{kind: isPath, text: text, path: text}, nil
}

// cutUnescaped cuts at the first colon without a backslash before it.
func cutUnescaped(s string) (before, after string, found bool) {
	for i := range len(s) {
		if s[i] == ':' && (i == 0 || s[i-1] != '\\') {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// splitURL takes a text apart as a URL, whatever it is.
func splitURL(text string) (location, error) {
	u := location{kind: isURL, text: text}
	rest := strings.TrimLeft(text, " ")
	if m := scheme.FindString(rest); m != "" {
		u.scheme, rest = strings.ToLower(m[:len(m)-1]), rest[len(m):]
	}
	authority := ""
	if after, has := strings.CutPrefix(rest, "//"); has {
		end := strings.IndexAny(after, "/?#")
		if end < 0 {
			end = len(after)
		}
		authority, rest = after[:end], after[end:]
	}
	rest, u.fragment, _ = strings.Cut(rest, "#")
	rest, u.query, _ = strings.Cut(rest, "?")
	u.path = rest
	if slices.Contains([]string{"", "http", "https", "ftp", "imap", "sftp"}, u.scheme) { // parameters are left out
		last := strings.LastIndexByte(rest, '/') + 1
		name, _, _ := strings.Cut(rest[last:], ";")
		u.path = rest[:last] + name
	}
	return u, u.splitAuthority(authority)
}

// splitAuthority reads user:password@host:port.
func (u *location) splitAuthority(authority string) error {
	if strings.Contains(authority, "[") != strings.Contains(authority, "]") {
		return errors.New("its address has one bracket only")
	}
	host := authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		u.user, u.password, _ = strings.Cut(authority[:at], ":")
		host = authority[at+1:]
	}
	if strings.Count(host, ":") >= 2 { // IPv6
		u.host = host
		if m := bracketed.FindStringSubmatch(host); m != nil {
			u.host, u.port = m[1], strings.TrimLeft(m[2], "0")
		}
		return nil
	}
	if open := strings.IndexByte(host, '['); open >= 0 {
		inner, after, _ := strings.Cut(host[open+1:], "]")
		_, port, _ := strings.Cut(after, ":")
		host = inner + ":" + port
	}
	host, u.port, _ = strings.Cut(host, ":")
	u.host = strings.ToLower(host)
	if u.port != "" {
		number, err := strconv.ParseUint(u.port, 10, 16)
		if err != nil {
			return errors.New("its port is no number")
		}
		if u.port = ""; number != 0 {
			u.port = strconv.FormatUint(number, 10)
		}
	}
	return nil
}

func splitSSH(text string) (location, error) {
	m := sshParts.FindStringSubmatch(text)
	if m == nil {
		return location{}, errors.New("it is no address of an SSH server")
	}
	p := m[3]
	if strings.HasPrefix(p, "//") {
		p = "/" + strings.TrimLeft(p, "/")
	}
	const special = "\\#&;`|*?~<>^()[]{}$'\" "
	for i := len(special) - 1; i >= 0; i-- {
		p = strings.ReplaceAll(p, `\`+special[i:i+1], special[i:i+1])
	}
	return location{kind: isSSH, text: text, user: m[1], host: m[2], path: p}, nil
}

func splitDataLad(text string) (location, error) {
	m := dataLad.FindStringSubmatch(text)
	if m == nil {
		return location{}, errors.New(`it is no place at datasets.datalad.org, as in "///openneuro"`)
	}
	return location{kind: isDataLad, text: text, host: m[1], path: m[2]}, nil
}

// join returns the place at a path that is relative to this one. What is a
// repository within a work tree (/.git) has its subdatasets in the work tree, with
// repositories of the same kind.
func (l location) join(relative string) string {
	base, git := strings.CutSuffix(l.path, "/.git")
	parts := base + "/" + relative
	if base == "" || strings.HasSuffix(base, "/") {
		parts = base + relative
	}
	if strings.HasPrefix(relative, "/") {
		parts = relative
	}
	if git {
		parts += "/.git"
	}
	l.path = normalise(parts)
	return l.String()
}

// normalise is POSIX's: two slashes at the beginning stay two.
func normalise(p string) string {
	if strings.HasPrefix(p, "//") && !strings.HasPrefix(p, "///") {
		return "/" + path.Clean(p)
	}
	return path.Clean(p)
}

// String makes a text of the parts, of which path may have changed.
func (l location) String() string {
	switch l.kind {
	case isPath:
		return l.path
	case isTransport:
		return l.text
	case isDataLad:
		return "//" + l.host + "/" + l.path
	case isSSH:
		text := l.host
		if l.user != "" {
			text = l.user + "@" + text
		}
		if l.path != "" {
			text += ":" + l.path
		}
		return text
	}
	return l.url()
}

func (l location) url() string {
	authority := l.user
	if l.password != "" {
		authority += ":" + l.password
	}
	if authority != "" {
		authority += "@"
	}
	if strings.Contains(l.host, ":") && l.port != "" {
		authority += "[" + l.host + "]"
	} else {
		authority += l.host
	}
	if l.port != "" {
		authority += ":" + l.port
	}
	text := quotePath(l.path)
	hierarchical := slices.Contains([]string{"file", "git+ssh", "svn+ssh"}, l.scheme) // others have a host
	if authority != "" || hierarchical && !strings.HasPrefix(text, "//") {
		if text != "" && !strings.HasPrefix(text, "/") {
			text = "/" + text
		}
		text = "//" + authority + text
	}
	text = l.scheme + ":" + text
	if l.query != "" {
		text += "?" + l.query
	}
	if l.fragment != "" {
		text += "#" + l.fragment
	}
	return text
}

// quotePath writes a path as a URL has it: all but letters, digits and _.-~/ is
// escaped.
func quotePath(p string) string {
	var b strings.Builder
	for i := range len(p) {
		if c := p[i]; isAlpha(c) || isDigit(c) || strings.IndexByte("_.-~/", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// unquote is its reverse; what is no escape stays.
func unquote(p string) string {
	if !strings.Contains(p, "%") {
		return p
	}
	var b []byte
	for i := 0; i < len(p); i++ {
		if p[i] == '%' && i+2 < len(p) {
			if n, err := strconv.ParseUint(p[i+1:i+3], 16, 8); err == nil {
				b, i = append(b, byte(n)), i+2
				continue
			}
		}
		b = append(b, p[i])
	}
	if !utf8.Valid(b) {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return string(b)
}
