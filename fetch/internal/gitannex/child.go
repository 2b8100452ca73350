// Package gitannex runs git-annex: for one command, and as a child that lives for as
// long as there are keys to fetch.
//
//   - It runs no program that a dataset names, and writes only below its repository.
//     The special remotes that are enabled are those that only move bytes.
//   - What it has put aside of a key that nobody waits for is removed: the cache does not
//     count it.
//   - It is ended when it is silent for too long, and no process of it is left.
package gitannex

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/program"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// Path returns the path of git-annex, or "" when there is none. It is
// run by itself: killing a "git annex" would leave its child behind.
func Path() string {
	path, err := exec.LookPath("git-annex")
	if err != nil {
		return ""
	}
	return path
}

const (
	// jobs is how many keys git-annex fetches at once. It is given no more
	// than these, so that each of them is on its way, and can be silent.
	jobs = 4
	// idleTime is how long git-annex stays without work: it keeps some 100 MB.
	idleTime = 30 * time.Second
	// patience is how many times the timeout git-annex may be silent about
	// a key: it waits for slower things than servers, and hashes what it has.
	patience = 10
	// tries is how often a key is given to git-annex when that ended for
	// another key's sake.
	tries = 3
)

// Child is a long-lived git-annex that fetches keys into the hidden
// clone: starting one takes longer than most files do. It is started at the
// first key, and again when it ended. Nothing of it depends on the reader that
// came first: it is started and set up for all.
//
// git-annex cannot be told to let go of one key. So it is ended when a key is
// given up or has been silent for too long; the other keys are given to the
// next one, which goes on where they were.
type Child struct {
	Program
	sweep   func() // before the first run
	silence time.Duration
	log     *slog.Logger
	slots   chan struct{} // one for each key at work

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	work sync.WaitGroup

	mu       sync.Mutex // guards the following; not held while anything is waited for
	run      *process
	starting *starting
	remotes  remotes
	idle     *time.Timer
}

// starting is a git-annex that is being started.
type starting struct {
	done chan struct{}
	run  *process // valid after done, as err
	err  error
}

// Program runs git-annex in one repository.
type Program struct {
	Dir string
	Env []string
	// Allow are the addresses that the user opened.
	Allow []string
	// Local says that origin is a repository on this machine. git-annex would
	// run what that one's configuration and branch name, and write to it.
	Local bool
	// Tmp is where it and what it runs keep files of a moment; "" is the
	// system's place.
	Tmp string
}

// ownName is the author of what git-annex commits in the hidden clone, which
// leaves it never. git refuses commits where the user has no name.
var ownName = []string{
	"GIT_AUTHOR_NAME=uniharmonyfs", "GIT_AUTHOR_EMAIL=uniharmonyfs@localhost",
	"GIT_COMMITTER_NAME=uniharmonyfs", "GIT_COMMITTER_EMAIL=uniharmonyfs@localhost",
}

// New returns a git-annex that works in a hidden clone; it is not started yet. sweep is
// called before it is, and removes what others have left in p.Tmp and beside it.
// timeout is the longest wait for a server that sends nothing.
func New(p Program, timeout time.Duration, sweep func(), log *slog.Logger) *Child {
	p.Env = append(slices.Clip(p.Env), ownName...)
	child := &Child{Program: p, sweep: sweep, silence: patience * timeout, log: log, slots: make(chan struct{}, jobs)}
	child.ctx, child.stop = context.WithCancel(context.Background())
	return child
}

// Command returns a command of git-annex, which finds the programs of the system
// only, and dies with us.
func (p Program) Command(args ...string) *exec.Cmd {
	if len(p.Allow) > 0 {
		args = append(args, "-c", "annex.security.allowed-ip-addresses="+strings.Join(p.Allow, " "))
	}
	if p.Local {
		args = append(args, "-c", "remote.origin.annex-ignore=true")
	}
	cmd := exec.Command(Path(), args...)
	cmd.Dir = p.Dir
	cmd.Env = append(program.Without(program.Git{Env: p.Env}.Environment(), "PATH"), "PATH="+minimalPath())
	if p.Tmp != "" {
		cmd.Env = append(program.Without(cmd.Env, "TMPDIR"), "TMPDIR="+p.Tmp)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// minimalPath is where git-annex finds programs: the system's, git and itself.
// Others may lie in the user's PATH that a dataset knows how to name.
func minimalPath() string {
	var dirs []string
	for _, path := range []string{Path(), program.FindGit(), "/usr/bin/env", "/bin/sh"} {
		if dir := filepath.Dir(path); filepath.IsAbs(path) && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return strings.Join(dirs, string(os.PathListSeparator))
}

// Get brings a key's content into the hidden clone's objects.
func (c *Child) Get(ctx context.Context, key annex.Key, progress func(int64)) error {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for try := 1; ; try++ {
		r, err := c.running(ctx)
		if err != nil {
			return err
		}
		c.dropPoison(key)
		err = c.ask(ctx, r, key, progress)
		if (errors.Is(err, errForOther) || errors.Is(err, errLocked)) && try < tries && pauseFor(ctx, time.Duration(try-1)*time.Second) {
			continue
		}
		if err != nil {
			c.failed(r, key, ctx.Err() != nil || errors.Is(err, errSilent))
			return cmp.Or(ctx.Err(), err)
		}
		return nil
	}
}

var (
	// errLocked is a lock that a git-annex which is gone has not given back yet.
	errLocked   = source.Outage(errors.New("git-annex fetches it already"))
	errSilent   = errors.New("git-annex was silent for too long")
	errForOther = source.Outage(errors.New("git-annex was ended for the sake of another file"))
)

// pauseFor waits, and reports whether ctx has not ended.
func pauseFor(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// ask gives a key to git-annex and waits for the answer.
func (c *Child) ask(ctx context.Context, r *process, key annex.Key, progress func(int64)) error {
	w, err := r.add(key, progress)
	if err != nil {
		return err
	}
	silent := time.NewTimer(c.silence)
	defer silent.Stop()
	for {
		select {
		case err := <-w.done:
			c.rest(r)
			return err
		case <-w.heard:
			silent.Reset(c.silence)
		case <-silent.C:
			return source.Outage(fmt.Errorf("%w (%v)", errSilent, c.silence))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// failed removes what git-annex has of a key that nobody waits for any more:
// the cache does not count it. stuck says that git-annex still works on it.
// Then that is done when git-annex has ended, which is not waited for.
func (c *Child) failed(r *process, key annex.Key, stuck bool) {
	switch {
	case stuck:
		r.abandon(key)
		r.kill(errForOther)
		return
	case c.remotesDue() && r.quiet():
		r.kill(errForOther) // the next one sets them up first
	}
	removeTmp(c.Dir, key)
}

func (c *Child) remotesDue() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remotes.due(time.Now())
}

// removeTmp removes what git-annex has put aside of a key.
func removeTmp(dir string, key annex.Key) {
	for _, name := range []string{key.FileName(), "work." + key.FileName()} {
		os.RemoveAll(filepath.Join(dir, "annex", "tmp", name))
	}
}

// dropPoison removes a temporary file of git-annex that is larger than the
// key: git-annex would ask for the rest of it for ever.
func (c *Child) dropPoison(key annex.Key) {
	tmp := filepath.Join(c.Dir, "annex", "tmp", key.FileName())
	size, ok := key.Size()
	if st, err := os.Lstat(tmp); err == nil && ok && st.Size() > size {
		os.Remove(tmp)
	}
}

// running returns the running git-annex, and starts it when there is none.
func (c *Child) running(ctx context.Context) (*process, error) {
	c.mu.Lock()
	if c.ctx.Err() != nil {
		c.mu.Unlock()
		return nil, errClosed
	}
	if c.idle != nil {
		c.idle.Stop()
	}
	if c.run != nil && c.run.alive() {
		defer c.mu.Unlock()
		return c.run, nil
	}
	s := c.starting
	if s == nil {
		s = &starting{done: make(chan struct{})}
		c.starting = s
		before := c.run
		c.work.Go(func() {
			s.err = program.Attempt(func() (err error) {
				s.run, err = c.start(before)
				return err
			})
			c.mu.Lock()
			defer c.mu.Unlock()
			c.starting = nil
			if s.err == nil {
				c.run = s.run
			}
			close(s.done)
		})
	}
	c.mu.Unlock()
	select {
	case <-s.done:
		return s.run, s.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var errClosed = errors.New("the dataset is closed")

// start makes the clone ready and starts git-annex.
func (c *Child) start(before *process) (*process, error) {
	if before != nil {
		<-before.ended
	}
	if c.Tmp != "" {
		c.sweep()
		if err := os.MkdirAll(c.Tmp, 0o700); err != nil {
			return nil, err
		}
	}
	c.remotes.enable(c.ctx, c.Program, &c.mu, c.log)
	if c.ctx.Err() != nil {
		return nil, errClosed
	}
	return startRun(c.Dir, c.Command("get", "--batch-keys", "--json", "--json-progress", "--json-error-messages", fmt.Sprintf("-J%d", jobs)))
}

// rest ends git-annex after a while without work.
func (c *Child) rest(r *process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle != nil {
		c.idle.Stop()
	}
	c.idle = time.AfterFunc(idleTime, func() {
		if r.quiet() {
			r.kill(errForOther)
		}
	})
}

// Close ends git-annex and returns when it is gone.
func (c *Child) Close() error {
	c.mu.Lock()
	c.stop()
	if c.idle != nil {
		c.idle.Stop()
	}
	c.mu.Unlock()
	c.work.Wait() // it may be being started
	c.mu.Lock()
	r := c.run
	c.mu.Unlock()
	if r != nil {
		r.kill(errClosed)
		<-r.ended
	}
	return nil
}
