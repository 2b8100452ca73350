package candidates

import (
	"regexp"
	"slices"
	"strings"
)

// forge is a kind of server of which a repository's URLs by other protocols can be
// told from one of them.
type forge struct {
	domains, others []string // those of it, or, if there are none, those not of it
	forms           []form   // in this order
}

type form struct {
	protocol string
	reads    *regexp.Regexp
	writes   func(repository) string
}

// repository is what a URL of a forge says. port is as it was written.
type repository struct{ domain, port, owner, groups, name, tail string }

func (r repository) bare() string {
	if strings.HasSuffix(r.name, ".git") {
		return r.name
	}
	return r.name + ".git"
}

func (r repository) path() string {
	if r.groups != "" {
		return r.owner + "/" + r.groups + "/" + r.bare()
	}
	return r.owner + "/" + r.bare()
}

const (
	viaHTTPS  = `^(?i:(?:git\+)?https)://`
	viaSSH    = `^(?i:(?:(?:git\+)?ssh)?)(?:://)?`
	viaGit    = `^(?i:git)://`
	token     = `(?:[^/]+?:[^/]+?@)?`
	gitHubEnd = `(?P<name>[^/]+?)(?i:\.git)?/?(?P<tail>(?i:/blob/|/tree/).+)?$`
	gitLabEnd = `(?P<groups>.*?)?/?(?P<name>[^/]+?)(?i:\.git)?/?(?P<tail>(?i:/blob/|/-/blob/|/-/tree/).+)?$`
)

// forges are tried in this order. The last but one is what most servers are like:
// owner, groups and name. The last takes what has another form.
var forges = []forge{
	{domains: []string{"github.com", "gist.github.com"}, forms: []form{
		{"https", regexp.MustCompile(viaHTTPS + token + `(?P<domain>[^/]+?)/(?P<owner>[^/]+?)/` + gitHubEnd),
			func(r repository) string { return "https://" + r.domain + "/" + r.path() + r.tail }},
		{"ssh", regexp.MustCompile(viaSSH + `(?i:git)@(?P<domain>.+?)[:/](?P<owner>[^/]+)/` + gitHubEnd),
			func(r repository) string { return "git@" + r.domain + ":" + r.path() + r.tail }},
		{"git", regexp.MustCompile(viaGit + `(?P<domain>.+?)/(?P<owner>[^/]+)/` + gitHubEnd),
			func(r repository) string { return "git://" + r.domain + "/" + r.path() + r.tail }},
	}},
	{domains: []string{"bitbucket.org", "bitbucket.com"}, forms: []form{
		{"https", regexp.MustCompile(viaHTTPS + `(?:.+@)?(?P<domain>.+?)/(?P<owner>.+)/(?P<name>.+?)(?i:\.git)?$`),
			func(r repository) string { return "https://" + r.owner + "@" + r.domain + "/" + r.path() }},
		{"ssh", regexp.MustCompile(viaSSH + `(?i:git)@(?P<domain>.+?):(?P<owner>.+)/(?P<name>.+?)(?i:\.git)?$`),
			func(r repository) string { return "git@" + r.domain + ":" + r.path() }},
	}},
	{others: []string{"github.com", "gist.github.com"}, forms: []form{
		{"https", regexp.MustCompile(viaHTTPS + token + `(?P<domain>[^:/]+)(?P<port>:[0-9]+)?/(?P<owner>[^/]+?)/` + gitLabEnd),
			func(r repository) string { return "https://" + r.domain + "/" + r.path() + r.tail }},
		{"ssh", regexp.MustCompile(viaSSH + `.+?@(?P<domain>[^:/]+):?(?P<port>[0-9]+)?/?(?P<owner>[^/]+)/` + gitLabEnd),
			func(r repository) string {
				if r.port != "" {
					r.port += "/"
				}
				return "git@" + r.domain + ":" + r.port + r.path() + r.tail
			}},
		{"git", regexp.MustCompile(viaGit + `(?P<domain>[^:/]+):?(?P<port>[0-9]+)?/(?P<owner>[^/]+?)/` + gitLabEnd),
			func(r repository) string { return "git://" + r.domain + r.port + "/" + r.path() + r.tail }},
	}},
	{others: []string{"github.com", "gist.github.com"}, forms: []form{
		{"ssh", regexp.MustCompile(`^.+@(?P<domain>[^/]+?):(?P<name>.+)`),
			func(r repository) string { return "git@" + r.domain + ":" + r.bare() }},
		{"http", regexp.MustCompile(`^(?i:http)://(?P<domain>[^/]+?)/(?P<name>.+)`),
			func(r repository) string { return "http://" + r.domain + "/" + r.bare() }},
		{"https", regexp.MustCompile(`^(?i:https)://(?P<domain>[^/]+?)/(?P<name>.+)`),
			func(r repository) string { return "https://" + r.domain + "/" + r.bare() }},
		{"git", regexp.MustCompile(viaGit + `(?P<domain>[^/]+?)/(?P<name>.+)`),
			func(r repository) string { return "git://" + r.domain + "/" + r.bare() }},
	}},
}

// readURL returns what a URL says to the first forge that knows it.
func readURL(url string) (r repository, f *forge, protocol string) {
	for i := range forges {
		f := &forges[i]
		for _, form := range f.forms {
			m := form.reads.FindStringSubmatch(url)
			if m == nil {
				continue
			}
			part := func(name string) string {
				if at := form.reads.SubexpIndex(name); at >= 0 {
					return m[at]
				}
				return ""
			}
			r := repository{part("domain"), part("port"), part("owner"), part("groups"), part("name"), part("tail")}
			if f.domains != nil && !slices.Contains(f.domains, r.domain) || slices.Contains(f.others, r.domain) {
				continue
			}
			return r, f, form.protocol
		}
	}
	return repository{}, nil, ""
}

// inSchemeOf returns url by the protocol that like goes by, or "" where it goes by it
// already, where that cannot be told, and where the protocol is less safe.
func inSchemeOf(like, url string) string {
	_, f, to := readURL(like)
	r, g, from := readURL(url)
	if f == nil || g == nil || from == to || to == "http" {
		return ""
	}
	for _, form := range g.forms {
		if form.protocol == to {
			return form.writes(r)
		}
	}
	return ""
}
