package fetch

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/candidates"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/partial"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/program"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/remedy"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

// Progress of a clone. Total is 0 while unknown.
type Progress = program.Progress

// CloneOptions tune [Hidden.Clone].
type CloneOptions struct {
	Git      string   // path of the git program; "" uses go-git
	Objects  string   // the cache's directory of objects; the clone's annex/objects leads there
	Env      []string // of the caller, for git, ssh and proxies
	Offline  bool     // use no network: only what is known
	Progress func(Progress)
	// MaxAge is for how long a version is known: one that was looked up longer ago is
	// looked up again, and taken as it was when that fails. 0 is for ever.
	MaxAge time.Duration
}

// askAgain bounds how long a version that is known is looked up again.
const askAgain = 15 * time.Second

// Hidden is the hidden clone of a dataset: bare, and without history. What its
// files are comes first. The git-annex branch, which says where content is and
// is many times larger, comes when content is wanted: of the keys that are
// wanted, where the dataset's server can send that, else whole.
//
// It is safe for concurrent use; one process may have it at a time.
type Hidden struct {
	dir string

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	work sync.WaitGroup
	git  chan struct{} // holds the turn of who lets git write there

	swept sync.Once     // git-annex's leftovers are removed
	logs  partial.Queue // of a branch that is partial

	mu      sync.Mutex            // guards the following
	behind  map[gitstore.OID]bool // versions without the git-annex branch; nil: not known yet
	partial bool                  // of the branch only what was asked for is there
	coming  *coming               // the branch on its way, or nil
}

// Clone is a hidden clone at one version.
type Clone struct {
	Dir    string
	Spec   Spec
	Commit gitstore.OID

	hidden  *Hidden
	options CloneOptions
	inPlace inPlace
}

// NewHidden returns the hidden clone of a dataset at dir. It does nothing yet.
func NewHidden(dir string) *Hidden {
	h := &Hidden{dir: dir, git: make(chan struct{}, 1)}
	h.ctx, h.stop = context.WithCancel(context.Background())
	return h
}

// Close ends what is being fetched in the background, and waits for that.
func (h *Hidden) Close() {
	h.stop()
	h.work.Wait()
}

// Clone makes the clone, or adds a version to the one that is there. spec says
// how to reach the dataset now. version is a tag, a branch, or a commit; empty
// means the spec's, or else the default branch, which is looked up at first use
// only. A known version needs no network.
//
// Errors are an [advice.Error], or ctx's.
func (h *Hidden) Clone(ctx context.Context, spec Spec, version string, o CloneOptions) (*Clone, error) {
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	version = cmp.Or(version, spec.Version)
	m, err := h.manifest(spec)
	if err != nil {
		return nil, err
	}
	id, had := m.has(spec, version)
	if had && (o.Offline || !m.isOlder(version, o.MaxAge)) {
		return h.at(spec, id, m, o, false), nil
	}
	if o.Offline {
		return nil, &advice.Error{Kind: advice.Unreachable, Reason: advice.Offline, What: "the dataset " + describe(spec, version) + " is not known here", Why: "the network is switched off (offline)", Do: []string{"mount it once without --offline"}}
	}
	f, err := newFetcher(spec, o)
	if err != nil {
		return nil, err
	}
	if err := h.turn(ctx); err != nil {
		return nil, err
	}
	defer h.next()
	if m, err = h.manifest(spec); err != nil { // it may have changed meanwhile
		return nil, err
	}
	if id, had = m.has(spec, version); had {
		changed := false
		if m.isOlder(version, o.MaxAge) {
			if id, changed, err = h.again(ctx, f, version, &m); err != nil {
				return nil, cloneError(ctx, spec, version, err)
			}
		}
		return h.at(spec, id, m, o, changed), nil
	}
	var got fetched
	if m.Versions == nil {
		m.URL, m.Versions = spec.URL, make(map[string]gitstore.OID)
		got, err = h.make(ctx, f, spec, version, &m, o)
	} else if got, err = f.fetch(ctx, h.dir, version); err == nil {
		m.add(version, got)
		err = m.write(h.dir)
	}
	if err != nil {
		return nil, cloneError(ctx, spec, version, err)
	}
	return h.at(spec, got.commit, m, o, true), nil
}

// again looks up a version that the clone has. It stays what it was when its server
// cannot be reached.
func (h *Hidden) again(ctx context.Context, f fetcher, version string, m *manifest) (id gitstore.OID, changed bool, err error) {
	old, _ := m.known(version)
	inside, cancel := context.WithTimeout(ctx, askAgain)
	defer cancel()
	got, err := f.fetch(inside, h.dir, version)
	if err != nil {
		return old, false, ctx.Err()
	}
	m.add(version, got)
	return got.commit, true, m.write(h.dir)
}

func (h *Hidden) manifest(spec Spec) (manifest, error) {
	m, err := readManifest(h.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, &advice.Error{Kind: advice.Unreachable, Reason: advice.Damaged, What: "the hidden clone of " + spec.String() + " is damaged", Why: err.Error(), Do: []string{"remove it with: uniharmonyfs clean " + filepath.Base(h.dir)}}
	}
	return m, nil
}

// at returns the clone at a version that it has. changed says that what m says
// is news.
func (h *Hidden) at(spec Spec, id gitstore.OID, m manifest, o CloneOptions, changed bool) *Clone {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.behind == nil || changed {
		h.behind, h.partial = make(map[gitstore.OID]bool), m.Partial
		for _, id := range m.Behind {
			h.behind[id] = true
		}
	}
	return &Clone{Dir: h.dir, Spec: spec, Commit: id, hidden: h, options: o}
}

// turn waits until nobody else lets git write into the clone; next ends that.
func (h *Hidden) turn(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	select {
	case h.git <- struct{}{}:
		sweep(h.dir)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Hidden) next() { <-h.git }

// sweep removes what a git that was killed has left behind, and what would
// make every other fail.
func sweep(dir string) {
	os.Remove(filepath.Join(dir, "shallow.lock"))
	os.Remove(filepath.Join(dir, filepath.FromSlash(annexRef)+".lock"))
	packs := filepath.Join(dir, "objects", "pack")
	left, _ := os.ReadDir(packs)
	for _, e := range left {
		if strings.HasPrefix(e.Name(), "tmp_") {
			os.Remove(filepath.Join(packs, e.Name()))
		}
	}
}

// fetcher brings a version's commit into a bare repository. There are two: the
// git program, and go-git. make makes the repository first, where there is none.
type fetcher interface {
	make(ctx context.Context, dir, version string) (fetched, error)
	fetch(ctx context.Context, dir, version string) (fetched, error)
}

// fetched is a version that was brought. annex is the dataset's ref of the
// git-annex branch when that has not come with it.
type fetched struct {
	commit gitstore.OID
	annex  string
}

func newFetcher(spec Spec, o CloneOptions) (fetcher, error) {
	if o.Git != "" {
		return &withGit{spec: spec, git: program.Git{Path: o.Git, Env: o.Env}, progress: o.Progress}, nil
	}
	if filepath.IsAbs(spec.URL) {
		return nil, &advice.Error{Kind: advice.Unreachable, Reason: advice.NoGit, What: "cannot read " + spec.String(), Why: "the program git is missing, and without it only datasets behind a URL can be read", Do: []string{"install it: apt-get install git"}}
	}
	return &withGoGit{spec: spec, progress: o.Progress}, nil
}

// make makes the clone aside; it gets its name when it is whole.
func (h *Hidden) make(ctx context.Context, f fetcher, spec Spec, version string, m *manifest, o CloneOptions) (got fetched, err error) {
	parent := filepath.Dir(h.dir)
	making := filepath.Join(parent, ".making-"+filepath.Base(h.dir))
	defer func() {
		if err != nil {
			os.RemoveAll(making)
		}
	}()
	if err := errors.Join(os.RemoveAll(making), os.MkdirAll(parent, 0o700)); err != nil {
		return got, err
	}
	if got, err = f.make(ctx, making, version); err != nil {
		return got, err
	}
	if err := configure(making, spec, o.Objects); err != nil {
		return got, err
	}
	m.add(version, got)
	if err := m.write(making); err != nil {
		return got, err
	}
	// What has no manifest was never whole.
	if err := os.RemoveAll(h.dir); err != nil {
		return got, err
	}
	return got, errors.Join(os.Rename(making, h.dir), syncPath(parent))
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
	ignore := ""
	if filepath.IsAbs(spec.URL) {
		// git-annex would run what the repository's configuration and branch
		// name, and write to it. Its content is read without git-annex.
		ignore = "\tannex-ignore = true\n"
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
%s`, newUUID(), quote(spec.URL), ignore)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return linkObjects(dir, objects)
}

// linkObjects has git-annex see the cache's objects in the clone at dir; "" is none.
func linkObjects(dir, objects string) error {
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
	var known *advice.Error
	if ctx.Err() != nil || errors.As(err, &known) {
		return errors.Join(ctx.Err(), err)
	}
	return remedy.Of("cannot get the dataset "+describe(spec, version), spec.URL, said(spec, err))
}

// said returns what git said of its failure, without what is secret in the dataset's
// URL: of a token that is not valid any more it says all.
func said(spec Spec, err error) string { return candidates.Conceal(program.Said(err), spec.URL) }
