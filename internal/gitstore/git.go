package gitstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

const (
	// maxChildren bounds the children of one store that work at a time.
	maxChildren = 8
	// maxIdle bounds, for each kind, the children that wait for work.
	maxIdle = 2
	// childMemory is how much memory in bytes a child may take: it holds objects
	// that are stored as differences as a whole, of any size.
	childMemory = 2 << 30
	// idleTime is how long a child waits for work before it is ended.
	idleTime = 30 * time.Second
)

// git is the backend that runs the git program.
type git struct {
	program string
	repo    repository
	memory  uint64        // bytes that a child may take
	slots   chan struct{} // one for each working child

	mu     sync.Mutex        // guards the following
	idle   map[bool][]*child // by "bare"
	busy   map[*child]bool
	closed bool
	ending sync.WaitGroup // idle children being ended
}

func newGit(program string, repo repository) *git {
	return &git{
		program: program, repo: repo, memory: childMemory, slots: make(chan struct{}, maxChildren),
		idle: make(map[bool][]*child), busy: make(map[*child]bool),
	}
}

// command returns a git command on the repository that is deaf to the user's
// and the system's configuration, and to what the repository's own could
// start. The owner of the repository does not matter then (safe.directory).
func (g *git) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, g.program, append([]string{
		"--git-dir=" + g.repo.own, "--no-replace-objects",
		"-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null",
		"-c", "protocol.allow=never", "-c", "core.warnAmbiguousRefs=false", "-c", "core.bigFileThreshold=1m",
	}, args...)...)
	c.Dir = g.repo.own
	c.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_LAZY_FETCH=1", "GIT_ADVICE=0",
	}
	c.SysProcAttr = processAttributes()
	return c
}

func (g *git) resolve(ctx context.Context, rev string) (OID, error) {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed {
		return "", ErrClosed
	}
	cmd := g.command(ctx, "rev-parse", "--verify", "--end-of-options", rev)
	var stderr tail
	cmd.Stderr = &stderr
	cmd.WaitDelay = time.Second
	runtime.LockOSThread() // see startChild
	out, err := cmd.Output()
	runtime.UnlockOSThread()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		return "", fmt.Errorf("%w: %s", fs.ErrNotExist, &stderr)
	}
	if err != nil {
		return "", fmt.Errorf("run git: %w", err)
	}
	id := OID(strings.TrimSpace(string(out)))
	if !id.valid() {
		return "", fmt.Errorf("git rev-parse says %.80q", out)
	}
	return id, nil
}

func (g *git) stream(ctx context.Context, ids []OID, bare bool, fn func(i int, o object) error) error {
	died := -1 // where a child last died
	for next := 0; next < len(ids); {
		c, err := g.take(ctx, bare, died == next)
		if err != nil {
			return err
		}
		first := next
		n, good, err := c.ask(ctx, ids[first:], bare, func(i int, o object) error { return fn(first+i, o) })
		next += n
		closed := g.give(c, bare, good)
		switch {
		case err == nil:
		case closed && errors.Is(err, errDied):
			return ErrClosed
		case errors.Is(err, ErrMissing) && g.isLoose(ids[next]):
			return fmt.Errorf("%s: %w: %s", ids[next], ErrDamaged, &c.stderr)
		case !errors.Is(err, errDied):
			return err
		case died == next: // a second time at the same object
			return blame(c, err)
		default:
			died = next
		}
	}
	return ctx.Err()
}

// blame makes an error of a child's death that happened twice at one object.
func blame(c *child, err error) error {
	why := c.stderr.String()
	switch {
	case c.cmd.ProcessState == nil || !c.cmd.ProcessState.Exited():
		return fmt.Errorf("%w: %v", err, c.cmd.ProcessState)
	case strings.Contains(why, "promisor"):
		return fmt.Errorf("%w: %w: %s", err, ErrMissing, why)
	}
	return fmt.Errorf("%w: %w: %s", err, ErrDamaged, why)
}

// isLoose reports whether the object is there as a file of its own. Git says
// of one that it cannot read that it is missing.
func (g *git) isLoose(id OID) bool {
	_, err := os.Lstat(filepath.Join(g.repo.common, "objects", string(id[:2]), string(id[2:])))
	return err == nil
}

// take returns a child to work with: an idle one unless it must be fresh.
func (g *git) take(ctx context.Context, bare, fresh bool) (*child, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c, err := g.takeSlot(bare, fresh)
	if err != nil {
		<-g.slots
	}
	return c, err
}

func (g *git) takeSlot(bare, fresh bool) (*child, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, ErrClosed
	}
	if l := g.idle[bare]; len(l) > 0 && !fresh {
		c := l[len(l)-1]
		g.idle[bare] = l[:len(l)-1]
		c.idle.Stop()
		idles.remove(c)
		g.busy[c] = true
		return c, nil
	}
	mode := "--batch"
	if bare {
		mode = "--batch-check"
	}
	c, err := startChild(g.command(context.Background(), "cat-file", mode))
	if err != nil {
		return nil, fmt.Errorf("run git: %w", err)
	}
	boundMemory(c.cmd.Process.Pid, g.memory)
	g.busy[c] = true
	return c, nil
}

// give takes a child back, for the next call if it is still good, and reports
// whether the store was closed in the meantime.
func (g *git) give(c *child, bare, good bool) (closed bool) {
	g.mu.Lock()
	closed = g.closed
	delete(g.busy, c)
	keep := good && !closed && len(g.idle[bare]) < maxIdle
	var tooMany []idleChild
	if keep {
		g.idle[bare] = append(g.idle[bare], c)
		c.idle = time.AfterFunc(idleTime, func() { g.retire(c, bare) })
		tooMany = idles.add(idleChild{g, bare, c})
	}
	g.mu.Unlock()
	for _, other := range tooMany {
		go other.store.retire(other.c, other.bare)
	}
	if !keep {
		c.end()
	}
	<-g.slots
	return closed
}

// retire ends a child that had nothing to do, unless it has been taken.
func (g *git) retire(c *child, bare bool) {
	g.mu.Lock()
	found := false
	for i, other := range g.idle[bare] {
		if other == c {
			g.idle[bare] = append(g.idle[bare][:i], g.idle[bare][i+1:]...)
			found = true
			c.idle.Stop()
			idles.remove(c)
			g.ending.Add(1)
			break
		}
	}
	g.mu.Unlock()
	if found {
		defer g.ending.Done()
		c.end()
	}
}

// Close ends all children and waits for them.
func (g *git) Close() error {
	g.mu.Lock()
	g.closed = true
	idle := append(g.idle[false], g.idle[true]...)
	g.idle = make(map[bool][]*child)
	idles.remove(idle...)
	for c := range g.busy {
		c.kill()
	}
	g.mu.Unlock()
	for _, c := range idle {
		c.idle.Stop()
		c.end()
	}
	g.ending.Wait()
	for range maxChildren { // every call that works has left
		g.slots <- struct{}{}
	}
	for range maxChildren {
		<-g.slots
	}
	return nil
}
