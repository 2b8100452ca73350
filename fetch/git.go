package fetch

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/remedy"
)

// FindGit returns the path of the git program, or "" when there is none.
func FindGit() string {
	path, err := exec.LookPath("git")
	if err != nil {
		return ""
	}
	return path
}

// gitProgram runs git for us. The user's configuration holds (proxies,
// credential helpers, rewritten URLs), but nothing of a repository's runs.
type gitProgram struct {
	path string
	env  []string // of the caller; goes before ours
}

// gitError is a failed run of git.
type gitError struct {
	args []string
	said string
	err  error
}

func (e *gitError) Error() string { return "git " + e.args[0] + ": " + remedy.LastLines(e.said, 3) }
func (e *gitError) Unwrap() error { return e.err }

func (g gitProgram) environment() []string {
	env := append(os.Environ(), g.env...)
	// Git waits for ever for a server that says nothing.
	if !has(env, "GIT_SSH_COMMAND") && !has(env, "GIT_SSH") {
		env = append(env, "GIT_SSH_COMMAND=ssh -oBatchMode=yes -oConnectTimeout=20 -oServerAliveInterval=20")
	}
	if !has(env, "GIT_HTTP_LOW_SPEED_TIME") {
		env = append(env, "GIT_HTTP_LOW_SPEED_LIMIT=1", "GIT_HTTP_LOW_SPEED_TIME=60")
	}
	// A repository that a surrounding command works in is not ours.
	for _, name := range []string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_COMMON_DIR"} {
		env = without(env, name)
	}
	return append(env, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_LAZY_FETCH=1")
}

func has(env []string, name string) bool {
	return slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
}

func without(env []string, name string) []string {
	out := env[:0:0]
	for _, kv := range env {
		if !strings.HasPrefix(kv, name+"=") {
			out = append(out, kv)
		}
	}
	return out
}

const (
	// maxOutput is how much of what git prints is taken, in bytes.
	maxOutput = 32 << 20
	// gitMemory bounds the data that git, and what it starts, keeps in memory,
	// in bytes: others decide how much there is. It holds what index-pack needs
	// for objects that it does not stream.
	gitMemory = 4 << 30
	// listMemory is the same for a list of refs, of which there may be a million.
	listMemory = 256 << 20
	// gitSilence is how long git may be silent about what it gets: a server may
	// count objects for some minutes.
	gitSilence = 10 * time.Minute
	// listTime is how long a list of refs may take.
	listTime = 2 * time.Minute
)

// limits bound a run of git. The zero value has those for what is done on this
// machine: it may take as long as it takes.
type limits struct {
	memory  uint64        // of data, in bytes; 0: gitMemory
	silence time.Duration // 0: no bound
}

// run runs git and returns what it prints. Its progress goes to progress.
func (g gitProgram) run(ctx context.Context, progress func(Progress), args ...string) (string, error) {
	return g.bounded(ctx, limits{}, progress, args...)
}

// bounded is run with bounds.
func (g gitProgram) bounded(ctx context.Context, l limits, progress func(Progress), args ...string) (string, error) {
	all := append([]string{
		"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.ext.allow=never",
		"-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "submodule.recurse=false", "-c", "fetch.recurseSubmodules=false",
	}, args...)
	cmd := withMemory(cmp.Or(l.memory, gitMemory), g.path, all...)
	cmd.Env = g.environment()
	within, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	out := &boundedBuffer{full: func() { stop(errTooMuch) }}
	words := &progressWriter{tell: progress}
	if l.silence > 0 {
		silent := time.AfterFunc(l.silence, func() { stop(fmt.Errorf("git was silent for %v", l.silence)) })
		defer silent.Stop()
		words.heard = func(all int) {
			if silent.Reset(l.silence); all > maxOutput {
				stop(errTooMuch) // a server can chat for ever
			}
		}
	}
	cmd.Stdout, cmd.Stderr = out, words
	err := runGroup(within, cmd)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case within.Err() != nil:
		return "", &gitError{args: args, said: context.Cause(within).Error(), err: context.Cause(within)}
	case err != nil:
		return "", &gitError{args: args, said: words.text(), err: err}
	}
	return out.kept.String(), nil
}

var errTooMuch = errors.New("git says too much")

// boundedBuffer keeps what a command prints, up to maxOutput. It offers no way
// around Write.
type boundedBuffer struct {
	kept bytes.Buffer
	full func()
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.kept.Len()+len(p) > maxOutput {
		b.full()
		return 0, errTooMuch
	}
	return b.kept.Write(p)
}

// withMemory is a command that keeps at most so many bytes of data in memory,
// and so does each program that it starts: the limit is there before it is.
func withMemory(bytes uint64, path string, args ...string) *exec.Cmd {
	const script = `ulimit -d "$0" 2>/dev/null; exec "$@"` // a lower limit stays
	return exec.Command("/bin/sh", append([]string{"-c", script, strconv.FormatUint(bytes>>10, 10), path}, args...)...)
}

// runGroup runs a command in a process group of its own, which dies with this
// process and is killed as a whole when ctx ends: git's helpers are not its
// direct children only.
func runGroup(ctx context.Context, cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	ended := make(chan error, 1)
	if err := startLocked(cmd, func() { ended <- cmd.Wait() }); err != nil {
		return err
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		return ctx.Err()
	}
}

// progressWriter keeps the end of what git says and finds its progress in it.
type progressWriter struct {
	tell  func(Progress)
	heard func(all int) // is told how many bytes were said so far; or nil
	all   int
	tail  []byte
	line  []byte
}

var percent = regexp.MustCompile(`^(?:remote: )?([A-Z][A-Za-z ]+): +\d+% \((\d+)/(\d+)\)`)

func (w *progressWriter) Write(b []byte) (int, error) {
	w.all += len(b)
	if w.heard != nil {
		w.heard(w.all)
	}
	for _, c := range b {
		if c != '\r' && c != '\n' {
			if len(w.line) < 4096 {
				w.line = append(w.line, c)
			}
			continue
		}
		w.endLine()
	}
	return len(b), nil
}

func (w *progressWriter) endLine() {
	m := percent.FindSubmatch(w.line)
	switch {
	case m != nil && w.tell != nil:
		done, _ := strconv.ParseInt(string(m[2]), 10, 64)
		total, _ := strconv.ParseInt(string(m[3]), 10, 64)
		attempt(func() error { // this is a goroutine of os/exec
			w.tell(Progress{Phase: string(m[1]), Done: done, Total: total, Text: string(m[1])})
			return nil
		})
	case m == nil:
		w.tail = append(append(w.tail, w.line...), '\n')
		if over := len(w.tail) - 16<<10; over > 0 {
			w.tail = w.tail[over:]
		}
	}
	w.line = w.line[:0]
}

func (w *progressWriter) text() string {
	if len(w.line) > 0 {
		w.endLine()
	}
	return string(w.tail)
}

var _ io.Writer = (*progressWriter)(nil)

func isGitError(err error) (*gitError, bool) {
	var g *gitError
	ok := errors.As(err, &g)
	return g, ok
}

// gitSaid returns what git said of its failure.
func gitSaid(err error) string {
	if g, ok := isGitError(err); ok {
		return g.said
	}
	return err.Error()
}
