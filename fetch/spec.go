package fetch

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/candidates"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/remedy"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/plain"
)

// DefaultTemplate is where OpenNeuro keeps its datasets as git repositories.
const DefaultTemplate = "https://github.com/OpenNeuroDatasets/{id}.git"

// OpenNeuro are the superdatasets of its datasets, and of derivatives of them.
var OpenNeuro = []string{"///openneuro", "https://github.com/OpenNeuroDerivatives/OpenNeuroDerivatives"}

// Spec names a dataset.
type Spec struct {
	// URL is what git is given: a URL, or an absolute path.
	URL string
	// Name is a file name that no other dataset has, for the hidden clone.
	Name string
	// Bundle says that URL is the path of a git bundle.
	Bundle bool
	// Version is the one that is meant when no other is asked for, or "".
	Version string
	// Store is the URL of the RIA store that has the dataset (ria+...), or "".
	Store string

	text string
}

// String returns the spec as people know it.
func (s Spec) String() string { return s.text }

var (
	accession = regexp.MustCompile(`^ds\d{6}$`)
	schemes   = []string{"https", "http", "ssh", "git", "file"}
	unsafe    = regexp.MustCompile(`[^A-Za-z0-9_.+-]+`)
)

// IsAccession reports whether spec is an OpenNeuro accession. A directory of
// that name in the working directory is written with "./" before it.
func IsAccession(spec string) bool { return accession.MatchString(spec) }

// ParseSpec understands an OpenNeuro accession ("ds004712", whose URL comes
// from template, with {id} in it; empty means [DefaultTemplate]), the absolute
// path of a repository or of a git bundle, a URL that git knows, and the URLs of
// DataLad: ria+SCHEME://STORE#ID@VERSION and ///PATH. A path where nothing is gives
// an [advice.Error].
func ParseSpec(spec, template string) (Spec, error) {
	if template == "" {
		template = DefaultTemplate
	}
	shown := candidates.Shown(spec)
	switch {
	case spec == "":
		return Spec{}, fmt.Errorf("no dataset is named")
	case strings.ContainsAny(spec, "\x00\r\n") || strings.HasPrefix(spec, "-"):
		return Spec{}, fmt.Errorf("%.80q is not a dataset", shown)
	case accession.MatchString(spec):
		if !strings.Contains(template, "{id}") {
			return Spec{}, fmt.Errorf("the URL template %q has no {id} in it", template)
		}
		return named(spec, spec, strings.ReplaceAll(template, "{id}", spec), false), nil
	case strings.HasPrefix(spec, "///") || strings.HasPrefix(spec, "ria+"):
		return dataladSpec(spec)
	case filepath.IsAbs(spec):
		return localSpec(spec)
	}
	if u, err := url.Parse(spec); err == nil && u.Scheme != "" && strings.Contains(spec, "://") {
		for _, ok := range schemes {
			if u.Scheme == ok && (u.Host != "" || ok == "file") {
				if u.Scheme == "file" {
					return fileSpec(spec, u)
				}
				return named(baseName(u.Path), redact(u), spec, false), nil
			}
		}
		return Spec{}, fmt.Errorf("%.80q: a dataset's URL starts with one of %s", shown, strings.Join(schemes, "://, ")+"://")
	}
	if remedy.SCPLike.MatchString(spec) {
		host, path, _ := strings.Cut(spec, ":")
		if slices.Contains(schemes, host) {
			return Spec{}, fmt.Errorf("%.80q is not a dataset: a URL has \"://\" in it", shown)
		}
		return named(baseName(path), spec, spec, false), nil
	}
	return Spec{}, fmt.Errorf("%.80q is not a dataset: no such file or directory, no URL, and no OpenNeuro accession such as ds004712", shown)
}

// dataladSpec understands the URLs that DataLad has and git has not.
func dataladSpec(spec string) (Spec, error) {
	r, err := candidates.Resolve(spec)
	if err == nil {
		_, err = candidates.ReachOf(spec).Check(r)
	}
	if err == nil && plain.Text(spec) != spec {
		err = errors.New("it has characters that do not show")
	}
	if err != nil {
		return Spec{}, fmt.Errorf("%.80q is not a dataset: %w", candidates.Shown(spec), err)
	}
	s := named(baseName(r.URL), candidates.Shown(spec), r.URL, false)
	if filepath.IsAbs(r.URL) {
		local, err := localSpec(r.URL)
		if err != nil || local.Bundle {
			return Spec{}, cmp.Or(err, fmt.Errorf("%.80q is not a dataset: %s is no repository", spec, r.URL))
		}
		s = named(baseName(local.URL), spec, local.URL, false)
	}
	s.Version, s.Store = r.Version, r.Store
	return s, nil
}

// fileSpec understands a file: URL, which names a path of this machine only.
func fileSpec(spec string, u *url.URL) (Spec, error) {
	if u.Opaque != "" || u.Host != "" && u.Host != "localhost" || !filepath.IsAbs(u.Path) || u.RawQuery != "" || u.Fragment != "" {
		return Spec{}, fmt.Errorf("%.80q: a file URL has the absolute path of a repository or bundle, as in file:///data/ds000001", candidates.Shown(spec))
	}
	if strings.ContainsAny(u.Path, "\x00\r\n") {
		return Spec{}, fmt.Errorf("%.80q is not a dataset", candidates.Shown(spec))
	}
	return localSpec(filepath.Clean(u.Path))
}

func localSpec(path string) (Spec, error) {
	st, err := os.Stat(path)
	if err != nil {
		why := err
		if p := new(fs.PathError); errors.As(err, &p) {
			why = p.Err
		}
		return Spec{}, &advice.Error{Kind: advice.Unreachable, Reason: advice.NotFound, What: "cannot get the dataset " + path, Why: why.Error(), Do: []string{"check the path"}}
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if !st.IsDir() && !st.Mode().IsRegular() {
		return Spec{}, &advice.Error{Kind: advice.Unreachable, Reason: advice.NotRepository, What: "cannot get the dataset " + path, Why: "it is neither a directory nor a file", Do: []string{"give a git repository, or a git bundle"}}
	}
	return named(baseName(path), path, path, !st.IsDir()), nil
}

// LocalPath returns the directory of a dataset that is a repository on this
// machine, or "".
func LocalPath(spec string) string {
	s, err := ParseSpec(spec, "")
	if err != nil || s.Bundle || !filepath.IsAbs(s.URL) {
		return ""
	}
	return s.URL
}

// named makes the spec's directory name: readable, and by a part of the
// hash of what is cloned, unique.
func named(base, text, url string, bundle bool) Spec {
	sum := sha256.Sum256([]byte(url))
	base = strings.Trim(unsafe.ReplaceAllString(base, "_"), ".-_")
	if base == "" {
		base = "dataset"
	}
	return Spec{URL: url, Name: fmt.Sprintf("%.80s-%s", base, hex.EncodeToString(sum[:4])), Bundle: bundle, text: text}
}

func baseName(path string) string {
	path = strings.TrimSuffix(strings.TrimRight(path, "/"), "/.git")
	base := filepath.Base(path)
	if id := filepath.Base(filepath.Dir(path)) + base; candidates.IsID(id) {
		return id // in a RIA store
	}
	for _, ext := range []string{".git", ".bundle"} {
		base = strings.TrimSuffix(base, ext)
	}
	return base
}

// redact returns a URL without its password, for people to see. Over HTTP a name alone
// is one, more often than not.
func redact(u *url.URL) string {
	if _, has := u.User.Password(); has {
		return u.Redacted()
	}
	if u.User != nil && (u.Scheme == "http" || u.Scheme == "https") {
		shown := *u
		shown.User = url.User("xxxxx")
		return shown.String()
	}
	return u.String()
}
