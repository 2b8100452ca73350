package subdatasets

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/candidates"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/remedy"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/web"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/plain"
)

// findTime is for how long places are tried: after it no other one is begun. Each has
// git's own bounds.
const findTime = 5 * time.Minute

// NotHad is why a subdataset could not be had: every place, and why it was not there.
// It is in the [advice.Error] of [Set.Clone].
type NotHad struct{ Places []Place }

func (e *NotHad) Error() string {
	if len(e.Places) == 0 {
		return "nobody says where it is"
	}
	var all []string
	for _, p := range e.Places {
		who := p.URL
		if who == "" {
			who = p.Name
		}
		all = append(all, who+": "+p.Why)
	}
	return plain.Short(strings.Join(all, "; "), maxTold)
}

var fullID = regexp.MustCompile(`^[0-9a-f]{40}$`)

// Clone returns the subdataset at a path of the parent, at the commit that the parent
// names. A clone that is there already is taken, if it is of one of the places that
// are allowed; else they are asked, best first, for the commit itself, which may be on
// no branch. It ends at once when ctx does. Errors are an [advice.Error], with a
// [NotHad] in it where places were looked at, or ctx's.
func (s *Set) Clone(ctx context.Context, path string, commit gitstore.OID) (*Subdataset, error) {
	if !fullID.MatchString(string(commit)) {
		return nil, &advice.Error{Kind: advice.Unreachable, Reason: advice.Damaged, What: cannotGet(path), Why: "what the dataset names is no commit"}
	}
	return s.CloneVersion(ctx, path, string(commit))
}

func cannotGet(path string) string { return "cannot get the subdataset " + harmless(path) }

// CloneVersion is Clone of another version than the parent names: a tag, a branch, or a
// commit.
func (s *Set) CloneVersion(ctx context.Context, path, version string) (*Subdataset, error) {
	list, refused := s.attempts(path)
	t := try{set: s, what: cannotGet(path), version: version, began: time.Now(), down: make(map[string]bool), places: refused}
	specs := make([]fetch.Spec, len(list))
	for i, a := range list {
		var err error
		if specs[i], err = a.spec(); err != nil {
			t.failed(a, err)
			continue
		}
		if fetch.IsKnown(filepath.Join(s.o.Dir, specs[i].Name), specs[i], version) {
			if had, err := t.open(ctx, a, specs[i]); err == nil {
				return had, nil
			} else if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
	}
	switch {
	case s.o.Clone.Offline:
		return nil, &advice.Error{Kind: advice.Unreachable, Reason: advice.Offline, What: t.what, Why: "it is not known here, and the network is switched off (offline)", Do: []string{"look into it once without --offline"}}
	case s.o.Clone.Git == "":
		return nil, &advice.Error{Kind: advice.Unreachable, Reason: advice.NoGit, What: t.what, Why: "the program git is missing, and without it only tags and branches can be had", Do: []string{"install it: apt-get install git"}}
	}
	for i, a := range list {
		if specs[i].URL == "" {
			continue
		}
		had, err := t.open(ctx, a, specs[i])
		if err == nil {
			return had, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if t.failed(a, err); t.full != nil {
			return nil, t.full
		}
	}
	return nil, t.error()
}

// try is how far the places of one subdataset were tried.
type try struct {
	set     *Set
	what    string // for errors
	version string
	began   time.Time

	places  []Place         // that failed
	reasons []advice.Reason // of them
	down    map[string]bool // servers that cannot be reached
	blocked bool            // by its address
	full    error           // the disk is: no other place helps
}

var (
	errDown = errors.New("not asked: its server could not be reached a moment ago")
	errTime = fmt.Errorf("not asked: %v were over", findTime)
)

// open asks for a clone.
func (t *try) open(ctx context.Context, a attempt, spec fetch.Spec) (*Subdataset, error) {
	if t.down[server(a.url)] {
		return nil, errDown
	}
	if time.Since(t.began) > findTime {
		return nil, errTime
	}
	o := t.set.o.Clone
	env, tunnel, err := t.set.environment(a.url, a.via)
	if err != nil {
		return nil, err
	}
	o.Env = env
	c, err := t.set.o.Open(ctx, spec, t.version, o)
	if err != nil {
		return nil, t.explained(err, a, tunnel)
	}
	if fullID.MatchString(t.version) && string(c.Commit) != t.version {
		return nil, fmt.Errorf("it has another commit than %s", t.version)
	}
	return &Subdataset{Clone: c, From: a.place, config: t.set.parent.Config, reach: a.reach}, nil
}

// notConnected is how git says which host it was not connected to.
var notConnected = regexp.MustCompile(`SOCKS5 connection to (\S+)\. `)

// explained has the tunnel say why it did not connect: git knows a number only.
func (t *try) explained(err error, a attempt, tunnel *web.Tunnel) error {
	known := new(advice.Error)
	if tunnel == nil || !errors.As(err, &known) {
		return err
	}
	m := notConnected.FindStringSubmatch(known.Why)
	if m == nil {
		return err
	}
	hosts := []string{m[1]}
	if u, err := url.Parse(a.url); err == nil {
		hosts = append(hosts, u.Hostname())
	}
	for _, host := range hosts {
		switch why := tunnel.Failure(host); {
		case errors.Is(why, web.ErrAddress):
			return why
		case why != nil:
			return remedy.Of(t.what, a.url, why.Error())
		}
	}
	return err
}

// server names what is given up together, or is "".
func server(text string) string {
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		return u.Scheme + "://" + u.Host
	}
	if host, _, is := strings.Cut(text, ":"); is && !strings.HasPrefix(text, "/") {
		return host
	}
	return ""
}

// answered is what git says of a server that is there.
var answered = regexp.MustCompile(`requested URL returned error|status code`)

// failed notes why a place was not it.
func (t *try) failed(a attempt, err error) {
	known := new(advice.Error)
	said := err.Error()
	if errors.As(err, &known) {
		said = known.Why
		if said == "" {
			said = known.What
		}
		t.reasons = append(t.reasons, known.Reason)
		if known.Kind == advice.NoSpace {
			t.full = advice.New(advice.NoSpace, t.what, errors.New(plainly(said, a.url)), known.Do...)
		}
		if s := server(a.url); known.Reason == advice.Network && s != "" && !answered.MatchString(said) {
			t.down[s] = true
		}
	}
	t.blocked = t.blocked || errors.Is(err, web.ErrAddress)
	a.place.Why = plainly(said, a.url)
	t.places = append(t.places, a.place)
}

// error explains that no place had it.
func (t *try) error() error {
	slices.SortStableFunc(t.places, func(a, b Place) int { return a.Cost - b.Cost })
	e := advice.New(advice.Unreachable, t.what, &NotHad{t.places})
	e.Reason = advice.NotFound
	for _, r := range []advice.Reason{advice.Ownership, advice.SSH, advice.TLS, advice.Authentication, advice.Proxy, advice.Network} {
		if slices.Contains(t.reasons, r) {
			e.Reason = r
		}
	}
	if e.Reason == advice.Network {
		e.Do = append(e.Do, "check the network connection")
	}
	if t.blocked {
		e.Do = append(e.Do, "datasets are had from public addresses only; if you trust this one: --allow-address ADDRESS")
	}
	e.Do = append(e.Do, "if you know where it is, tell git and DataLad: git config --global datalad.get.subdataset-source-candidate-mine URL")
	return e
}

const (
	// maxWord is the length in bytes of the longest word of a stranger that is told,
	// and maxTold that of all together.
	maxWord = 300
	maxTold = 8 << 10
)

func harmless(text string) string { return plain.Short(text, maxWord) }

func shown(url string) string { return harmless(candidates.Shown(url)) }

// plainly is what was said of a URL, without its secrets.
func plainly(said, url string) string { return harmless(candidates.Conceal(said, url)) }
