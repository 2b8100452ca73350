package gitannex

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/program"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// remotes are the special remotes of a repository, each of which is set up
// once, and tried again until that succeeded.
type remotes struct {
	done  map[string]bool
	left  bool      // some are not set up
	tried time.Time // last; zero: never to the end
}

const (
	// enableAgain is the pause before those that could not be set up are tried
	// again: it takes time, and may never succeed.
	enableAgain = time.Minute
	enableTime  = time.Minute // for all of them
	// maxEnabled bounds the remotes that are set up.
	maxEnabled = 20
)

// due reports whether another try to set up those that are not is worth it.
func (e *remotes) due(now time.Time) bool {
	return e.left && now.Sub(e.tried) > enableAgain
}

// enable sets up the special remotes that only move bytes. Those that run
// programs, or read this machine's directories, stay off. mu guards e.
func (e *remotes) enable(ctx context.Context, p Program, mu *sync.Mutex, log *slog.Logger) {
	mu.Lock()
	try := e.tried.IsZero() || e.due(time.Now())
	mu.Unlock()
	if !try {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, enableTime)
	defer cancel()
	names, err := p.safeRemotes(ctx)
	left := err != nil
	for _, name := range names {
		mu.Lock()
		done := e.done[name]
		mu.Unlock()
		if done {
			continue
		}
		if err := p.enableRemote(ctx, name); err != nil {
			log.Info("special remote not enabled", "remote", name, "err", err)
			left = true
			continue
		}
		mu.Lock()
		if e.done == nil {
			e.done = make(map[string]bool)
		}
		e.done[name] = true
		mu.Unlock()
	}
	mu.Lock()
	defer mu.Unlock()
	e.left, e.tried = left, time.Now()
}

// EnableAll sets up the special remotes of a repository, once.
func (p Program) EnableAll(ctx context.Context, log *slog.Logger) {
	new(remotes).enable(ctx, p, new(sync.Mutex), log)
}

func (p Program) enableRemote(ctx context.Context, name string) error {
	cmd := p.Command("enableremote", name, "autoenable=false")
	var words program.Words
	cmd.Stdout, cmd.Stderr = &words, &words
	if err := program.RunGroup(ctx, cmd); err != nil {
		return &program.GitError{Args: []string{"annex enableremote"}, Said: words.Text(), Err: err}
	}
	// Newer versions of git-annex ask the user to look at a remote first. What
	// it sends is verified here anyway.
	git := program.Git{Path: program.FindGit(), Env: p.Env}
	_, err := git.Run(ctx, nil, "-C", p.Dir, "config", "remote."+name+".annex-verified", "verified")
	return err
}

// safeRemotes names the special remotes of the git-annex branch that hold
// content behind public URLs.
func (p Program) safeRemotes(ctx context.Context) (names []string, err error) {
	git := program.Git{Path: program.FindGit(), Env: p.Env}
	if git.Path == "" {
		return nil, nil
	}
	log, err := git.Run(ctx, nil, "-C", p.Dir, "cat-file", "blob", "refs/heads/git-annex:remote.log")
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, nil // there is none
	}
	for _, config := range annex.ParseRemoteLog([]byte(log)) {
		public := config.Type() == "httpalso" || config.Type() == "S3" && (config["publicurl"] != "" || config["public"] == "yes")
		if name := config.Name(); public && isRemoteName(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)[:min(len(names), maxEnabled)], nil
}

// isRemoteName reports whether a name can stand in a command and in git's
// configuration, and is not that of the dataset itself.
func isRemoteName(name string) bool {
	return name != "" && name != "origin" && len(name) < 100 && !strings.HasPrefix(name, "-") && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f })
}
