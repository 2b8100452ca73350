package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Direct is a true DataLad dataset: a clone with a work tree and git-annex
// content of its own, for git-annex and datalad to use afterwards.
type Direct struct {
	Dir  string
	git  gitProgram
	uuid string
}

// CloneDirect clones a dataset into dir, with its history and a work tree, or
// takes up the clone that an earlier call made there. git-annex is
// initialised; the special remotes that only move bytes are enabled, those
// that run programs are not.
func CloneDirect(ctx context.Context, spec Spec, version, dir string, o CloneOptions) (*Direct, error) {
	what := "cannot make a DataLad dataset of " + describe(spec, version) + " at " + dir
	if o.Git == "" || AnnexProgram() == "" {
		return nil, &AdviceError{Kind: NoGit, What: what, Why: "that needs git and git-annex", Do: []string{"install them: apt-get install git git-annex", "or leave out --direct"}}
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	d := &Direct{Dir: dir, git: gitProgram{path: o.Git, env: o.Env}}
	if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
		if err := d.check(ctx, spec, what); err != nil {
			return nil, err
		}
	} else if err := d.clone(ctx, spec, version, o); err != nil {
		return nil, cloneError(ctx, spec, version, err)
	}
	d.name(ctx)
	return d, d.initAnnex(ctx, what)
}

// name gives git-annex's commits an author where the user has told git none,
// for which git refuses them.
func (d *Direct) name(ctx context.Context) {
	if _, err := d.git.run(ctx, nil, "-C", d.Dir, "var", "GIT_COMMITTER_IDENT"); err == nil {
		return
	}
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		d.git.env = append(d.git.env[:len(d.git.env):len(d.git.env)], "GIT_"+who+"_NAME=uniharmonyfs", "GIT_"+who+"_EMAIL=uniharmonyfs@localhost")
	}
}

// check makes sure that what is there is a clone of the dataset.
func (d *Direct) check(ctx context.Context, spec Spec, what string) error {
	url, err := d.git.run(ctx, nil, "-C", d.Dir, "config", "remote.origin.url")
	if err != nil || strings.TrimSpace(url) != spec.URL {
		return &AdviceError{Kind: NotRepository, What: what, Why: fmt.Sprintf("another repository is there (%s)", strings.TrimSpace(url)), Do: []string{"choose an empty or new directory"}}
	}
	return nil
}

func (d *Direct) clone(ctx context.Context, spec Spec, version string, o CloneOptions) error {
	w := &withGit{spec: spec, git: d.git, progress: o.Progress}
	r, err := w.offered(ctx)
	if err != nil {
		return err
	}
	ref, err := r.choose(version)
	if err != nil {
		return err
	}
	args := []string{"clone", "--quiet", "--progress", "--no-recurse-submodules"}
	for _, prefix := range []string{"refs/heads/", "refs/tags/"} {
		if name, ok := strings.CutPrefix(ref, prefix); ok {
			args = append(args, "-b", name)
		}
	}
	if _, err := w.run(ctx, append(args, "--", spec.URL, d.Dir)...); err != nil {
		return err
	}
	if ref == "" {
		_, err = w.run(ctx, "-C", d.Dir, "checkout", "--quiet", "--detach", version)
	}
	return err
}

// initAnnex initialises git-annex once.
func (d *Direct) initAnnex(ctx context.Context, what string) error {
	if out, err := d.git.run(ctx, nil, "-C", d.Dir, "config", "annex.uuid"); err == nil {
		d.uuid = strings.TrimSpace(out)
		return nil
	}
	child := &annexChild{dir: d.Dir, env: d.git.env, log: discard}
	cmd := child.command("init", "--quiet", "--no-autoenable")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := runGroup(ctx, cmd); err != nil {
		return errors.Join(ctx.Err(), advise(what, d.Dir, said.String()))
	}
	child.enableRemotes(ctx)
	out, err := d.git.run(ctx, nil, "-C", d.Dir, "config", "annex.uuid")
	d.uuid = strings.TrimSpace(out)
	return err
}

// ObjectPath returns where the dataset keeps a key's content, relative to Dir.
func (d *Direct) ObjectPath(key annex.Key) string {
	f := key.FileName()
	return filepath.Join(".git", "annex", "objects", key.HashDirMixed(), f, f)
}

// Present tells git-annex that the dataset now has the content of keys, and
// fills in the work tree files that are pointers (unlocked paths).
func (d *Direct) Present(ctx context.Context, keys []annex.Key, unlocked []string) error {
	child := &annexChild{dir: d.Dir, env: d.git.env, log: discard}
	var lines strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&lines, "%s %s 1\n", k, d.uuid)
	}
	run := func(in string, args ...string) error {
		if in == "" {
			return nil
		}
		cmd := child.command(args...)
		cmd.Stdin = strings.NewReader(in)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		ctx, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		if err := runGroup(ctx, cmd); err != nil {
			return fmt.Errorf("git-annex %s: %w: %s", args[0], err, lastLines(said.String(), 3))
		}
		return nil
	}
	err := run(lines.String(), "setpresentkey", "--batch")
	for _, path := range unlocked {
		err = errors.Join(err, run("\n", "fsck", "--fast", "--quiet", "--", path))
	}
	return err
}
