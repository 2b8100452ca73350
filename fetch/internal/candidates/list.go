package candidates

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Remote is a remote of the parent's repository.
type Remote struct{ Name, URL string }

// Parent is a dataset whose subdatasets are looked for.
type Parent struct {
	// Dir is its folder on this machine, or "".
	Dir string
	// Remotes are those that its version came from: first the one that its branch
	// follows.
	Remotes []Remote
	Config  Config
}

// Candidate is a place that a subdataset may be at. What it is called and costs are
// DataLad's words: users order candidates by them.
type Candidate struct {
	URL  string
	Name string // of the remote or template, "local", or "dl-url"
	Cost int    // the lowest comes first

	literal string // what the user wrote of it: the beginning of a template of theirs
}

// The costs.
const (
	costDataLadURL = 590
	costURL        = 600
	costScheme     = 610
	costPath       = 650
	costTemplate   = 700
	costLocal      = 900
)

// maxURL is the length in bytes of the longest URL that is looked at.
const maxURL = 8 << 10

var errLong = fmt.Errorf("it is longer than %d bytes", maxURL)

// Skipped is a candidate that comes to nothing: Name says whose.
type Skipped struct {
	Name string
	Why  error
}

// List returns the places that the subdataset m may be at, in the order in which
// DataLad tries them, each once; and what could not be made a place of.
func (p Parent) List(m Module) (list []Candidate, skipped []Skipped) {
	l := lister{properties: m.properties()}
	for i, r := range p.Remotes {
		again := slices.ContainsFunc(p.Remotes[:i], func(before Remote) bool { return before.Name == r.Name })
		if r.URL != "" && !again {
			l.properties["remoteurl-"+r.Name] = r.URL
			l.remote(r, m)
		}
	}
	l.templates(p)
	if m.URL() != "" {
		l.relative(costLocal, "local", p.Dir, m.URL())
		if last := len(l.list) - 1; last >= 0 && l.list[last].Cost == costLocal && l.list[last].URL == p.Dir+"/"+m.Path() {
			l.list = l.list[:last] // the place itself
		}
	}
	if url := m.get("datalad-url"); url != "" {
		l.add(Candidate{URL: url, Name: "dl-url", Cost: costDataLadURL})
	}
	slices.SortStableFunc(l.list, func(a, b Candidate) int { return cmp.Compare(a.Cost, b.Cost) })
	seen := make(map[string]bool)
	return slices.DeleteFunc(l.list, func(c Candidate) bool {
		was := seen[c.URL]
		seen[c.URL] = true
		return was
	}), l.skipped
}

type lister struct {
	properties map[string]string // of the subdataset, for templates
	list       []Candidate
	skipped    []Skipped
}

func (l *lister) add(c Candidate)             { l.list = append(l.list, c) }
func (l *lister) skip(name string, why error) { l.skipped = append(l.skipped, Skipped{name, why}) }

// remote adds what a remote of the parent makes likely: the subdataset at its path
// there, the URL of .gitmodules seen from there, and by the same protocol.
func (l *lister) remote(r Remote, m Module) {
	if len(r.URL) > maxURL || len(m.URL()) > maxURL || len(m.Path()) > maxURL {
		l.skip(r.Name, errLong)
		return
	}
	below := m.Path()
	if at, err := parseLocation(r.URL); err == nil && at.kind == isURL {
		below = quotePath(below)
	}
	l.relative(costPath, r.Name, r.URL, below)
	if m.URL() == "" {
		return
	}
	l.relative(costURL, r.Name, r.URL, m.URL())
	if url := inSchemeOf(r.URL, m.URL()); url != "" {
		l.add(Candidate{URL: url, Name: r.Name, Cost: costScheme})
	}
}

var errNowhere = errors.New("it is relative, and there is nothing that it is relative to")

// relative adds what stands in .gitmodules, if need be seen from base.
func (l *lister) relative(cost int, name, base, url string) {
	at, err := parseLocation(url)
	if len(url) > maxURL {
		err = errLong
	}
	if err != nil {
		l.skip(name, fmt.Errorf("%.100s: %w", Shown(url), err))
		return
	}
	if at.kind == isPath && !path.IsAbs(url) {
		if base == "" && cost == costLocal {
			return // the parent has no folder
		}
		from, err := parseLocation(base)
		if base == "" {
			err = errNowhere
		}
		if err != nil {
			l.skip(name, fmt.Errorf("%.100s: %w", Shown(url), err))
			return
		}
		url = from.join(url)
	}
	l.add(Candidate{URL: url, Name: name, Cost: cost})
}

// templates adds what the configuration makes of the subdataset's properties.
func (l *lister) templates(p Parent) {
	c := p.Config
	for _, key := range c.order {
		name, is := strings.CutPrefix(key, templatePrefix)
		if !is {
			continue
		}
		cost, short := parseName(name)
		s := c.of[key]
		if len(s.values) > 1 || s.values[0].NoValue {
			l.skip(short, errors.New("the template has several values, or none"))
			continue
		}
		url, literal, err := fill(s.values[0].Value, l.properties)
		if err != nil {
			l.skip(short, fmt.Errorf("the template cannot be filled in: %w", err))
			continue
		}
		if !s.users {
			literal = ""
			if p.betrays(s.values[0].Value, url) {
				l.skip(short, errors.New("it would tell the secret in a remote's URL to another server"))
				continue
			}
		}
		l.add(Candidate{URL: url, Name: short, Cost: cost, literal: literal})
	}
	if c.tooMany {
		l.skip("templates", fmt.Errorf("datasets have more than %d of them", maxTemplates))
	}
}

// betrays reports whether a dataset's template that uses the URL of a remote with a
// user or password in it leads elsewhere than to that remote's server.
func (p Parent) betrays(template, url string) bool {
	to, err := parseLocation(url)
	for _, r := range p.Remotes {
		from, bad := parseLocation(r.URL)
		secret := bad != nil || from.password != "" || from.user != "" && from.kind == isURL && from.scheme != "ssh"
		if secret && strings.Contains(template, "remoteurl-"+r.Name) && (err != nil || bad != nil || to.server() != from.server()) {
			return true
		}
	}
	return false
}

var withCost = regexp.MustCompile(`^(\d+)(.*)$`)

// parseName reads the cost that a template's name begins with, if it has three
// digits.
func parseName(name string) (cost int, short string) {
	m := withCost.FindStringSubmatch(name)
	if m == nil || len(m[1]) != 3 {
		return costTemplate, name
	}
	cost, _ = strconv.Atoi(m[1])
	return cost, m[2]
}
