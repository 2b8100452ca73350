package candidates

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/plain"
)

// Reach is what the user named, by which it is decided what a dataset's word about
// its subdatasets is good for. The zero value is the public web.
//
//   - Directories of this machine: that of the dataset which was named, or the RIA
//     store of it. A repository is read only below one of them, also after links.
//   - Servers: those of the URL that was named. They are asked wherever they are, and
//     by SSH. All others are asked by http and https, at public addresses.
type Reach struct {
	dirs    []string // absolute, clean, without an end of "/.git"
	servers []string // scheme://user@host:port; a user for SSH only
}

// Via says how a repository is asked for.
type Via int

// The ways.
const (
	ViaPublic Via = iota // a web server with a public address
	ViaNamed             // a server that the user named
	ViaDir               // this machine
)

// ReachOf returns what somebody who names a URL for git, a RIA URL or a path wants to
// be asked.
func ReachOf(text string) (r Reach) {
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "ria+"), "#")
	at, err := parseLocation(text)
	switch {
	case err != nil:
	case at.kind == isPath || at.kind == isURL && at.scheme == "file":
		dir := strings.TrimSuffix(path.Clean(at.path), "/.git")
		if path.IsAbs(dir) && dir != "/" { // below that is everything
			r.dirs = []string{dir}
		}
	case at.kind == isDataLad:
		return ReachOf(DataLadServer)
	default:
		if server := at.server(); server != "" {
			r.servers = []string{server}
		}
	}
	return r
}

// written is what the user named by the beginning of a URL that somebody else's words
// may follow.
func written(literal, whole string) Reach {
	if literal == whole {
		return ReachOf(whole)
	}
	if store, _, is := strings.Cut(literal, "#"); is && strings.HasPrefix(literal, "ria+") {
		return ReachOf(store)
	}
	if at, err := parseLocation(literal); err == nil && (at.kind == isPath || at.scheme == "file") {
		literal = literal[:strings.LastIndexByte(literal, '/')+1]
	}
	return ReachOf(literal) // if the rest makes another server of it, that is not named
}

// And is both together.
func (r Reach) And(o Reach) Reach {
	return Reach{slices.Concat(r.dirs, o.dirs), slices.Concat(r.servers, o.servers)}
}

// server names the server of a location, or is "".
func (l location) server() string {
	port := map[string]string{"http": "80", "https": "443", "ssh": "22", "git": "9418"}
	switch {
	case l.kind == isSSH:
		return "ssh://" + l.user + "@" + l.host + ":22"
	case l.kind != isURL || l.host == "" || port[l.scheme] == "":
		return ""
	case l.port != "":
		port[l.scheme] = l.port
	}
	if l.scheme == "ssh" {
		return "ssh://" + l.user + "@" + l.host + ":" + port["ssh"]
	}
	return l.scheme + "://" + l.host + ":" + port[l.scheme]
}

var (
	// hostName is one that can stand in a command.
	hostName = regexp.MustCompile(`^(\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*|[\pL\pN_][\pL\pN_.-]*)$`)
	userName = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9_.+-]*)?$`)
)

// Check says how the repository may be asked for, or why it may not. It looks at the
// words only: at what is below a directory must be looked again when links were
// followed, and at addresses when names were resolved.
func (r Reach) Check(to Repository) (Via, error) {
	text := to.URL
	switch {
	case len(text) > maxURL:
		return 0, errLong
	case text == "":
		return 0, errors.New("it is empty")
	case plain.Text(text) != text:
		return 0, errors.New("it has characters that do not show")
	case strings.HasPrefix(text, "-"):
		return 0, errors.New("it would be an option of git")
	}
	at, err := parseLocation(text)
	if err != nil {
		return 0, err
	}
	switch at.kind {
	case isTransport:
		return 0, errors.New("a transport that runs a program is never used")
	case isPath:
		return ViaDir, r.checkDir(at.path)
	case isSSH:
		at.scheme = "ssh"
	}
	return r.checkServer(at)
}

func (r Reach) checkServer(at location) (Via, error) {
	server := at.server()
	isNamed := slices.Contains(r.servers, server)
	if server == "" {
		return 0, fmt.Errorf("repositories are had by https, http, ssh, git and file, not by %.20q", at.scheme)
	}
	if !hostName.MatchString(at.host) {
		return 0, fmt.Errorf("%.80q is no name of a server", at.host)
	}
	if strings.HasPrefix(strings.TrimLeft(at.path, "/"), "-") {
		return 0, errors.New("its path begins with a dash")
	}
	if at.host == gitHub || at.host == "www."+gitHub {
		if parts := strings.Split(strings.Trim(at.path, "/"), "/"); len(parts) != 2 {
			return 0, errors.New("GitHub has repositories as OWNER/NAME only")
		}
	}
	switch at.scheme {
	case "http", "https":
		if isNamed {
			return ViaNamed, nil
		}
		return ViaPublic, nil
	case "ssh":
		if !userName.MatchString(at.user) {
			return 0, fmt.Errorf("%.80q is no name of a user", at.user)
		}
	}
	if !isNamed {
		return 0, fmt.Errorf("%s is used only for servers that you named yourself", at.scheme)
	}
	return ViaNamed, nil
}

func (r Reach) checkDir(dir string) error {
	switch {
	case drive.MatchString(dir):
		return errors.New("it is a path of Windows, or has a host of one letter")
	case !path.IsAbs(dir):
		return errNowhere
	case r.Below(dir) == "":
		return errOutside
	}
	return nil
}

var errOutside = errors.New("it is a directory of this machine outside of the dataset that you named")

// Below returns the directory that the user named and dir is below of, or is, or "".
func (r Reach) Below(dir string) string {
	dir = path.Clean(dir)
	for _, d := range r.dirs {
		if dir == d || strings.HasPrefix(dir, d+"/") {
			return d
		}
	}
	return ""
}
