package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/candidates"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/gitannex"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/program"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/remedy"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Direct is a true DataLad dataset: a clone with a work tree and git-annex
// content of its own, for git-annex and datalad to use afterwards.
type Direct struct {
	Dir  string
	git  program.Git
	uuid string
}

// CloneDirect clones a dataset into dir, an empty directory, with its history
// and a work tree of exactly this commit; or it takes up the clone that an
// earlier call made there, if that has the commit or one after it. git-annex
// is initialised; the special remotes that only move bytes are enabled, those
// that run programs are not. Nothing that the dataset or the user's
// configuration names is run: no filter, hook or template.
func CloneDirect(ctx context.Context, spec Spec, version, commit, dir string, o CloneOptions) (*Direct, error) {
	what := "cannot make a DataLad dataset of " + describe(spec, version) + " at " + dir
	if o.Git == "" || AnnexProgram() == "" {
		return nil, &advice.Error{Kind: advice.Unreachable, Reason: advice.NoGit, What: what, Why: "that needs git and git-annex", Do: []string{"install them: apt-get install git git-annex", "or leave out --direct"}}
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	d := &Direct{Dir: dir, git: program.Git{Path: o.Git, Env: o.Env}}
	if st, err := os.Lstat(d.gitDir()); err == nil {
		if !st.IsDir() {
			return nil, notOurs(what, "its .git is no directory")
		}
		if err := d.check(ctx, spec, commit, what); err != nil {
			return nil, err
		}
	} else if err := d.clone(ctx, spec, version, commit, what, o); err != nil {
		return nil, cloneError(ctx, spec, version, err)
	}
	d.seclude(ctx)
	if filepath.IsAbs(spec.URL) {
		// git-annex would look into the repository that it is a clone of, with
		// programs that its configuration names, and change it.
		d.git.Env = append(d.git.Env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=remote.origin.annex-ignore", "GIT_CONFIG_VALUE_0=true")
	}
	if err := d.checkOut(ctx); err != nil {
		return nil, cloneError(ctx, spec, version, err)
	}
	return d, d.initAnnex(ctx, what)
}

func (d *Direct) gitDir() string { return filepath.Join(d.Dir, ".git") }

func notOurs(what, why string) error {
	return &advice.Error{Kind: advice.Unreachable, Reason: advice.NotRepository, What: what, Why: why, Do: []string{"choose an empty or new directory"}}
}

// withoutConfig leaves out git options that came in the environment.
func withoutConfig(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		return strings.HasPrefix(kv, "GIT_CONFIG_COUNT=") || strings.HasPrefix(kv, "GIT_CONFIG_PARAMETERS=")
	})
}

// seclude makes what runs from now on, git-annex too, deaf to the user's and
// the system's configuration: a filter that it defines would run on what the
// dataset's attributes say. Only the author's name is taken over; without one
// git refuses git-annex's commits.
func (d *Direct) seclude(ctx context.Context) {
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		name, email := "uniharmonyfs", "uniharmonyfs@localhost"
		if ident, err := d.git.Run(ctx, nil, "-C", d.Dir, "var", "GIT_"+who+"_IDENT"); err == nil {
			first, rest, _ := strings.Cut(ident, " <")
			name = first
			email, _, _ = strings.Cut(rest, ">")
		}
		d.git.Env = append(d.git.Env[:len(d.git.Env):len(d.git.Env)], "GIT_"+who+"_NAME="+name, "GIT_"+who+"_EMAIL="+email)
	}
	d.git.Env = append(d.git.Env, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_ATTR_NOSYSTEM=1")
	d.git.Env = withoutConfig(d.git.Env)
}

// check makes sure that what is there is a clone of the dataset, at the commit
// or after it.
func (d *Direct) check(ctx context.Context, spec Spec, commit, what string) error {
	url, err := d.git.Run(ctx, nil, "-C", d.Dir, "config", "remote.origin.url")
	if err != nil || strings.TrimSpace(url) != spec.URL {
		return errors.Join(ctx.Err(), notOurs(what, fmt.Sprintf("another repository is there (%s)", candidates.Shown(strings.TrimSpace(url)))))
	}
	if _, err := d.git.Run(ctx, nil, "-C", d.Dir, "merge-base", "--is-ancestor", commit, "HEAD"); err != nil {
		return errors.Join(ctx.Err(), &advice.Error{Kind: advice.Unreachable, Reason: advice.UnknownVersion, What: what, Why: "the dataset there is at another version, not at or after commit " + commit,
			Do: []string{"choose an empty or new directory", "or check that version out there: git -C " + d.Dir + " checkout " + commit}})
	}
	return nil
}

// cloneParts begins the names of clones that are not whole yet.
const cloneParts = ".uniharmonyfs-clone-"

// clone makes the repository, without a work tree, beside its place and moves
// it there when it is whole.
func (d *Direct) clone(ctx context.Context, spec Spec, version, commit, what string, o CloneOptions) error {
	entries, err := os.ReadDir(d.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), cloneParts) {
			return notOurs(what, fmt.Sprintf("the directory is not empty (%q)", e.Name()))
		}
		if err := os.RemoveAll(filepath.Join(d.Dir, e.Name())); err != nil {
			return err
		}
	}
	w := &withGit{spec: spec, git: d.git, progress: o.Progress}
	r, err := w.offered(ctx)
	if err != nil {
		return err
	}
	ref, err := r.choose(version)
	if err != nil {
		return err
	}
	part, err := os.MkdirTemp(d.Dir, cloneParts)
	if err != nil {
		return err
	}
	defer os.RemoveAll(part)
	args := []string{"clone", "--quiet", "--progress", "--no-recurse-submodules", "--no-checkout", "--template="}
	for _, prefix := range []string{"refs/heads/", "refs/tags/"} {
		if name, ok := strings.CutPrefix(ref, prefix); ok {
			args = append(args, "-b", name)
		}
	}
	if _, err := w.transfer(ctx, append(args, "--", spec.URL, part)...); err != nil {
		return err
	}
	if _, err := w.run(ctx, "-C", part, "cat-file", "-e", commit+"^{commit}"); err != nil {
		// No branch has it any more.
		if _, err := w.transfer(ctx, "-C", part, "fetch", "--quiet", "--progress", "--no-auto-maintenance", "--", "origin", commit); err != nil {
			return err
		}
	}
	head := []string{"-C", part, "update-ref", "HEAD", commit}
	if ref == "" { // a commit is no branch's
		head = []string{"-C", part, "update-ref", "--no-deref", "HEAD", commit}
	}
	if _, err := w.run(ctx, head...); err != nil {
		return err
	}
	return os.Rename(filepath.Join(part, ".git"), d.gitDir())
}

// checkOut writes the work tree of HEAD, unless that was done. Git makes its
// index last; until then the work tree is not whole.
func (d *Direct) checkOut(ctx context.Context) error {
	index := filepath.Join(d.gitDir(), "index")
	if _, err := os.Lstat(index); err == nil {
		return nil
	}
	if err := os.Remove(index + ".lock"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	_, err := d.git.Run(ctx, nil, "--git-dir="+d.gitDir(), "--work-tree="+d.Dir, "-c", "core.protectHFS=true", "-c", "core.protectNTFS=true",
		"reset", "--quiet", "--hard", "HEAD")
	if err != nil {
		return err
	}
	// What is as new as the index is looked into again, through the filters of
	// whoever asks git for the status.
	return os.Chtimes(index, time.Time{}, time.Now().Add(time.Second))
}

// initAnnex initialises git-annex once.
func (d *Direct) initAnnex(ctx context.Context, what string) error {
	if out, err := d.git.Run(ctx, nil, "-C", d.Dir, "config", "annex.uuid"); err == nil {
		d.uuid = strings.TrimSpace(out)
		return nil
	}
	child := d.annex()
	cmd := child.Command("init", "--quiet", "--no-autoenable")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := program.RunGroup(ctx, cmd); err != nil {
		return errors.Join(ctx.Err(), remedy.Of(what, d.Dir, said.String()))
	}
	child.EnableAll(ctx, discard)
	out, err := d.git.Run(ctx, nil, "-C", d.Dir, "config", "annex.uuid")
	d.uuid = strings.TrimSpace(out)
	return err
}

// annex is git-annex for this dataset.
func (d *Direct) annex() gitannex.Program { return gitannex.Program{Dir: d.Dir, Env: d.git.Env} }

// ObjectPath returns where a dataset keeps a key's content, below its .git/annex.
func ObjectPath(key annex.Key) string {
	f := key.FileName()
	return path.Join("objects", key.HashDirMixed(), f, f)
}

// Present tells git-annex that the dataset now has the content of keys, and
// fills in the work tree files that are pointers (unlocked paths).
func (d *Direct) Present(ctx context.Context, keys []annex.Key, unlocked []string) error {
	child := d.annex()
	var lines strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&lines, "%s %s 1\n", k, d.uuid)
	}
	run := func(in string, args ...string) error {
		if in == "" {
			return nil
		}
		cmd := child.Command(args...)
		cmd.Stdin = strings.NewReader(in)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		ctx, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		if err := program.RunGroup(ctx, cmd); err != nil {
			return fmt.Errorf("git-annex %s: %w: %s", args[0], err, remedy.LastLines(said.String(), 3))
		}
		return nil
	}
	err := run(lines.String(), "setpresentkey", "--batch")
	for _, name := range unlocked {
		err = errors.Join(err, run("\n", "fsck", "--fast", "--quiet", "--", name))
	}
	return err
}
