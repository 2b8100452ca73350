package fetch

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

// AnnexProgram returns the path of git-annex, or "" when there is none. It is
// run by itself: killing a "git annex" would leave its child behind.
func AnnexProgram() string {
	path, err := exec.LookPath("git-annex")
	if err != nil {
		return ""
	}
	return path
}

const (
	// annexJobs is how many keys git-annex fetches at once. It is given no more
	// than these, so that each of them is on its way, and can be silent.
	annexJobs = 4
	// annexIdle is how long git-annex stays without work: it keeps some 100 MB.
	annexIdle = 30 * time.Second
	// annexPatience is how many times the timeout git-annex may be silent about
	// a key: it waits for slower things than servers, and hashes what it has.
	annexPatience = 10
	// annexTries is how often a key is given to git-annex when that ended for
	// another key's sake.
	annexTries = 3
)

// annexChild is a long-lived git-annex that fetches keys into the hidden
// clone: starting one takes longer than most files do. It is started at the
// first key, and again when it ended. Nothing of it depends on the reader that
// came first: it is started and set up for all.
//
// git-annex cannot be told to let go of one key. So it is ended when a key is
// given up or has been silent for too long; the other keys are given to the
// next one, which goes on where they were.
type annexChild struct {
	annexProgram
	hidden  *Hidden // whose clone it works in; nil: a user's own
	silence time.Duration
	log     *slog.Logger
	slots   chan struct{} // one for each key at work

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	work sync.WaitGroup

	mu       sync.Mutex // guards the following; not held while anything is waited for
	run      *annexRun
	starting *annexStart
	remotes  annexRemotes
	idle     *time.Timer
}

// annexStart is a git-annex that is being started.
type annexStart struct {
	done chan struct{}
	run  *annexRun // valid after done, as err
	err  error
}

// annexProgram runs git-annex in one repository.
type annexProgram struct {
	dir string
	env []string
	// allow are the addresses that the user opened, as git-annex wants them.
	allow string
	// local says that origin is a repository on this machine. git-annex would
	// run what that one's configuration and branch name, and write to it.
	local bool
	// tmp is where it and what it runs keep files of a moment; "" is the
	// system's place.
	tmp string
}

// ownName is the author of what git-annex commits in the hidden clone, which
// leaves it never. git refuses commits where the user has no name.
var ownName = []string{
	"GIT_AUTHOR_NAME=uniharmonyfs", "GIT_AUTHOR_EMAIL=uniharmonyfs@localhost",
	"GIT_COMMITTER_NAME=uniharmonyfs", "GIT_COMMITTER_EMAIL=uniharmonyfs@localhost",
}

func newAnnexChild(c *Clone, o OriginOptions) *annexChild {
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	child := &annexChild{
		annexProgram: annexProgram{dir: c.Dir, env: append(slices.Clip(o.Env), ownName...), allow: strings.Join(o.AllowAddresses, " "), local: filepath.IsAbs(c.Spec.URL)},
		hidden:       c.hidden, silence: annexPatience * timeout, log: o.Log, slots: make(chan struct{}, annexJobs),
	}
	if child.hidden != nil {
		child.tmp = filepath.Join(c.Dir, "annex", "misctmp") // swept at the start
	}
	child.ctx, child.stop = context.WithCancel(context.Background())
	return child
}

func (p annexProgram) command(args ...string) *exec.Cmd {
	if p.allow != "" {
		args = append(args, "-c", "annex.security.allowed-ip-addresses="+p.allow)
	}
	if p.local {
		args = append(args, "-c", "remote.origin.annex-ignore=true")
	}
	cmd := exec.Command(AnnexProgram(), args...)
	cmd.Dir = p.dir
	cmd.Env = append(program.Without(program.Git{Env: p.env}.Environment(), "PATH"), "PATH="+minimalPath())
	if p.tmp != "" {
		cmd.Env = append(program.Without(cmd.Env, "TMPDIR"), "TMPDIR="+p.tmp)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// minimalPath is where git-annex finds programs: the system's, git and itself.
// Others may lie in the user's PATH that a dataset knows how to name.
func minimalPath() string {
	var dirs []string
	for _, path := range []string{AnnexProgram(), FindGit(), "/usr/bin/env", "/bin/sh"} {
		if dir := filepath.Dir(path); filepath.IsAbs(path) && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return strings.Join(dirs, string(os.PathListSeparator))
}

// get brings a key's content into the hidden clone's objects.
func (c *annexChild) get(ctx context.Context, key annex.Key, progress func(int64)) error {
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
		if (errors.Is(err, errForOther) || errors.Is(err, errLocked)) && try < annexTries && pauseFor(ctx, time.Duration(try-1)*time.Second) {
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
func (c *annexChild) ask(ctx context.Context, r *annexRun, key annex.Key, progress func(int64)) error {
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
func (c *annexChild) failed(r *annexRun, key annex.Key, stuck bool) {
	switch {
	case stuck:
		r.abandon(key)
		r.kill(errForOther)
		return
	case c.remotesDue() && r.quiet():
		r.kill(errForOther) // the next one sets them up first
	}
	removeTmp(c.dir, key)
}

func (c *annexChild) remotesDue() bool {
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
func (c *annexChild) dropPoison(key annex.Key) {
	tmp := filepath.Join(c.dir, "annex", "tmp", key.FileName())
	size, ok := key.Size()
	if st, err := os.Lstat(tmp); err == nil && ok && st.Size() > size {
		os.Remove(tmp)
	}
}

// running returns the running git-annex, and starts it when there is none.
func (c *annexChild) running(ctx context.Context) (*annexRun, error) {
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
		s = &annexStart{done: make(chan struct{})}
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
func (c *annexChild) start(before *annexRun) (*annexRun, error) {
	if before != nil {
		<-before.ended
	}
	if c.hidden != nil {
		c.hidden.sweepAnnex()
		if err := os.MkdirAll(c.tmp, 0o700); err != nil {
			return nil, err
		}
	}
	c.remotes.enable(c.ctx, c.annexProgram, &c.mu, c.log)
	if c.ctx.Err() != nil {
		return nil, errClosed
	}
	return startAnnex(c.dir, c.command("get", "--batch-keys", "--json", "--json-progress", "--json-error-messages", fmt.Sprintf("-J%d", annexJobs)))
}

// sweepAnnex removes what git-annex has put aside in the hidden clone before
// this process: nobody else fetches there, and the cache does not count it.
func (h *Hidden) sweepAnnex() {
	h.swept.Do(func() {
		for _, name := range []string{"tmp", "othertmp", "misctmp"} {
			os.RemoveAll(filepath.Join(h.dir, "annex", name))
		}
	})
}

// rest ends git-annex after a while without work.
func (c *annexChild) rest(r *annexRun) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle != nil {
		c.idle.Stop()
	}
	c.idle = time.AfterFunc(annexIdle, func() {
		if r.quiet() {
			r.kill(errForOther)
		}
	})
}

// Close ends git-annex and returns when it is gone.
func (c *annexChild) Close() error {
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
