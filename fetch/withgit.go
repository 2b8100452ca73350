package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/program"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/remedy"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

// withGit fetches with the git program.
type withGit struct {
	spec     Spec
	git      program.Git
	progress func(Progress)
	silence  time.Duration // 0: gitSilence, and listTime
}

func (w *withGit) run(ctx context.Context, args ...string) (string, error) {
	return w.git.Run(ctx, w.progress, args...)
}

// transfer is run for what may talk to another machine.
func (w *withGit) transfer(ctx context.Context, args ...string) (string, error) {
	return w.git.Bounded(ctx, program.Limits{Silence: cmp.Or(w.silence, program.TransferSilence)}, w.progress, args...)
}

// cloneMemory bounds the data that a clone in one go keeps in memory, in bytes:
// enough for what git keeps of some million files.
const cloneMemory = 768 << 20

// make makes the repository, and in one go what git clone can do so: the newest
// commit of a server. What that cannot do, and the reason of a failure, is for
// fetch.
func (w *withGit) make(ctx context.Context, dir, version string) (got fetched, err error) {
	if version == "" && !filepath.IsAbs(w.spec.URL) {
		w.progress(Progress{Phase: "connect", Text: "asking for the dataset"})
		got, err = w.clone(ctx, dir)
		if g, ok := program.AsGitError(err); err == nil || !ok || remedy.SpeaksOfNetwork(g.Said) {
			return got, err
		}
		if err := os.RemoveAll(dir); err != nil {
			return got, err
		}
	}
	if _, err := w.run(ctx, "init", "--quiet", "--bare", "--template=", "--initial-branch=main", dir); err != nil {
		return got, err
	}
	if err := w.share(ctx, dir); err != nil {
		return got, err
	}
	return w.fetch(ctx, dir, version)
}

// sharing is the file that says where else git finds a repository's objects.
const sharing = "objects/info/alternates"

// share lets a hidden clone read the objects of a repository on this machine where
// they lie, instead of copying them. A shallow one has a border that is its own.
func (w *withGit) share(ctx context.Context, dir string) error {
	if !filepath.IsAbs(w.spec.URL) || w.spec.Bundle {
		return nil
	}
	out, err := w.run(ctx, "-C", w.spec.URL, "rev-parse", "--is-shallow-repository", "--git-path", "objects")
	if err != nil {
		return err
	}
	objects, ok := strings.CutPrefix(strings.TrimSuffix(out, "\n"), "false\n")
	if !filepath.IsAbs(objects) {
		objects = filepath.Join(w.spec.URL, objects)
	}
	if !ok || strings.Contains(objects, "\n") {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, sharing), []byte(objects+"\n"), 0o600)
}

// shares reports whether a hidden clone need not copy the dataset's objects.
func (w *withGit) shares(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, sharing))
	return err == nil && filepath.IsAbs(w.spec.URL) && !w.spec.Bundle
}

// clone clones the branch that is the dataset's main one. The git-annex branch is
// where it usually is, if there is one.
func (w *withGit) clone(ctx context.Context, dir string) (got fetched, err error) {
	limits := program.Limits{Memory: cloneMemory, Silence: cmp.Or(w.silence, program.TransferSilence)}
	_, err = w.git.Bounded(ctx, limits, w.progress, "clone", "--quiet", "--progress", "--bare", "--depth=1", "--single-branch", "--no-tags", "--template=", "--origin=origin", "--", w.spec.URL, dir)
	if err != nil {
		return got, err
	}
	// A HEAD that is no branch, or one that is not there, is an error here.
	out, err := w.run(ctx, "-C", dir, "for-each-ref", "--format=%(HEAD)%(objecttype) %(objectname)", "refs/heads/")
	if err != nil {
		return got, err
	}
	id, ok := strings.CutPrefix(strings.TrimSpace(out), "*commit ")
	if !ok || !isID(id) {
		return got, &program.GitError{Args: []string{"clone"}, Said: "the dataset has no main branch"}
	}
	got = fetched{commit: gitstore.OID(id), annex: annexRef}
	if err := forgetRemote(dir); err != nil {
		return got, err
	}
	return got, w.keep(ctx, dir, got.commit)
}

// forgetRemote removes what git clone writes of where it cloned from: the last
// section of the configuration.
func forgetRemote(dir string) error {
	path := filepath.Join(dir, "config")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	rest, _, _ := strings.Cut(string(text), "[remote ")
	return os.WriteFile(path, []byte(rest), 0o600)
}

// keep gives a commit a ref of our own, which keeps the version when its branch
// moves on.
func (w *withGit) keep(ctx context.Context, dir string, id gitstore.OID) error {
	_, err := w.run(ctx, "-C", dir, "update-ref", "refs/uniharmonyfs/"+string(id), string(id))
	return err
}

func (w *withGit) fetch(ctx context.Context, dir, version string) (got fetched, err error) {
	notHad := false
	if id := strings.ToLower(version); isID(id) && !w.spec.Bundle {
		// Servers that allow that need not say first what else they have. The git-annex
		// branch is where it usually is, if there is one.
		w.progress(Progress{Phase: "connect", Text: "asking for the dataset"})
		err := w.fetchRefs(ctx, dir, []string{id})
		if err == nil {
			got, err = w.kept(ctx, dir, id)
			got.annex = annexRef
		}
		g, ok := program.AsGitError(err)
		if err == nil || ctx.Err() != nil || !ok || remedy.SpeaksOfNetwork(g.Said) {
			return got, err
		}
		notHad = strings.Contains(g.Said, "not our ref") // it looked: all of its history would not have it
	}
	r, err := w.offered(ctx)
	if err != nil {
		return got, err
	}
	ref, err := r.choose(version)
	if err != nil {
		return got, err
	}
	want := version
	switch {
	case ref == "" && notHad:
		return got, r.unknownVersion(version)
	case ref == "":
		got.annex, err = w.fetchAll(ctx, dir, r)
	case w.spec.Bundle || w.shares(dir):
		err = w.fetchRefs(ctx, dir, append(r.annexRefspec(), "+"+ref+":"+ours(ref)))
		want = ours(ref)
	default:
		got.annex = r.annexBranch()
		err = w.fetchRefs(ctx, dir, []string{"+" + ref + ":" + ours(ref)})
		want = ours(ref)
	}
	if err != nil {
		return got, err
	}
	had, err := w.kept(ctx, dir, want)
	if _, said := program.AsGitError(err); said && ref == "" {
		return got, r.unknownVersion(version)
	}
	if err != nil {
		return got, err
	}
	got.commit = had.commit
	if branch, ok := strings.CutPrefix(ours(ref), "refs/heads/"); ok {
		_, err = w.run(ctx, "-C", dir, "symbolic-ref", "HEAD", "refs/heads/"+branch)
	}
	return got, err
}

// kept is the commit of a revision that the hidden clone has, and is to keep.
func (w *withGit) kept(ctx context.Context, dir, rev string) (got fetched, err error) {
	out, err := w.run(ctx, "-C", dir, "rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
	if err != nil {
		return got, err
	}
	got.commit = gitstore.OID(strings.TrimSpace(out))
	return got, w.keep(ctx, dir, got.commit)
}

// ours is the ref under which the hidden clone keeps a ref of the dataset.
func ours(ref string) string {
	if b, ok := strings.CutPrefix(ref, "refs/remotes/origin/"); ok {
		return "refs/heads/" + b
	}
	if ref == "HEAD" { // detached
		return "refs/heads/detached"
	}
	return ref
}

// fetchRefs fetches without history, where the other side can do that.
func (w *withGit) fetchRefs(ctx context.Context, dir string, refspecs []string, options ...string) error {
	args := append([]string{"-C", dir, "fetch", "--quiet", "--progress", "--no-tags", "--no-auto-maintenance", "--update-head-ok", "--no-write-fetch-head"}, options...)
	shallow := append(append(append([]string(nil), args...), "--depth=1", "--", w.spec.URL), refspecs...)
	if !w.spec.Bundle && !w.shares(dir) {
		_, err := w.transfer(ctx, shallow...)
		g, ok := program.AsGitError(err)
		if !ok || !strings.Contains(g.Said, "shallow") {
			return err
		}
	}
	_, err := w.transfer(ctx, append(append(args, "--", w.spec.URL), refspecs...)...)
	return err
}

// fetchAll fetches all that the other side has, for a commit that may be no ref's. It
// returns the ref of the git-annex branch when that has not come with it.
func (w *withGit) fetchAll(ctx context.Context, dir string, r refs) (annex string, err error) {
	_, err = w.transfer(ctx, "-C", dir, "fetch", "--quiet", "--progress", "--no-auto-maintenance", "--update-head-ok", "--no-write-fetch-head", "--",
		w.spec.URL, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
	if r.annexBranch() != annexRef {
		annex = r.annexBranch()
	}
	return annex, err
}

// offered asks for the dataset's refs.
func (w *withGit) offered(ctx context.Context) (refs, error) {
	w.progress(Progress{Phase: "connect", Text: "asking for the dataset's versions"})
	url := w.spec.URL
	if filepath.IsAbs(url) && !w.spec.Bundle {
		// Within a work tree git would find the repository around a
		// directory that is none.
		if _, err := w.run(ctx, "-C", url, "rev-parse", "--git-dir"); err != nil {
			return refs{}, err
		}
	}
	// It says nothing before it has all.
	bounds := program.Limits{Memory: program.ListMemory, Silence: cmp.Or(w.silence, program.ListTime)}
	out, err := w.git.Bounded(ctx, bounds, w.progress, "ls-remote", "--quiet", "--symref", "--", url)
	if err != nil {
		return refs{}, err
	}
	return parseRefs(out)
}

// maxRefs is how many refs a dataset may have.
const maxRefs = 200_000

// parseRefs reads what git ls-remote --symref prints.
func parseRefs(out string) (refs, error) {
	r := refs{commit: make(map[string]gitstore.OID)}
	head := ""
	for line := range strings.Lines(out) {
		left, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			continue
		}
		if target, symbolic := strings.CutPrefix(left, "ref: "); symbolic {
			if name == "HEAD" {
				head = target
			}
			continue
		}
		if !isRef(name) || !isID(left) {
			continue // git does not say such things
		}
		if r.commit[name] = gitstore.OID(left); len(r.commit) > maxRefs {
			return refs{}, fmt.Errorf("%w: it has more than %d branches and tags", program.ErrTooMuch, maxRefs)
		}
	}
	if len(r.commit) == 0 {
		return refs{}, errors.New("not a git repository: it has no branches")
	}
	if _, ok := r.commit[head]; ok && head != "" {
		r.head = head
	} else if id, ok := r.commit["HEAD"]; ok {
		r.head = r.branchAt(id)
	}
	return r, nil
}

// branchAt finds the branch that a detached HEAD, or that of an old server,
// stands for.
func (r refs) branchAt(id gitstore.OID) string {
	for _, b := range append([]string{"main", "master"}, r.names("refs/heads/")...) {
		if r.commit["refs/heads/"+b] == id && b != "git-annex" {
			return "refs/heads/" + b
		}
	}
	if r.commit["HEAD"] == id {
		return "HEAD"
	}
	return ""
}
