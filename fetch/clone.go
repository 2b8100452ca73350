package fetch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

// Progress of a clone. Total is 0 while unknown.
type Progress struct {
	Phase       string
	Done, Total int64
	Text        string
}

// CloneOptions tune CloneDataset.
type CloneOptions struct {
	Git      string   // path of the git program; "" uses go-git
	Objects  string   // the cache's directory of objects; the clone's annex/objects leads there
	Env      []string // of the caller, for git, ssh and proxies
	Offline  bool     // use no network: only what is known
	Progress func(Progress)
}

// Clone is a hidden clone at one version.
type Clone struct {
	Dir    string
	Spec   Spec
	Commit gitstore.OID

	inPlace inPlace
}

// CloneDataset makes a hidden clone of a dataset at dir, or adds a version to
// the one that is there: bare, and with only the history-less commit and the
// git-annex branch. version is a tag, a branch, or a commit; empty means the
// default branch, which is looked up at first use only. A known version needs
// no network.
//
// Errors are an [AdviceError], or ctx's.
func CloneDataset(ctx context.Context, spec Spec, version, dir string, o CloneOptions) (*Clone, error) {
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	m, err := readManifest(dir)
	switch {
	case err == nil && m.URL == spec.URL:
		if id, ok := m.known(version); ok {
			return &Clone{Dir: dir, Spec: spec, Commit: id}, nil
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, &AdviceError{Kind: Damaged, What: "the hidden clone of " + spec.String() + " is damaged", Why: err.Error(), Do: []string{"remove it with: uniharmonyfs clean " + filepath.Base(dir)}}
	}
	if o.Offline {
		return nil, &AdviceError{Kind: Offline, What: "the dataset " + describe(spec, version) + " is not known here", Why: "the network is switched off (offline)", Do: []string{"mount it once without --offline"}}
	}
	f, err := newFetcher(spec, o)
	if err != nil {
		return nil, err
	}
	if m.Versions == nil {
		return makeClone(ctx, f, spec, version, dir, o)
	}
	id, err := f.fetch(ctx, dir, version)
	if err != nil {
		return nil, cloneError(ctx, spec, version, err)
	}
	m.Versions[version] = id
	if err := m.write(dir); err != nil {
		return nil, cloneError(ctx, spec, version, err)
	}
	return &Clone{Dir: dir, Spec: spec, Commit: id}, nil
}

// fetcher brings a version's commit and the git-annex branch into a bare
// repository. There are two: the git program, and go-git.
type fetcher interface {
	init(ctx context.Context, dir string) error
	fetch(ctx context.Context, dir, version string) (gitstore.OID, error)
}

func newFetcher(spec Spec, o CloneOptions) (fetcher, error) {
	if o.Git != "" {
		return &withGit{spec: spec, git: gitProgram{path: o.Git, env: o.Env}, progress: o.Progress}, nil
	}
	if filepath.IsAbs(spec.URL) {
		return nil, &AdviceError{Kind: NoGit, What: "cannot read " + spec.String(), Why: "the program git is missing, and without it only datasets behind a URL can be read", Do: []string{"install it: apt-get install git"}}
	}
	return &withGoGit{spec: spec, progress: o.Progress}, nil
}

// makeClone makes the clone aside; it gets its name when it is whole.
func makeClone(ctx context.Context, f fetcher, spec Spec, version, dir string, o CloneOptions) (*Clone, error) {
	parent := filepath.Dir(dir)
	making := filepath.Join(parent, ".making-"+filepath.Base(dir))
	fail := func(err error) (*Clone, error) {
		os.RemoveAll(making)
		return nil, cloneError(ctx, spec, version, err)
	}
	if err := errors.Join(os.RemoveAll(making), os.MkdirAll(parent, 0o700)); err != nil {
		return fail(err)
	}
	if err := f.init(ctx, making); err != nil {
		return fail(err)
	}
	if err := configure(making, spec, o.Objects); err != nil {
		return fail(err)
	}
	id, err := f.fetch(ctx, making, version)
	if err != nil {
		return fail(err)
	}
	if err := (manifest{URL: spec.URL, Versions: map[string]gitstore.OID{version: id}}).write(making); err != nil {
		return fail(err)
	}
	// What has no manifest was never whole.
	if err := os.RemoveAll(dir); err != nil {
		return fail(err)
	}
	if err := os.Rename(making, dir); err != nil {
		return fail(err)
	}
	return &Clone{Dir: dir, Spec: spec, Commit: id}, nil
}

// configure makes git-annex see an initialised repository whose objects are
// the cache's. It therefore never initialises it by itself, which would run
// programs that the dataset names (autoenable=true type=external), and what
// it notes stays private.
func configure(dir string, spec Spec, objects string) error {
	f, err := os.OpenFile(filepath.Join(dir, "config"), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, `[annex]
	uuid = %s
	version = 10
	private = true
	diskreserve = 1 MB
	autoupgraderepository = false
	synccontent = false
[gc]
	auto = 0
[remote "origin"]
	url = %s
	fetch = +refs/heads/*:refs/remotes/origin/*
`, newUUID(), quote(spec.URL))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if objects == "" {
		return nil
	}
	annexDir := filepath.Join(dir, "annex")
	to, err := filepath.Rel(annexDir, objects)
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(annexDir, 0o700), os.Symlink(to, filepath.Join(annexDir, "objects")))
}

func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// quote writes a value as git-config(1) reads it.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func describe(spec Spec, version string) string {
	if version == "" {
		return spec.String()
	}
	return spec.String() + " (version " + version + ")"
}

func cloneError(ctx context.Context, spec Spec, version string, err error) error {
	var advice *AdviceError
	if ctx.Err() != nil || errors.As(err, &advice) {
		return errors.Join(ctx.Err(), err)
	}
	said := err.Error()
	if g, ok := isGitError(err); ok {
		said = g.said
	}
	return advise("cannot get the dataset "+describe(spec, version), spec.URL, said)
}
