package candidates

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// DataLadServer is where ///... leads.
const DataLadServer = "https://datasets.datalad.org/"

// Repository is where git finds what a URL of DataLad stands for.
type Repository struct {
	// URL is for git: a URL, host:path, or a path of this machine.
	URL string
	// MaybeBelow says that the repository may as well be at URL/.git, within a work
	// tree that the server has. Only the server knows.
	MaybeBelow bool

	// Of a RIA URL: that of the store, the name of the dataset there (its id, or an
	// alias), and the branch or tag that was asked for. Or they are "".
	Store, Name, Version string
}

// URLs are those to ask git for, one after the other.
func (r Repository) URLs() []string {
	if r.MaybeBelow {
		return []string{r.URL, strings.TrimRight(r.URL, "/") + "/.git"}
	}
	return []string{r.URL}
}

var (
	datasetID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	alias     = regexp.MustCompile(`^[^/\\\x00-\x1f\x7f]+$`)
)

// IsID reports whether text is an id as DataLad gives them to datasets.
func IsID(text string) bool { return datasetID.MatchString(text) }

// Resolve understands the URLs that DataLad knows. It asks nobody, and does not judge
// where they lead. ria+SCHEME://STORE#ID, with #~ALIAS for a name and @VERSION for a
// branch or tag, is a dataset in a RIA store; ///PATH one at datasets.datalad.org.
func Resolve(text string) (Repository, error) {
	at, err := parseLocation(text)
	switch {
	case err != nil:
		return Repository{}, err
	case at.kind == isDataLad && at.host != "":
		return Repository{}, errors.New(`DataLad knows places with three slashes only, as in "///openneuro"`)
	case at.kind == isDataLad:
		// What it has are work trees.
		below := strings.TrimSuffix("/"+quotePath(strings.Trim(at.path, "/")), "/.git")
		return Repository{URL: strings.TrimRight(DataLadServer, "/") + strings.TrimRight(below, "/") + "/.git"}, nil
	case at.kind == isURL && strings.HasPrefix(at.scheme, "ria+"):
		return ria(at)
	case at.kind == isURL && at.scheme == "file":
		return fileRepository(at, text)
	}
	web := at.kind == isURL && (at.scheme == "http" || at.scheme == "https")
	below := web && at.host != gitHub && !strings.HasSuffix(strings.TrimRight(text, "/"), "/.git")
	return Repository{URL: text, MaybeBelow: below}, nil
}

// ria reads STORE#NAME@VERSION. A name must be one that DataLad gives: it becomes a
// part of a path.
func ria(at location) (Repository, error) {
	name, version, _ := strings.Cut(at.fragment, "@")
	below := ""
	switch short, named := strings.CutPrefix(name, "~"); {
	case IsID(name):
		below = name[:3] + "/" + name[3:]
	case named && alias.MatchString(short) && short != "." && short != "..":
		name, below = short, "alias/"+short
	default:
		return Repository{}, errors.New("a RIA URL ends with the id of a dataset (#ID) or a name of it (#~NAME), and may name a version after that (@VERSION)")
	}
	store, _, _ := strings.Cut(at.text, "#")
	r := Repository{Store: store, Name: name, Version: version}
	at.fragment, at.scheme = "", strings.TrimPrefix(at.scheme, "ria+")
	switch at.scheme {
	case "file", "ssh", "http", "https":
	default:
		return Repository{}, fmt.Errorf("a RIA store is reached by file, ssh, http or https, not by %.20q", at.scheme)
	}
	if at.path != "" && !strings.HasSuffix(at.path, "/") {
		at.path += "/"
	}
	at.path += below
	if at.scheme == "file" {
		file, err := fileRepository(at, at.path)
		r.URL = file.URL
		return r, err
	}
	if r.URL = at.url(); at.host == "" {
		return Repository{}, errors.New("the URL has no host")
	}
	// Its repositories are bare, and DataLad looks below all the same.
	r.MaybeBelow = at.scheme != "ssh"
	return r, nil
}

func fileRepository(at location, text string) (Repository, error) {
	if at.host != "" && at.host != "localhost" || !strings.HasPrefix(at.path, "/") || at.query != "" || at.fragment != "" {
		return Repository{}, fmt.Errorf("%.100q: a file URL has an absolute path of this machine, as in file:///data/ds000001", text)
	}
	return Repository{URL: at.path}, nil
}

const gitHub = "github.com"

var (
	atGitHub   = regexp.MustCompile(`^https?://github\.com/([^/]+)/(.*)$`)
	separators = regexp.MustCompile(`[/\\]+(.)`)
	blanks     = regexp.MustCompile(`\s+|(?:%2520)+|(?:%20)+`)
)

// gitHubName makes of a path at GitHub, which has owners and names only, the name
// that DataLad publishes the dataset at such a path by: a/b/c is a/b-c.
func gitHubName(text string) string {
	m := atGitHub.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	name := separators.ReplaceAllString(m[2], "-$1")
	return "https://github.com/" + blanks.ReplaceAllString(m[1]+"/"+name, "_")
}

// ownSubstitution is the setting by which users replace the rule for GitHub.
const ownSubstitution = "datalad.clone.url-substitute.github"

// Resolve is [Resolve] of what the configuration makes of the candidate's URL: names
// at GitHub, and the user's own rewritten URLs (insteadOf). reach is what the user
// wrote of it.
func (c Config) Resolve(from Candidate) (r Repository, reach Reach, err error) {
	text := from.URL
	if len(c.of[ownSubstitution].values) == 0 {
		text = gitHubName(text)
	}
	text, base := c.rewrite(text)
	reach = written(from.literal, from.URL)
	if base != "" {
		reach = written(base, text)
	}
	r, err = Resolve(text)
	return r, reach, err
}

// Shown returns a URL without what may be a secret in it, for people to see.
func Shown(text string) string {
	before, after, is := strings.Cut(text, "://")
	if !is {
		return text
	}
	end := strings.IndexAny(after, "/?#")
	if end < 0 {
		end = len(after)
	}
	at := strings.LastIndexByte(after[:end], '@')
	if at < 0 {
		return text
	}
	user, _, _ := strings.Cut(after[:at], ":")
	if !strings.HasSuffix(before, "ssh") {
		user = "..." // a token, more often than not
	}
	return before + "://" + user + after[at:]
}

// Conceal takes the secret of a URL out of what was said about it.
func Conceal(said, text string) string {
	said = strings.ReplaceAll(said, text, Shown(text))
	_, after, _ := strings.Cut(text, "://")
	end := strings.IndexAny(after, "/?#")
	if end < 0 {
		end = len(after)
	}
	if at := strings.LastIndexByte(after[:end], '@'); at > 0 {
		user, password, _ := strings.Cut(after[:at], ":")
		for _, secret := range []string{after[:at], password, user} {
			if len(secret) < 3 || secret == user && strings.HasPrefix(text, "ssh") {
				continue
			}
			said = strings.ReplaceAll(said, secret, "...")
			if plain, err := url.PathUnescape(secret); err == nil && len(plain) >= 3 {
				said = strings.ReplaceAll(said, plain, "...")
			}
		}
	}
	return said
}
