package subdatasets

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/candidates"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/program"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
)

// Options say what is known of a parent, and how its subdatasets are had. All but
// Within and AllowAddresses are needed; a file that the version does not have is nil.
type Options struct {
	Gitmodules []byte      // the version's .gitmodules
	Config     []byte      // the version's .datalad/config
	Within     *Subdataset // what the parent itself is; nil when the user named it

	Dir            string   // the hidden clones are in it, by their specs' names
	Open           Open     // makes them
	Guard          *Guard   // is shared by all sets of a process
	AllowAddresses []string // beyond the public ones
	Clone          fetch.CloneOptions
}

// Open makes the hidden clone of a dataset ready at a version, as
// [fetch.Hidden.Clone] does.
type Open func(ctx context.Context, spec fetch.Spec, version string, o fetch.CloneOptions) (*fetch.Clone, error)

// Set is the subdatasets of one version of a dataset.
type Set struct {
	o         Options
	parent    candidates.Parent
	records   map[string]candidates.Module
	reach     candidates.Reach
	workTree  string // the parent's, where it is one of this machine; or ""
	gitsProxy bool   // the user's configuration of git names a proxy
}

// Subdataset is one that is there.
type Subdataset struct {
	Clone *fetch.Clone
	// From is the place that it was had from.
	From Place

	config candidates.Config
	reach  candidates.Reach
}

// Place is somewhere that a subdataset may be: a URL without secrets, harmless to show,
// with the name and the cost that DataLad gives it. Why says why it was not had there.
type Place struct {
	URL  string
	Name string
	Cost int
	Why  string
}

// New returns the subdatasets of the version that parent is. It asks git for the
// user's settings, and no network. Errors are an [advice.Error], or ctx's.
func New(ctx context.Context, parent *fetch.Clone, o Options) (*Set, error) {
	s := &Set{o: o}
	modules, err := candidates.ParseFile(o.Gitmodules)
	if err != nil {
		return nil, &advice.Error{Kind: advice.Unreachable, Reason: advice.Damaged, What: "the subdatasets of " + parent.Spec.String() + " cannot be found", Why: "its .gitmodules: " + err.Error(), Do: []string{"tell the dataset's publisher"}}
	}
	s.records = candidates.Modules(modules)
	layers := candidates.Layers{Environment: o.Clone.Env}
	if layers.Branch, err = candidates.ParseFile(o.Config); err != nil {
		layers.Branch = nil // it is one of several places
	}
	if layers.User, err = s.usersSettings(ctx); err != nil {
		return nil, err
	}
	s.parent.Remotes = []candidates.Remote{{Name: "origin", URL: parent.Spec.URL}}
	if o.Within != nil {
		layers.Inherited, s.reach = o.Within.config, o.Within.reach
	} else {
		s.reach = candidates.ReachOf(parent.Spec.URL)
	}
	if parent.Local() {
		layers.Repository = s.onThisMachine(parent.Spec.URL)
	}
	if store := parent.Spec.Store; store != "" {
		// Datasets of a RIA store have theirs there too. Who named the store?
		there := candidates.Entry{Key: "datalad.get.subdataset-source-candidate-200origin", Value: store + "#{id}"}
		if o.Within == nil {
			layers.Parent, s.reach = []candidates.Entry{there}, s.reach.And(candidates.ReachOf(store))
		} else {
			layers.Repository = append(layers.Repository, there)
		}
	}
	s.parent.Config = layers.Merge()
	return s, nil
}

// With returns the set with other clones to open.
func (s *Set) With(open Open) *Set {
	other := *s
	other.o.Open = open
	return &other
}

// usersSettings are git's settings of the system, of the user, and of git's
// environment.
func (s *Set) usersSettings(ctx context.Context) ([]candidates.Entry, error) {
	if s.o.Clone.Git == "" {
		return nil, nil
	}
	git := program.Git{Path: s.o.Clone.Git, Env: s.o.Clone.Env}
	out, err := git.Run(ctx, nil, "--git-dir=/dev/null", "config", "-z", "--list")
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, advice.New(advice.Failed, "git's settings cannot be read", errors.New(program.Said(err)), "look at them with: git config --list")
	}
	all := candidates.ParseList(out)
	for _, e := range all {
		s.gitsProxy = s.gitsProxy || e.Key == "http.proxy" && e.Value != ""
	}
	return all, nil
}

// HasRecord reports whether .gitmodules knows of a subdataset at a path, and whether
// it is to be left out where a whole tree is brought.
func (s *Set) HasRecord(path string) (has, isSkipped bool) {
	m, has := s.records[path]
	return has, m.IsSkipped()
}

// attempt is a URL that git is asked for.
type attempt struct {
	place Place
	url   string // with its secrets
	store string // the RIA store that it is in, or ""
	via   candidates.Via
	reach candidates.Reach // of the subdataset's own ones
}

// attempts returns the URLs to ask git for, best first, and the places that are not
// asked at all.
func (s *Set) attempts(path string) (list []attempt, refused []Place) {
	m, known := s.records[path]
	if !known {
		m = candidates.Record(path)
	}
	found, skipped := s.parent.List(m)
	if s.workTree != "" { // what is there needs no place
		found = append([]candidates.Candidate{{URL: filepath.Join(s.workTree, filepath.FromSlash(path)), Name: "installed"}}, found...)
	}
	for _, c := range found {
		place := Place{URL: shown(c.URL), Name: harmless(c.Name), Cost: c.Cost}
		if r, own, err := s.parent.Config.Resolve(c); err != nil {
			place.Why = harmless(err.Error())
		} else if reach := s.reach.And(own); len(list) >= maxAttempts {
			place.Why = fmt.Sprintf("not more than %d places are tried", maxAttempts)
		} else if via, err := reach.Check(r); err != nil {
			place.Why = harmless(err.Error())
		} else {
			for _, url := range r.URLs() {
				place.URL = shown(url)
				list = append(list, attempt{place, url, r.Store, via, reach})
			}
			continue
		}
		refused = append(refused, place)
	}
	for _, c := range skipped {
		refused = append(refused, Place{Name: harmless(c.Name), Why: harmless(c.Why.Error())})
	}
	return list, refused
}

// maxAttempts is how many URLs of a subdataset are tried: a dataset can make up many.
const maxAttempts = 24

// Places returns where the subdataset at a path of the parent is looked for, in this
// order, and then where it is not, and why. It asks nobody.
func (s *Set) Places(path string) (all []Place) {
	list, refused := s.attempts(path)
	for _, a := range list {
		all = append(all, a.place)
	}
	return append(all, refused...)
}

// spec names the dataset at a URL: the same for the same repository, as far as that
// can be known.
func (a attempt) spec() (spec fetch.Spec, err error) {
	if a.via == candidates.ViaDir {
		if err := checkLinks(a.reach, a.url); err != nil {
			return fetch.Spec{}, err
		}
	} else if u, err := url.Parse(a.url); err == nil && strings.EqualFold(u.Host, "github.com") && u.Scheme == "https" && u.User == nil {
		// The same repository is written in several ways there.
		return fetch.ParseSpec("https://github.com/"+strings.TrimSuffix(strings.Trim(u.EscapedPath(), "/"), ".git")+".git", "")
	}
	spec, err = fetch.ParseSpec(a.url, "")
	if err == nil {
		spec.Store = a.store
	}
	return spec, err
}
